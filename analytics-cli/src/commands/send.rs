use std::process::ExitCode;

use clap::Args;
use client::{Client, Delivery};
use model::{Event, EventKind, Hour, IdempotencyKey, InvalidInput, UserName};

use crate::{
    failure::Failure,
    output,
    site::SiteOption,
    time::{Clock, TimeArgument},
};

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    site: SiteOption,

    /// The visitor: a name of 1 to 256 bytes.
    #[arg(long, value_name = "NAME", value_parser = |name: &str| UserName::new(name))]
    user: UserName,

    /// The kind of event: click or impression.
    #[arg(long, value_name = "EVENT", value_parser = parse_kind)]
    event: EventKind,

    /// The time of the event: RFC 3339, now, a time before now as in -2h, milliseconds since 1970, or when a UTC day or hour begins, as in
    /// 2015-05-17T10 or yesterday.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    at: TimeArgument,

    /// An idempotency key: the same event, sent again under the same key, is counted once.
    #[arg(long, value_name = "KEY", value_parser = |key: &str| IdempotencyKey::new(key))]
    id: Option<IdempotencyKey>,
}

pub(crate) async fn run(args: SendArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let at = args.at.resolve("--at", Clock::utc())?;
    let event = Event { at, user: args.user, kind: args.event };
    match client.send(&event, args.id.as_ref()).await {
        Ok(Delivery::Stored(_)) => {
            output::message(&format!("stored; the hour {} counts it", Hour::containing(at)));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Delivery::Spooled) => {
            let hour = Hour::containing(at);
            output::message(&format!(
                "accepted, but not stored yet: the server's database is away; the event is stored in hour {hour} when it is back"
            ));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.leaves_fate_unknown() => {
            let at = at.millis();
            let advice = args.id.map_or_else(
                || format!("check with `analytics-cli query --at {at}` before you send it again"),
                |key| format!("send it again with --id {key} --at {at}, and it is counted once"),
            );
            let text = format!("{error}; it is unknown whether the event is stored: {advice}");
            Err(Failure::of_request(&error, text))
        }
        Err(error) => Err(error.into()),
    }
}

fn parse_kind(word: &str) -> Result<EventKind, InvalidInput> {
    EventKind::parse(word)
}
