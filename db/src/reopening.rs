use model::Hour;

use crate::{Store, StoreError};

/// The writer whose counter row holds what was rebuilt from raw events. No lane ever has it: their numbers begin at 1.
const REBUILT: i64 = 0;

impl Store {
    /// Opens a settled hour again, so that events can be added to it: its users and counters are rebuilt from the raw events, which
    /// takes about two seconds for a million of them. An hour that is open stays as it is.
    pub async fn reopen(&self, hour: Hour) -> Result<(), StoreError> {
        let client = self.maintenance_client().await?;
        self.bounded_maintenance(async {
            client.execute("select analytics.reopen($1, $2)", &[&hour.start().to_utc(), &REBUILT]).await?;
            Ok(())
        })
        .await
    }
}
