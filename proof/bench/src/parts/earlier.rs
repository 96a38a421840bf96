//! The daemon of an earlier commit, on a database of its own.

use std::time::Duration;

use anyhow::ensure;
use db::{Connected, Store};
use tokio::time::{Instant, sleep};

use crate::{
    database::{Database, store_options},
    earlier::Earlier,
    fill::{self, FilledHour},
    servers::{Programs, Server},
};

/// How long settling the hours of the mix may take.
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) struct EarlierDaemon<'a> {
    pub(super) programs: &'a Programs,
    pub(super) url: String,
    pub(super) client: Connected,
    pub(super) daemon: Server,
}

impl<'a> EarlierDaemon<'a> {
    /// Fills these hours and settles them first.
    pub(super) async fn start(earlier: &'a Earlier, database: &Database, hours: &[FilledHour]) -> anyhow::Result<Self> {
        let url = database.make_beside("earlier").await?;
        let programs = &earlier.programs;
        programs.migrate(&url).await?;
        let client = Store::new(&url, store_options())?.plain_client().await?;
        if !hours.is_empty() {
            let daemon = programs.settling_daemon(&url).await?;
            fill::send(&daemon, hours).await?;
            wait_until_settled(&client, hours.len()).await?;
        }
        Ok(Self { programs, client, daemon: programs.daemon(&url).await?, url })
    }
}

async fn wait_until_settled(client: &Connected, hours: usize) -> anyhow::Result<()> {
    const SETTLED: &str = "select count(distinct hour) from analytics.settled_hours";
    let began = Instant::now();
    while usize::try_from(client.query_one(SETTLED, &[]).await?.get::<_, i64>(0))? < hours {
        ensure!(began.elapsed() < PATIENCE, "the earlier daemon has not settled {hours} hours in {PATIENCE:?}");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
