use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::{Event, EventKind, Hour};

use crate::known_visitors::KnownVisitors;

/// A batch of events as the arrays that the function `ingest` takes; see there for their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns<'a> {
    pub(crate) times: Vec<DateTime<Utc>>,
    pub(crate) users: Vec<&'a str>,
    pub(crate) clicks: Vec<bool>,
    pub(crate) hours: Vec<DateTime<Utc>>,
    pub(crate) hour_clicks: Vec<i64>,
    pub(crate) hour_impressions: Vec<i64>,
    pub(crate) seen_hours: Vec<DateTime<Utc>>,
    pub(crate) seen_users: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    /// Those who are known to be counted in their hour are left out of who was seen.
    pub(crate) fn of(events: impl IntoIterator<Item = &'a Event>, known: &KnownVisitors) -> Self {
        let mut columns = Self::default();
        let mut hours: BTreeMap<Hour, (i64, i64)> = BTreeMap::new();
        let mut seen: Vec<(Hour, &str)> = Vec::new();
        for event in events {
            let (clicks, impressions) = hours.entry(event.hour()).or_default();
            match event.kind {
                EventKind::Click => *clicks += 1,
                EventKind::Impression => *impressions += 1,
            }
            if !known.contains(event.hour(), event.user.as_str()) {
                seen.push((event.hour(), event.user.as_str()));
            }
            columns.times.push(event.at.to_utc());
            columns.users.push(event.user.as_str());
            columns.clicks.push(event.kind == EventKind::Click);
        }
        for (hour, (clicks, impressions)) in hours {
            columns.hours.push(hour.start().to_utc());
            columns.hour_clicks.push(clicks);
            columns.hour_impressions.push(impressions);
        }
        // Rust orders text by its bytes, as the database does for a user's name.
        seen.sort_unstable();
        seen.dedup();
        for (hour, user) in seen {
            columns.seen_hours.push(hour.start().to_utc());
            columns.seen_users.push(user);
        }
        columns
    }

    /// The pairs of hour and user that the database is asked to add.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (DateTime<Utc>, &'a str)> {
        self.seen_hours.iter().copied().zip(self.seen_users.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use model::{Event, EventKind, Timestamp, UserName};

    use super::{Columns, KnownVisitors};

    #[test]
    fn a_batch_is_summed_by_hour_and_its_users_are_distinct_and_in_order() {
        let hour = 3_600_000;
        let event = |millis, user: &str, kind| Event {
            at: Timestamp::from_millis(millis).unwrap(),
            user: UserName::new(user).unwrap(),
            kind,
        };
        let events = [
            event(hour, "b", EventKind::Click),
            event(0, "b", EventKind::Impression),
            event(hour - 1, "ä", EventKind::Impression),
            event(5, "b", EventKind::Click),
            event(6, "Z", EventKind::Click),
        ];
        let columns = Columns::of(&events, &KnownVisitors::default());
        let millis = |times: &[DateTime<Utc>]| times.iter().map(DateTime::timestamp_millis).collect::<Vec<_>>();
        assert_eq!(millis(&columns.times), [hour, 0, hour - 1, 5, 6]);
        assert_eq!(
            (columns.users, columns.clicks),
            (vec!["b", "b", "ä", "b", "Z"], vec![true, false, false, true, true])
        );
        assert_eq!(
            (millis(&columns.hours), columns.hour_clicks, columns.hour_impressions),
            (vec![0, hour], vec![2, 1], vec![2, 0])
        );
        assert_eq!((millis(&columns.seen_hours), columns.seen_users), (vec![0, 0, 0, hour], vec!["Z", "b", "ä", "b"]));
    }
}
