use chrono::{DateTime, Utc};
use model::{EventKind, IdempotencyKey, SiteEvent, SiteHour, Submission};
use sha2::{Digest, Sha256};

use crate::columns::SiteColumn;

/// Part of a SHA-256 sum, long enough that two different requests do not share one, by chance or by intent.
type Fingerprint = [u8; 16];

/// That the events under a key are to be stored once in one hour of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where the key counts.
    pub site_hour: SiteHour,
    /// The key.
    pub key: IdempotencyKey,
    /// The place of the key in [`Submission::keyed`].
    pub keyed: usize,
    fingerprint: Fingerprint,
}

impl Claim {
    /// What a submission's keys claim: one claim for each key and each hour of each site that its events touch.
    pub fn all_of(submission: &Submission) -> Vec<Self> {
        let mut claims = Vec::new();
        let mut touched: Vec<SiteHour> = Vec::new();
        for (place, keyed) in submission.keyed.iter().enumerate() {
            let events = &submission.events[keyed.events.clone()];
            let mut sum = Sha256::new();
            for SiteEvent { event, site } in events {
                sum.update(site.number().to_be_bytes());
                sum.update(event.at.millis().to_be_bytes());
                sum.update([u8::from(event.kind == EventKind::Click)]);
                // Ended by what no name holds, so that no two lists of events give the same bytes.
                sum.update(event.user.as_str());
                sum.update([0]);
            }
            let mut fingerprint = Fingerprint::default();
            fingerprint.copy_from_slice(&sum.finalize()[..16]);

            touched.clear();
            touched.extend(events.iter().map(SiteEvent::site_hour));
            touched.sort_unstable();
            touched.dedup();
            let claim = |&site_hour| Self { site_hour, key: keyed.key.clone(), keyed: place, fingerprint };
            claims.extend(touched.iter().map(claim));
        }
        claims
    }
}

/// Claims as the arrays that the function `ingest_once` takes: ascending by hour, site and key.
pub(crate) struct ClaimColumns<'a> {
    pub(crate) hours: Vec<DateTime<Utc>>,
    pub(crate) sites: SiteColumn,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) fingerprints: Vec<&'a [u8]>,
    places: Vec<usize>,
}

impl<'a> ClaimColumns<'a> {
    pub(crate) fn of(claims: &'a [Claim]) -> Self {
        let mut places: Vec<usize> = (0..claims.len()).collect();
        places.sort_unstable_by_key(|&place| (claims[place].site_hour, claims[place].key.as_str()));
        let sorted = || places.iter().map(|&place| &claims[place]);
        Self {
            hours: sorted().map(|claim| claim.site_hour.hour.start().to_utc()).collect(),
            sites: sorted().map(|claim| claim.site_hour.site).collect(),
            keys: sorted().map(|claim| claim.key.as_str()).collect(),
            fingerprints: sorted().map(|claim| claim.fingerprint.as_slice()).collect(),
            places,
        }
    }

    /// The places, in the claims that were given, of those that the database names by theirs in the arrays, from 1.
    pub(crate) fn places_of(&self, ordinals: Option<Vec<i64>>) -> Vec<usize> {
        ordinals
            .unwrap_or_default()
            .into_iter()
            .filter_map(|ordinal| self.places.get(usize::try_from(ordinal).ok()?.checked_sub(1)?).copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, IdempotencyKey, Keyed, SiteEvent, SiteId, Submission, Timestamp, UserName};

    use super::{Claim, ClaimColumns};

    fn event(millis: i64, user: &str) -> SiteEvent {
        let at = Timestamp::from_millis(millis).unwrap();
        SiteEvent::nameless(Event { at, user: UserName::new(user).unwrap(), kind: EventKind::Click })
    }

    fn at_site(site: i32, event: SiteEvent) -> SiteEvent {
        SiteEvent { site: SiteId::new(site).unwrap(), ..event }
    }

    #[test]
    fn a_key_claims_each_hour_that_its_events_touch_with_one_fingerprint_for_all_of_them() {
        let key = |name| IdempotencyKey::new(name).unwrap();
        let submission = Submission {
            events: vec![event(3_600_000, "b"), event(0, "a"), event(1, "a"), event(2, "c")],
            keyed: vec![Keyed { key: key("z"), events: 0..3 }, Keyed { key: key("a"), events: 3..4 }],
            step: None,
        };
        let claims = Claim::all_of(&submission);
        let said: Vec<_> =
            claims.iter().map(|c| (c.site_hour.hour.start().millis(), c.key.as_str(), c.keyed)).collect();
        assert_eq!(said, [(0, "z", 0), (3_600_000, "z", 0), (0, "a", 1)]);
        assert_eq!(claims[0].fingerprint, claims[1].fingerprint);
        assert_ne!(claims[0].fingerprint, claims[2].fingerprint);

        let columns = ClaimColumns::of(&claims);
        assert_eq!(columns.keys, ["a", "z", "z"]);
        assert_eq!(columns.places_of(Some(vec![1, 3])), [2, 1]);
        assert_eq!(columns.places_of(None), [0_usize; 0]);
    }

    #[test]
    fn a_key_claims_the_hours_of_each_site_by_themselves() {
        let events = vec![at_site(7, event(0, "a")), event(1, "a"), at_site(7, event(2, "a"))];
        let claims = Claim::all_of(&Submission::new(events, Some(IdempotencyKey::new("k").unwrap())));
        let sites: Vec<_> = claims.iter().map(|claim| claim.site_hour.site.number()).collect();
        assert_eq!(sites, [0, 7]);
        assert_eq!(*ClaimColumns::of(&claims).sites.as_sent(), Some(vec![0, 7]));
    }

    #[test]
    fn whatever_differs_in_the_events_differs_in_the_fingerprint() {
        let of = |events: Vec<SiteEvent>| {
            let submission = Submission::new(events, Some(IdempotencyKey::new("k").unwrap()));
            Claim::all_of(&submission)[0].fingerprint
        };
        let impression = Event { kind: EventKind::Impression, ..event(1, "a").event };
        let all = [
            of(vec![event(1, "a")]),
            of(vec![event(2, "a")]),
            of(vec![event(1, "b")]),
            of(vec![SiteEvent::nameless(impression)]),
            of(vec![event(1, "a"), event(1, "a")]),
            of(vec![at_site(7, event(1, "a"))]),
            of(vec![at_site(7, event(1, "a")), event(1, "a")]),
            of(vec![event(1, "a"), at_site(7, event(1, "a"))]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one));
        }
        assert_eq!(all[0], of(vec![event(1, "a")]));
    }
}
