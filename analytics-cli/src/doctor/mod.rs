//! Finds what is wrong with a server and its database, without changing anything.
//!
//! `server_checks` and `database_checks` each make their checks, in order. `platform`, `writes`, `timescale`, `schema`,
//! `settling`, `encryption`, `raw_events` and `losses` judge what was seen of a database, `clock` compares clocks, and the findings
//! go to the `report`.

mod clock;
mod database_checks;
mod encryption;
mod finding;
mod losses;
mod platform;
mod raw_events;
mod report;
mod schema;
mod server_checks;
mod settling;
mod timescale;
mod writes;

use std::time::Duration;

pub(crate) use self::{finding::Finding, raw_events::judge_retention, report::Report};
use crate::{
    database::HOW_TO_GIVE,
    failure::Failure,
    settings::{Setting, Settings},
};

/// Makes every check, one after the other. None takes longer than `limit`.
pub(crate) async fn run(
    settings: Settings,
    database_url: Option<Setting<String>>,
    limit: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    let database = database_url.map(|url| database_checks::Database::new(url, limit)).transpose()?;
    let server_clock = server_checks::run(&settings.client(), limit, report).await?;
    let database_clock = if let Some(database) = database {
        database.run(report).await?
    } else {
        database_checks::skip(report, "no database was given", HOW_TO_GIVE)?;
        None
    };
    report.add(clock::between(server_clock, database_clock))?;
    Ok(())
}
