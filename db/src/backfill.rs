//! Makes the sets of visitors of hours that were settled without one, from their raw events.

use model::SiteHour;

use crate::{Auditor, StoreError, store::site_hour_in, visitor_set::VisitorSet};

/// Settled hours without a set of visitors, of sites that are not deleted.
const WITHOUT_VISITORS: &str = "from analytics.settled_hours as z, analytics.settings as s where z.visitors is null \
                                and z.site not in (select id from analytics.sites where deleted_at is not null)";

impl Auditor {
    /// The hours that were settled without a set of visitors and have raw events still, ascending.
    pub async fn hours_without_visitors(&self) -> Result<Vec<SiteHour>, StoreError> {
        let find =
            format!("select z.hour, z.site {WITHOUT_VISITORS} and z.hour >= s.accepts_from order by z.hour, z.site");
        let rows = self.store.maintain(self.client.query(&find, &[])).await?;
        Ok(rows.iter().map(|row| site_hour_in(row, 0)).collect())
    }

    /// How many hours were settled without a set of visitors and never get one, because their raw events are deleted.
    pub async fn hours_without_visitors_for_ever(&self) -> Result<u64, StoreError> {
        let count = format!("select count(*) {WITHOUT_VISITORS} and z.hour < s.accepts_from");
        let row = self.store.maintain(self.client.query_one(&count, &[])).await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    /// Makes the set of one of them. Returns whether it is kept: not if the raw events have not as many visitors as were settled, nor if the hour
    /// is open meanwhile, which gives it a set when it settles.
    pub async fn fill_visitors(&self, SiteHour { hour, site }: SiteHour) -> Result<bool, StoreError> {
        let (start, site) = (hour.start().to_utc(), site.number());
        self.store
            .bounded_maintenance(async {
                let number = "select numbers from analytics.number_visitors($1, array[$2::integer], true)";
                let numbers = self.client.query_opt(number, &[&start, &site]).await?;
                let numbers: Vec<i32> = numbers.map(|row| row.get(0)).unwrap_or_default();
                let visitors = numbers.into_iter().collect::<VisitorSet>().to_bytes();
                let fill = "select analytics.fill_visitors($1, $2, $3)";
                Ok(self.client.query_one(fill, &[&start, &site, &visitors]).await?.get(0))
            })
            .await
    }
}
