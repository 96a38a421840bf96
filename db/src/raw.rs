use model::{Hour, HourCounts};

use crate::{
    Store, StoreError,
    store::{counts_in, hour_in},
};

impl Store {
    /// Every hour with events, counted by brute force over the raw events. It takes as long as it takes to read them all:
    /// this is what the counters are checked against, not what answers a request.
    pub async fn brute_force_counts(&self) -> Result<Vec<(Hour, HourCounts)>, StoreError> {
        let client = self.maintenance_client().await?;
        let rows = self
            .bounded_maintenance(async {
                Ok(client
                    .query(
                        "select date_bin(interval '1 hour', at, timestamptz 'epoch') as hour, count(distinct user_name), \
                         count(*) filter (where kind = 'click'), count(*) filter (where kind = 'impression') \
                         from analytics.events group by 1 order by 1",
                        &[],
                    )
                    .await?)
            })
            .await?;
        Ok(rows.iter().map(|row| (hour_in(row, 0), counts_in(row, 1))).collect())
    }
}
