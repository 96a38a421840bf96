use goose::prelude::*;
use model::{EventKind, HourCounts, Timestamp, UserName, wire::ANALYTICS_PATH};

use crate::mix::{Moment, choose_event};

/// Adds the two transactions, which every user does in turns.
///
/// The hour is chosen anew for each request rather than by the weights of four transactions: goose lays those out in one
/// order that all users walk through in step, so the requests for past hours would come in bursts. In goose's reports the
/// requests are called `POST current`, `POST past`, `GET current` and `GET past`: it puts the method before each name.
pub(crate) fn register(attack: GooseAttack) -> GooseAttack {
    let scenario = scenario!("Analytics")
        .register_transaction(transaction!(post).set_name("POST"))
        .register_transaction(transaction!(get).set_name("GET"));
    attack.register_scenario(scenario)
}

/// Sends an event, which must be answered with 204.
async fn post(user: &mut GooseUser) -> TransactionResult {
    let (event, age) = {
        let mut rng = rand::rng();
        let Moment { at, age } = Moment::choose(&mut rng, Timestamp::now());
        (choose_event(&mut rng, at), age)
    };
    let path = format!(
        "{ANALYTICS_PATH}?{}={}&{}={}&{}={}",
        Timestamp::PARAMETER,
        event.at.millis(),
        UserName::PARAMETER,
        event.user,
        EventKind::PARAMETER,
        event.kind
    );
    let request = GooseRequest::builder().method(GooseMethod::Post).path(path.as_str()).name(age.as_str());
    user.request(request.expect_status_code(204).error_on_fail().build()).await?;
    Ok(())
}

/// Asks for counts, which must be answered with 200 and be counts.
async fn get(user: &mut GooseUser) -> TransactionResult {
    let Moment { at, age } = Moment::choose(&mut rand::rng(), Timestamp::now());
    let path = format!("{ANALYTICS_PATH}?{}={}", Timestamp::PARAMETER, at.millis());
    let request = GooseRequest::builder().method(GooseMethod::Get).path(path.as_str()).name(age.as_str());
    let mut answer = user.request(request.expect_status_code(200).error_on_fail().build()).await?;
    let fault = match answer.response?.text().await.map(|body| body.parse::<HourCounts>()) {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(malformed)) => malformed.to_string(),
        Err(error) => format!("the body did not arrive: {error}"),
    };
    user.set_failure(&fault, &mut answer.request, None, None)
}
