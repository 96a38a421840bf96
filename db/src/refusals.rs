use chrono::{DateTime, Utc};
use model::{Hour, SiteEvent, SiteHour, SiteId, SourcePosition, Submission};
use tokio_postgres::types::ToSql;

use crate::{Claim, Store, StoreError, claims::ClaimColumns, columns::SiteColumn, sources::stands_at};

/// Why a part of a batch would be refused for good if it came now, and where its source stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Hours whose raw events are gone.
    pub expired: Vec<SiteHour>,
    /// Sites that are deleted.
    pub deleted: Vec<SiteId>,
    /// The first of its claims under whose key other events are stored.
    pub conflicting: Option<Claim>,
    /// Whether the same events are stored under all of its keys.
    pub are_all_repeated: bool,
    /// Where its source stands, if it is of one.
    pub stands_at: Option<SourcePosition>,
}

impl Store {
    /// Asks whether a batch would be refused for good. Nothing is locked or stored, so that the answer may be old at once.
    pub async fn refusals(&self, submission: &Submission) -> Result<Refusals, StoreError> {
        let mut touched: Vec<SiteHour> = submission.events.iter().map(SiteEvent::site_hour).collect();
        touched.sort_unstable();
        touched.dedup();
        let hours: Vec<DateTime<Utc>> = touched.iter().map(|it| it.hour.start().to_utc()).collect();
        let sites: SiteColumn = touched.iter().map(|it| it.site).collect();
        let claims = Claim::all_of(submission);
        let keys = ClaimColumns::of(&claims);
        let step = submission.step.as_ref();
        let source_site = step.map(|step| step.site.number());
        let source_name = step.map(|step| step.source.as_str());
        let row = self
            .read(async |client| {
                let ask = "select expired, expired_sites, deleted, conflicting, repeated, stands_at, stands_digest \
                           from analytics.refusals($1, $2, $3, $4, $5, $6, $7, $8)";
                let statement = client.prepare_cached(ask).await?;
                let parameters: [&(dyn ToSql + Sync); 8] = [
                    &hours,
                    sites.as_sent(),
                    &keys.hours,
                    keys.sites.as_sent(),
                    &keys.keys,
                    &keys.fingerprints,
                    &source_site,
                    &source_name,
                ];
                Ok(client.query_one(&statement, &parameters).await?)
            })
            .await?;
        let starts: Option<Vec<DateTime<Utc>>> = row.get(0);
        let numbers =
            |column| row.get::<_, Option<Vec<i32>>>(column).unwrap_or_default().into_iter().filter_map(SiteId::new);
        let expired = starts.unwrap_or_default().into_iter().zip(numbers(1));
        let conflicting = keys.places_of(row.get(3)).first().map(|&place| claims[place].clone());
        Ok(Refusals {
            expired: expired
                .filter_map(|(start, site)| Some(SiteHour { hour: Hour::starting_at(start)?, site }))
                .collect(),
            deleted: numbers(2).collect(),
            conflicting,
            are_all_repeated: usize::try_from(row.get::<_, i64>(4)).is_ok_and(|repeated| repeated == claims.len()),
            stands_at: step
                .map(|_| row.get::<_, Option<i64>>(5).map(|it| stands_at(it, row.get(6))).unwrap_or_default()),
        })
    }
}
