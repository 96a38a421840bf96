use std::{fmt, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use model::{Hour, SiteHour, SiteId};
use serde::Serialize;
use tokio_postgres::Row;

use crate::{Connected, Store, StoreError};

/// Compares what is derived from raw events with the raw events, rebuilds it where it is wrong, and forgets visitors. Has a connection of its own.
pub struct Auditor {
    pub(crate) store: Store,
    pub(crate) client: Connected,
}

/// The raw events of an hour of a site beside what is derived from them, all at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditedHour {
    /// Which hour, of which site.
    pub site_hour: SiteHour,
    /// Whether all of its raw events are still kept. If not, nothing can be concluded from them.
    pub is_verifiable: bool,
    /// What was settled, which answers for the hour; none if it is not settled.
    pub settled: Option<Tally>,
    /// How many visitors the set of a settled hour has; none where no set is kept.
    pub visitors_in_set: Option<i64>,
    /// Whether it is settled and takes no events, because raw events of it were found to be missing.
    pub is_closed: bool,
    /// The brute-force count of the raw events.
    pub raw: Tally,
    /// What the counters say, which answer for the hour while it is open; none if it is not open.
    pub counters: Option<Tally>,
    /// What the aggregate says, if it has the hour, which was computed from the raw events. It may be old or missing unless the hour is settled.
    pub aggregate: Option<Tally>,
    /// How many user names are kept to recognize who was seen before.
    pub user_rows: i64,
    /// How many names of raw events are not among those: all, unless the hour is open.
    pub missing_users: i64,
    /// How many of those are in no raw event.
    pub strange_users: i64,
    /// How many names of raw events belong to another shard of the counter.
    pub foreign_users: i64,
}

/// Counts as they are stored. Signed, because what was tampered with can be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Distinct user names over clicks and impressions together.
    pub unique_users: i64,
    /// Clicks.
    pub clicks: i64,
    /// Impressions.
    pub impressions: i64,
}

/// One thing about an hour that does not agree with its raw events, or with what is left of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It has raw events, but neither counters nor an entry among the settled hours: it is read as zeros.
    NotCounted,
    /// It is open and settled at once, so that reading it fails.
    OpenAndSettled,
    /// It is open without having a raw event.
    CountersWithoutEvents,
    /// Its counters are not what the raw events add up to.
    Counters,
    /// It is open, and the names that are kept are not those of its raw events.
    Users {
        /// Names of raw events that are not kept.
        missing: i64,
        /// Kept names that are in no raw event.
        strange: i64,
    },
    /// So many names are kept although it is not open.
    UsersLeftOver(i64),
    /// It is settled, and what was settled is not what the raw events add up to.
    Settled,
    /// It takes no events, because raw events were found to be missing when one came.
    TakesNoEvents,
    /// Its raw events are no longer kept, and the aggregate that was computed from them says more than what answers for it.
    AnswersLess,
    /// It is settled, and the set of its visitors, from which ranges are told, has not as many as were settled.
    Visitors,
    /// It is settled, and the aggregate does not have it.
    NoAggregate,
    /// It is settled, and the aggregate is not what the raw events add up to.
    Aggregate,
    /// It has raw events of so many visitors who belong to another shard, where those visitors may be counted too.
    ForeignUsers(i64),
}

impl Auditor {
    /// Opens the connection.
    pub async fn connect(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { store: store.clone(), client: store.maintenance_client().await? })
    }

    /// A span of hours in parts of one UTC day at most, in order, without days that have nothing to audit.
    pub async fn parts(&self, hours: &RangeInclusive<Hour>) -> Result<Vec<RangeInclusive<Hour>>, StoreError> {
        let (first, last) = bounds(hours);
        let statement = "select first_hour, last_hour from analytics.audited_parts($1, $2)";
        let rows = self.store.maintain(self.client.query(statement, &[&first, &last])).await?;
        rows.iter().map(|row| Ok(whole_hour(row, 0)?..=whole_hour(row, 1)?)).collect()
    }

    /// Every hour of a part that has anything, in order: those of one site, or of all that are not deleted.
    ///
    /// A difference that is found is looked at twice, and the second look counts: a commit can be seen a moment before other sessions
    /// learn of the partition that it made, and then the raw events in it are missing from the first.
    pub async fn audit(
        &self,
        part: &RangeInclusive<Hour>,
        site: Option<SiteId>,
    ) -> Result<Vec<AuditedHour>, StoreError> {
        let hours = self.look(part, site).await?;
        if hours.iter().all(|hour| hour.differences().is_empty()) {
            return Ok(hours);
        }
        self.look(part, site).await
    }

    async fn look(&self, part: &RangeInclusive<Hour>, site: Option<SiteId>) -> Result<Vec<AuditedHour>, StoreError> {
        let ((first, last), site) = (bounds(part), site.map(SiteId::number));
        let statement = "select hour, site, is_verifiable, is_open, is_settled, raw_users, raw_clicks, raw_impressions, \
                         counted_users, counted_clicks, counted_impressions, \
                         aggregate_users, aggregate_clicks, aggregate_impressions, \
                         user_rows, missing_users, strange_users, \
                         settled_users, settled_clicks, settled_impressions, is_closed, foreign_users, visitors_in_set from analytics.audit($1, $2, $3)";
        let rows = self.store.maintain(self.client.query(statement, &[&first, &last, &site])).await?;
        rows.iter().map(AuditedHour::read).collect()
    }

    /// Replaces everything that is derived from the raw events of an hour of a site by what they say, in one transaction. The hour is open
    /// afterwards, and settles like any other. Nothing changes where raw events are no longer kept, or where a number would fall, unless that
    /// is accepted.
    pub async fn repair(&self, SiteHour { hour, site }: SiteHour, accepts_loss: bool) -> Result<Repaired, StoreError> {
        self.store
            .bounded_maintenance(async {
                let statement = "select analytics.repair($1, $2, $3)";
                let (start, site) = (hour.start().to_utc(), site.number());
                let done = self.client.execute(statement, &[&start, &site, &accepts_loss]).await;
                match done.map_err(|error| (refusal(&error), error)) {
                    Ok(_) => Ok(Repaired::Done),
                    Err((Some((WOULD_FALL, reason)), _)) => Ok(Repaired::WouldFall(reason)),
                    Err((Some((NO_LONGER_KEPT, reason)), _)) => Ok(Repaired::NoLongerKept(reason)),
                    Err((_, error)) => Err(error.into()),
                }
            })
            .await
    }
}

/// Why `analytics.repair` changed nothing, by the codes that it raises.
const WOULD_FALL: &str = "AN007";
const NO_LONGER_KEPT: &str = "AN004";

/// What came of rebuilding an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// It says what its raw events say.
    Done,
    /// Nothing changed, because a number would have fallen; with both sides.
    WouldFall(String),
    /// Nothing changed, because its raw events are no longer kept.
    NoLongerKept(String),
}

/// One of our own codes, and what was said with it.
fn refusal(error: &tokio_postgres::Error) -> Option<(&'static str, String)> {
    let error = error.as_db_error()?;
    let code = [WOULD_FALL, NO_LONGER_KEPT].into_iter().find(|code| error.code().code() == *code)?;
    Some((code, error.message().to_owned()))
}

impl AuditedHour {
    /// Whether it is settled, so that what was settled answers for it.
    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// Whether it is open, so that its counters answer for it.
    pub fn is_open(&self) -> bool {
        self.counters.is_some()
    }

    /// What does not agree with the raw events; nothing if all does, or if nothing can be concluded from them.
    pub fn differences(&self) -> Vec<Difference> {
        if !self.is_verifiable {
            let answers_less = self.answers_less().then_some(Difference::AnswersLess);
            return [answers_less, self.has_other_set()].into_iter().flatten().collect();
        }
        let has_events = self.raw != Tally::default();
        let state = match (self.counters, self.is_settled()) {
            (Some(_), true) => Some(Difference::OpenAndSettled),
            (None, false) if has_events => Some(Difference::NotCounted),
            _ => None,
        };
        let counters = match self.counters {
            Some(_) if !has_events => Some(Difference::CountersWithoutEvents),
            Some(counters) if counters != self.raw => Some(Difference::Counters),
            _ => None,
        };
        let users = if self.is_open() {
            (self.missing_users != 0 || self.strange_users != 0)
                .then_some(Difference::Users { missing: self.missing_users, strange: self.strange_users })
        } else {
            (self.user_rows != 0).then_some(Difference::UsersLeftOver(self.user_rows))
        };
        let settled = self.settled.filter(|settled| *settled != self.raw).map(|_| Difference::Settled);
        let closed = self.is_closed.then_some(Difference::TakesNoEvents);
        let aggregate = match self.aggregate {
            None if self.is_settled() => Some(Difference::NoAggregate),
            Some(aggregate) if self.is_settled() && aggregate != self.raw => Some(Difference::Aggregate),
            _ => None,
        };
        let foreign = (self.foreign_users != 0).then_some(Difference::ForeignUsers(self.foreign_users));
        [state, counters, users, settled, closed, self.has_other_set(), aggregate, foreign]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether the aggregate says more in any number than what is answered. It may well say less, since it can be computed anew from what is left.
    fn answers_less(&self) -> bool {
        let (Some(settled), Some(aggregate)) = (self.settled, self.aggregate) else { return false };
        aggregate.unique_users > settled.unique_users
            || aggregate.clicks > settled.clicks
            || aggregate.impressions > settled.impressions
    }

    fn has_other_set(&self) -> Option<Difference> {
        let (visitors, settled) = self.visitors_in_set.zip(self.settled)?;
        (visitors != settled.unique_users).then_some(Difference::Visitors)
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let is_open: bool = row.get(3);
        Ok(Self {
            site_hour: SiteHour { hour: whole_hour(row, 0)?, site: site(row, 1)? },
            is_verifiable: row.get(2),
            settled: tally(row, 17),
            is_closed: row.get(20),
            raw: tally(row, 5).unwrap_or_default(),
            counters: is_open.then(|| tally(row, 8).unwrap_or_default()),
            aggregate: tally(row, 11),
            user_rows: row.get(14),
            missing_users: row.get(15),
            strange_users: row.get(16),
            foreign_users: row.get(21),
            visitors_in_set: row.get(22),
        })
    }
}

impl Difference {
    /// Whether counting the raw events again ends it.
    pub fn is_repairable(&self) -> bool {
        !matches!(self, Self::ForeignUsers(_))
    }
}

impl fmt::Display for Difference {
    /// A clause about the hour, for example `its counters differ from its raw events`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCounted => {
                f.write_str("it has raw events but neither counters nor is it settled, so it is read as zeros")
            }
            Self::OpenAndSettled => f.write_str("it is open and settled at once, so it cannot be read"),
            Self::CountersWithoutEvents => f.write_str("it has counters but no raw events"),
            Self::Counters => f.write_str("its counters differ from its raw events"),
            Self::Users { missing, strange } => write!(
                f,
                "its kept user names differ from its raw events ({missing} missing, {strange} that no raw event has)"
            ),
            Self::UsersLeftOver(rows) => write!(f, "it has {rows} kept user names although it is not open"),
            Self::Settled => f.write_str("it is settled and its counts differ from its raw events"),
            Self::TakesNoEvents => {
                f.write_str("it takes no events, because raw events of it were found to be missing when one came")
            }
            Self::AnswersLess => f.write_str(
                "its raw events are no longer kept, and the aggregate of them says more than what is answered",
            ),
            Self::Visitors => f.write_str("it is settled and the set of its visitors has not as many as were settled"),
            Self::NoAggregate => f.write_str("it is settled but the aggregate does not have it"),
            Self::Aggregate => f.write_str("it is settled and its aggregate differs from its raw events"),
            Self::ForeignUsers(users) => {
                write!(f, "it has raw events of {users} visitors who belong to another shard")
            }
        }
    }
}

pub(crate) fn bounds(hours: &RangeInclusive<Hour>) -> (DateTime<Utc>, DateTime<Utc>) {
    (hours.start().start().to_utc(), hours.end().start().to_utc())
}

/// Unlike elsewhere, what is read here may have been written by hand.
fn whole_hour(row: &Row, column: usize) -> Result<Hour, StoreError> {
    Hour::starting_at(row.get(column)).ok_or(StoreError::Inconsistent(
        "hour_counts, hour_users or settled_hours has a row whose hour is not a whole UTC hour; delete it",
    ))
}

fn site(row: &Row, column: usize) -> Result<SiteId, StoreError> {
    SiteId::new(row.get(column)).ok_or(StoreError::Inconsistent(
        "hour_counts, hour_users or settled_hours has a row of a site with a negative number; delete it",
    ))
}

/// Reads unique users, clicks and impressions from three columns; none where there are none.
fn tally(row: &Row, first: usize) -> Option<Tally> {
    Some(Tally {
        unique_users: row.get::<_, Option<i64>>(first)?,
        clicks: row.get::<_, Option<i64>>(first + 1)?,
        impressions: row.get::<_, Option<i64>>(first + 2)?,
    })
}
