use model::{EventKind, Hour, HourCounts, UserName};

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

    /// Every raw event, as how many there are of each hour, kind and user. It takes as long as it takes to read them all.
    pub async fn stored_events(&self) -> Result<Vec<(Hour, EventKind, UserName, u64)>, StoreError> {
        let client = self.maintenance_client().await?;
        let rows = self
            .bounded_maintenance(async {
                Ok(client
                    .query(
                        "select date_bin(interval '1 hour', at, timestamptz 'epoch') as hour, kind::text, user_name, count(*) \
                         from analytics.events group by 1, 2, 3",
                        &[],
                    )
                    .await?)
            })
            .await?;
        rows.iter()
            .map(|row| {
                let kind = EventKind::parse(row.get(1)).map_err(|_| StoreError::Inconsistent("an event of no kind"))?;
                let user = UserName::new(row.get::<_, String>(2))
                    .map_err(|_| StoreError::Inconsistent("an event of a user whose name is not accepted"))?;
                let count = u64::try_from(row.get::<_, i64>(3)).unwrap_or_default();
                Ok((hour_in(row, 0), kind, user, count))
            })
            .collect()
    }
}
