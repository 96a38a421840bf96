use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::{Client, GenericClient, error::SqlState};

use crate::{Shards, ShardsError, Store, StoreError};

/// The greatest step by which what is due moves by itself.
const GREATEST_STEP: TimeDelta = TimeDelta::days(2);
/// How often deleting is tried where it meets another in a deadlock.
const MOST_TRIES: u32 = 3;
/// How often what is kept moves in one go, by two days each time where there are sites.
const MOST_STEPS: u32 = 50;

/// How long raw events are kept, and in which form. Settled counts are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Raw events older than this are deleted, in whole UTC days. None: never. At least a day.
    pub keep: Option<Duration>,
    /// Chunks that ended longer ago than this are turned into columns. None: never. Only with TimescaleDB.
    pub columnstore_after: Option<Duration>,
}

/// What is due by the clocks, beside what is due in fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// No event before this instant is taken, and its raw events are due; none if that was never so.
    pub before: Option<DateTime<Utc>>,
    /// What it would be by the setting and the earlier of the two clocks, the database's and this machine's; none without a setting.
    pub wanted: Option<DateTime<Utc>>,
    /// The instant before which no event is taken, for whichever reason; none if every event is.
    pub accepts_from: Option<DateTime<Utc>>,
    /// The later of the two clocks.
    pub latest_clock: DateTime<Utc>,
}

impl Due {
    /// The bound that somebody has to confirm, since it is more than two days from where raw events are due now; none if nothing has to be.
    pub fn unconfirmed(&self) -> Option<DateTime<Utc>> {
        let before = self.before.unwrap_or_default();
        self.wanted.filter(|wanted| *wanted - before > GREATEST_STEP)
    }

    /// The instant in the future from which on events are accepted, where events of now are refused; none if they are not.
    pub fn in_the_future(&self) -> Option<DateTime<Utc>> {
        self.accepts_from.filter(|from| *from > self.latest_clock)
    }
}

/// What deleting old raw events came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The instant before which they are deleted.
    pub kept_from: DateTime<Utc>,
    /// What is due.
    pub due: Due,
}

impl Retention {
    /// What is in force.
    pub async fn read(store: &Store) -> Result<Self, StoreError> {
        let statement = "select extract(epoch from retention)::bigint, \
                         extract(epoch from analytics.columnstore_after())::bigint from analytics.settings";
        let row = store.read_row(statement, &[]).await?;
        let seconds =
            |column| row.get::<_, Option<i64>>(column).and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
        Ok(Self { keep: seconds(0), columnstore_after: seconds(1) })
    }

    /// The instant before which no event is accepted: the beginning of the UTC day that [`Self::keep`] reached back to when that was last looked at,
    /// or a later one if less was kept before; none if everything always was.
    pub async fn accepts_from(store: &Store) -> Result<Option<DateTime<Utc>>, StoreError> {
        let statement =
            "select nullif(greatest(accepts_from, due_before), timestamptz 'epoch') from analytics.settings";
        Ok(store.read_row(statement, &[]).await?.get(0))
    }

    /// What is due now.
    pub async fn due(store: &Store) -> Result<Due, StoreError> {
        store.read(async |client| read_due(client.plain()).await).await
    }

    /// Lets raw events be due as the setting says, however many that are, and takes back what a wrong clock moved into the future. It is refused where
    /// this machine's clock and the database's do not agree.
    pub async fn confirm(store: &Store) -> Result<(), StoreError> {
        store.row("select analytics.confirm_retention($1)", &[&Utc::now()]).await.map(drop)
    }

    /// Puts this in force, and confirms what is due by it. Nothing is deleted at once: the settler does that.
    pub async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let seconds = |d: Option<Duration>| d.map(|d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        store
            .on_client(async |client| {
                let transaction = client.transaction().await?;
                transaction
                    .execute(
                        "update analytics.settings set retention = $1::bigint * interval '1 second'",
                        &[&seconds(self.keep)],
                    )
                    .await?;
                transaction
                    .execute(
                        "call analytics.set_columnstore_after($1::bigint * interval '1 second')",
                        &[&seconds(self.columnstore_after)],
                    )
                    .await?;
                transaction.execute("select analytics.confirm_retention($1)", &[&Utc::now()]).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Puts in force after how long chunks are turned into columns.
    pub async fn set_columnstore_after(store: &Store, age: Option<Duration>) -> Result<(), StoreError> {
        let seconds = age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let set = "call analytics.set_columnstore_after($1::bigint * interval '1 second')";
        store.on_client(async |client| Ok(client.execute(set, &[&seconds]).await.map(drop)?)).await
    }

    /// Deletes the raw events of a counter of one database that are due, up to the first day that has an hour that is not settled.
    pub async fn apply(store: &Store) -> Result<Applied, StoreError> {
        let client = store.maintenance_client().await?;
        store.bounded_maintenance(async { delete(&client, advance(&client).await?).await }).await
    }
}

impl Shards {
    /// Puts this in force in the first shard, confirms what is due by it, and lets the others have it.
    pub async fn write_retention(&self, retention: &Retention) -> Result<(), ShardsError> {
        retention.write(self.first()).await.map_err(|error| self.error(0, error))?;
        self.spread_confirmed().await
    }

    /// Confirms what is due in the first shard, and lets the others have it: see [`Retention::confirm`].
    pub async fn confirm_retention(&self) -> Result<(), ShardsError> {
        Retention::confirm(self.first()).await.map_err(|error| self.error(0, error))?;
        self.spread_confirmed().await
    }

    /// The others have the bound before they take back what a wrong clock moved, which they do down to that bound.
    async fn spread_confirmed(&self) -> Result<(), ShardsError> {
        self.copy_retention().await?;
        for (shard, store) in self.iter().enumerate().skip(1) {
            Retention::confirm(store).await.map_err(|error| self.error(shard, error))?;
        }
        Ok(())
    }

    /// Deletes the raw events of all shards that are due. What is due is decided in the first, and every other has it before any of them deletes: none
    /// takes an event whose like is gone elsewhere.
    pub async fn apply_retention(&self) -> Result<Applied, ShardsError> {
        let first = self.first().maintenance_client().await.map_err(|error| self.error(0, error))?;
        let advanced = self.first().bounded_maintenance(advance(&first)).await;
        let kept_from = advanced.map_err(|error| self.error(0, error))?;
        self.copy_retention().await?;
        let applied = self.first().bounded_maintenance(delete(&first, kept_from)).await;
        let mut applied = applied.map_err(|error| self.error(0, error));
        for (shard, store) in self.iter().enumerate().skip(1) {
            // One that fails keeps none of the rest from deleting.
            if let Err(error) = Retention::apply(store).await {
                applied = applied.and(Err(self.error(shard, error)));
            }
        }
        applied
    }
}

async fn delete(client: &Client, kept_from: DateTime<Utc>) -> Result<Applied, StoreError> {
    drop_events_before(client, kept_from).await?;
    client.execute("select analytics.forget_expired_keys()", &[]).await?;
    Ok(Applied { kept_from, due: read_due(client).await? })
}

/// Moves the instant before which raw events are due as far as it goes.
async fn advance(client: &Client) -> Result<DateTime<Utc>, StoreError> {
    let mut kept_from = None;
    for _ in 0..MOST_STEPS {
        let row = client.query_one("select analytics.advance_retention($1::timestamptz)", &[&Utc::now()]).await?;
        let before = std::mem::replace(&mut kept_from, row.get::<_, Option<DateTime<Utc>>>(0));
        if before == kept_from {
            break;
        }
    }
    kept_from.ok_or(StoreError::Inconsistent("there are no settings"))
}

/// The extension's own job, which turns chunks into columns, locks the same tables in another order while it works on one that is dropped. What was ended
/// as a deadlock is undone, and the job has what it waited for.
async fn drop_events_before(client: &Client, instant: DateTime<Utc>) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match client.execute("call analytics.drop_events_before($1)", &[&instant]).await {
            Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) && tries < MOST_TRIES => tries += 1,
            dropped => return Ok(dropped.map(drop)?),
        }
    }
}

pub(crate) async fn read_due(client: &impl GenericClient) -> Result<Due, StoreError> {
    let now = Utc::now();
    let row = client
        .query_one(
            "select nullif(due_before, timestamptz 'epoch'), date_trunc('day', least(now(), $1) - retention, 'UTC'), \
             nullif(greatest(accepts_from, due_before), timestamptz 'epoch'), greatest(now(), $1) from analytics.settings",
            &[&now],
        )
        .await?;
    Ok(Due { before: row.get(0), wanted: row.get(1), accepts_from: row.get(2), latest_clock: row.get(3) })
}
