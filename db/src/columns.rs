use std::{collections::BTreeMap, time::SystemTime};

use chrono::{DateTime, Utc};
use model::{EventKind, Hour, SiteEvent, SiteHour, SiteId};

use crate::known_visitors::{KnownVisitors, Names};

/// A batch of events as the arrays that the function `ingest` takes; see there for their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns<'a> {
    /// Not chrono's, whose calendar each event would pay for.
    pub(crate) times: Vec<SystemTime>,
    pub(crate) sites: SiteColumn,
    pub(crate) users: Vec<&'a str>,
    pub(crate) clicks: Vec<bool>,
    pub(crate) hours: Vec<DateTime<Utc>>,
    pub(crate) hour_sites: SiteColumn,
    pub(crate) hour_clicks: Vec<i64>,
    pub(crate) hour_impressions: Vec<i64>,
    pub(crate) seen_hours: Vec<DateTime<Utc>>,
    pub(crate) seen_users: Vec<&'a str>,
    pub(crate) seen_sites: SiteColumn,
}

/// The sites of rows that other columns describe. The database is sent none where all are the one without a name, which costs it less.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SiteColumn(Option<Vec<i32>>);

impl FromIterator<SiteId> for SiteColumn {
    fn from_iter<I: IntoIterator<Item = SiteId>>(sites: I) -> Self {
        let numbers: Vec<i32> = sites.into_iter().map(SiteId::number).collect();
        Self(numbers.iter().any(|&number| number != SiteId::NAMELESS.number()).then_some(numbers))
    }
}

impl SiteColumn {
    /// As a parameter.
    #[expect(clippy::ref_option, reason = "a parameter is a reference to what is sent")]
    pub(crate) fn as_sent(&self) -> &Option<Vec<i32>> {
        &self.0
    }

    fn at(&self, place: usize) -> SiteId {
        self.0.as_ref().and_then(|numbers| SiteId::new(numbers[place])).unwrap_or_default()
    }
}

/// What a batch adds to an hour of a site.
struct OfHour<'a> {
    clicks: i64,
    impressions: i64,
    /// Who is known to be counted in it.
    known: Option<&'a Names>,
}

impl<'a> Columns<'a> {
    /// Those who are known to be counted in their hour are left out of who was seen.
    pub(crate) fn of(events: impl IntoIterator<Item = &'a SiteEvent>, known: &KnownVisitors) -> Self {
        let mut columns = Self::default();
        let mut sites = Vec::new();
        let mut hours: BTreeMap<SiteHour, OfHour> = BTreeMap::new();
        let mut seen: Vec<(Hour, &str, SiteId)> = Vec::new();
        for of_site in events {
            let (SiteEvent { site, event }, site_hour) = (of_site, of_site.site_hour());
            let of_hour = hours.entry(site_hour).or_insert_with(|| OfHour {
                clicks: 0,
                impressions: 0,
                known: known.of(site_hour),
            });
            match event.kind {
                EventKind::Click => of_hour.clicks += 1,
                EventKind::Impression => of_hour.impressions += 1,
            }
            if !of_hour.known.is_some_and(|names| names.contains(event.user.as_str())) {
                seen.push((site_hour.hour, event.user.as_str(), *site));
            }
            columns.times.push(SystemTime::from(event.at));
            sites.push(*site);
            columns.users.push(event.user.as_str());
            columns.clicks.push(event.kind == EventKind::Click);
        }
        columns.sites = sites.into_iter().collect();
        columns.hour_sites = hours.keys().map(|site_hour| site_hour.site).collect();
        for (SiteHour { hour, .. }, OfHour { clicks, impressions, .. }) in hours {
            columns.hours.push(hour.start().to_utc());
            columns.hour_clicks.push(clicks);
            columns.hour_impressions.push(impressions);
        }
        // In the order of the key of hour_users. Rust orders text by its bytes, as the database does for a user's name.
        seen.sort_unstable();
        seen.dedup();
        columns.seen_sites = seen.iter().map(|(_, _, site)| *site).collect();
        for (hour, user, _) in seen {
            columns.seen_hours.push(hour.start().to_utc());
            columns.seen_users.push(user);
        }
        columns
    }

    /// Who the database is asked to add, and to which hour of which site.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (SiteHour, &'a str)> {
        let users = self.seen_hours.iter().zip(&self.seen_users).enumerate();
        users.filter_map(|(place, (&hour, &user))| {
            Some((SiteHour { hour: Hour::starting_at(hour)?, site: self.seen_sites.at(place) }, user))
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use model::{Event, EventKind, SiteEvent, SiteId, Timestamp, UserName};

    use super::{Columns, KnownVisitors, SiteColumn};

    const HOUR: i64 = 3_600_000;

    fn event(site: i32, millis: i64, user: &str, kind: EventKind) -> SiteEvent {
        let at = Timestamp::from_millis(millis).unwrap();
        let event = Event { at, user: UserName::new(user).unwrap(), kind };
        SiteEvent { site: SiteId::new(site).unwrap(), event }
    }

    fn millis<T: Copy + Into<DateTime<Utc>>>(times: &[T]) -> Vec<i64> {
        times.iter().map(|&time| time.into().timestamp_millis()).collect()
    }

    #[test]
    fn a_batch_is_summed_by_hour_and_its_users_are_distinct_and_in_order() {
        let events = [
            event(0, HOUR, "b", EventKind::Click),
            event(0, 0, "b", EventKind::Impression),
            event(0, HOUR - 1, "ä", EventKind::Impression),
            event(0, 5, "b", EventKind::Click),
            event(0, 6, "Z", EventKind::Click),
        ];
        let columns = Columns::of(&events, &KnownVisitors::default());
        assert_eq!(millis(&columns.times), [HOUR, 0, HOUR - 1, 5, 6]);
        assert_eq!(
            (columns.users, columns.clicks),
            (vec!["b", "b", "ä", "b", "Z"], vec![true, false, false, true, true])
        );
        assert_eq!(
            (millis(&columns.hours), columns.hour_clicks, columns.hour_impressions),
            (vec![0, HOUR], vec![2, 1], vec![2, 0])
        );
        assert_eq!((millis(&columns.seen_hours), columns.seen_users), (vec![0, 0, 0, HOUR], vec!["Z", "b", "ä", "b"]));
        assert_eq!([columns.sites, columns.hour_sites, columns.seen_sites], [const { SiteColumn(None) }; 3]);
    }

    #[test]
    fn each_site_has_sums_and_users_of_its_own() {
        let events = [
            event(7, 0, "b", EventKind::Click),
            event(0, 1, "b", EventKind::Click),
            event(7, 2, "a", EventKind::Click),
            event(7, HOUR, "b", EventKind::Impression),
            event(7, 3, "b", EventKind::Click),
        ];
        let columns = Columns::of(&events, &KnownVisitors::default());
        assert_eq!(columns.sites, SiteColumn(Some(vec![7, 0, 7, 7, 7])));
        assert_eq!((millis(&columns.hours), &columns.hour_sites), (vec![0, 0, HOUR], &SiteColumn(Some(vec![0, 7, 7]))));
        assert_eq!((&*columns.hour_clicks, &*columns.hour_impressions), (&[1, 3, 0][..], &[0, 0, 1][..]));
        let seen: Vec<_> =
            columns.seen().map(|(it, user)| (it.hour.start().millis(), user, it.site.number())).collect();
        assert_eq!(seen, [(0, "a", 7), (0, "b", 0), (0, "b", 7), (HOUR, "b", 7)]);
    }
}
