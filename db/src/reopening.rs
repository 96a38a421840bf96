use model::Hour;

use crate::{Store, StoreError};

/// The writer whose counter row holds what was rebuilt from raw events. No lane ever has it: their numbers begin at 1.
const REBUILT: i64 = 0;

/// What came of opening an hour again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopened {
    /// It takes events, or the next ingest says why it does not.
    Done,
    /// It stays settled and takes no events: raw events of it are missing, so that its counts would have fallen.
    EventsMissing,
}

impl Store {
    /// Opens a settled hour again, so that events can be added to it: its users and counters are rebuilt from the raw events, which
    /// takes about two seconds for a million of them. An hour that is open stays as it is, and so does one whose counts would fall.
    pub async fn reopen(&self, hour: Hour) -> Result<Reopened, StoreError> {
        let client = self.maintenance_client().await?;
        let start = hour.start().to_utc();
        self.bounded_maintenance(async {
            client.execute("select analytics.reopen($1, $2)", &[&start, &REBUILT]).await?;
            let missing = "select from analytics.settled_hours where hour = $1 and events_missing_since is not null";
            let is_missing = client.query_opt(missing, &[&start]).await?.is_some();
            Ok(if is_missing { Reopened::EventsMissing } else { Reopened::Done })
        })
        .await
    }
}
