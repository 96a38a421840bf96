//! The tables: numbered migrations, each applied once, in a transaction of its own.

use refinery::{Migration, Report, Runner};
use tokio_postgres::Client;

use crate::Flavour;

use super::SchemaError;

mod common {
    refinery::embed_migrations!("migrations/common");
}
mod timescale {
    refinery::embed_migrations!("migrations/timescale");
}
mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

pub(super) const HISTORY_TABLE: &str = "analytics.schema_history";

/// The migrations of a flavour, in order.
pub(super) fn of(flavour: Flavour) -> Vec<Migration> {
    let own = match flavour {
        Flavour::Timescale => timescale::migrations::runner(),
        Flavour::Postgres => postgres::migrations::runner(),
    };
    let mut migrations = common::migrations::runner().get_migrations().clone();
    migrations.extend(own.get_migrations().iter().cloned());
    migrations.sort_by_key(Migration::version);
    migrations
}

/// Applies what is pending, and adds the names of what was applied, also if one fails.
pub(super) async fn apply(client: &mut Client, flavour: Flavour, applied: &mut Vec<String>) -> Result<(), SchemaError> {
    let mut runner = Runner::new(&of(flavour)).set_abort_divergent(true).set_abort_missing(true);
    runner.set_migration_table_name(HISTORY_TABLE);
    let mut add = |report: &Report| applied.extend(report.applied_migrations().iter().map(ToString::to_string));
    let outcome = runner.run_async(client).await;
    match &outcome {
        Ok(report) => add(report),
        Err(error) => error.report().into_iter().for_each(add),
    }
    Ok(outcome.map(drop)?)
}
