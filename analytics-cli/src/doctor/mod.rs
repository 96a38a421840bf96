//! Finds what is wrong with a server and its database, without changing anything.
//!
//! `server_checks` and `database_checks` each make their checks, in order, the latter for each database; `shards` judges which these
//! are, and compares them. `platform`, `writes`, `timescale`, `schema`,
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
mod shards;
mod timescale;
mod writes;

use std::time::Duration;

use self::database_checks::Database;
pub(crate) use self::{finding::Finding, raw_events::judge_retention, report::Report};
use crate::{
    database::{self, HOW_TO_GIVE},
    failure::Failure,
    settings::{Databases, Settings},
};

/// Makes every check, one after the other. None takes longer than `limit`.
pub(crate) async fn run(
    settings: Settings,
    databases: Option<Databases>,
    limit: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    let shards =
        databases.as_ref().map(|databases| database::open(&databases.urls, &databases.named, limit)).transpose()?;
    let server_clock = server_checks::run(&settings.client(), limit, report).await?;
    let Some((databases, shards)) = databases.zip(shards) else {
        database_checks::skip(report, "no database was given", HOW_TO_GIVE)?;
        report.add(clock::between(server_clock, None))?;
        return Ok(());
    };
    let mut said = Vec::new();
    let mut seen = Vec::new();
    for (shard, url) in databases.urls.iter().enumerate() {
        report.begin((shards.len() > 1).then_some(shard));
        let database = Database::new(&shards[shard], url, &databases.named, limit);
        let of_database = database.run(&shards, &mut said, report).await?;
        report.add(clock::between(server_clock, of_database.clock))?;
        seen.push(of_database);
    }
    report.begin(None);
    if seen.len() > 1 {
        shards::compare(&seen).into_iter().try_for_each(|finding| report.add(finding))?;
    }
    Ok(())
}
