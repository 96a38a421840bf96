use chrono::{DateTime, Utc};
use model::{EventKind, Hour, IdempotencyKey, Submission};
use sha2::{Digest, Sha256};

/// Part of a SHA-256 sum, long enough that two different requests do not share one, by chance or by intent.
type Fingerprint = [u8; 16];

/// That the events under a key are to be stored once in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The hour in which the key counts.
    pub hour: Hour,
    /// The key.
    pub key: IdempotencyKey,
    /// The place of the key in [`Submission::keyed`].
    pub keyed: usize,
    fingerprint: Fingerprint,
}

impl Claim {
    /// What a submission's keys claim: one claim for each key and each hour that its events touch.
    pub fn all_of(submission: &Submission) -> Vec<Self> {
        let mut claims = Vec::new();
        let mut hours: Vec<Hour> = Vec::new();
        for (place, keyed) in submission.keyed.iter().enumerate() {
            let events = &submission.events[keyed.events.clone()];
            let mut sum = Sha256::new();
            for event in events {
                sum.update(event.at.millis().to_be_bytes());
                sum.update([u8::from(event.kind == EventKind::Click)]);
                // Ended by what no name holds, so that no two lists of events give the same bytes.
                sum.update(event.user.as_str());
                sum.update([0]);
            }
            let mut fingerprint = Fingerprint::default();
            fingerprint.copy_from_slice(&sum.finalize()[..16]);

            hours.clear();
            hours.extend(events.iter().map(model::Event::hour));
            hours.sort_unstable();
            hours.dedup();
            claims.extend(hours.iter().map(|&hour| Self { hour, key: keyed.key.clone(), keyed: place, fingerprint }));
        }
        claims
    }
}

/// Claims as the arrays that the function `ingest_once` takes: ascending by hour and key.
pub(crate) struct ClaimColumns<'a> {
    pub(crate) hours: Vec<DateTime<Utc>>,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) fingerprints: Vec<&'a [u8]>,
    places: Vec<usize>,
}

impl<'a> ClaimColumns<'a> {
    pub(crate) fn of(claims: &'a [Claim]) -> Self {
        let mut places: Vec<usize> = (0..claims.len()).collect();
        places.sort_unstable_by_key(|&place| (claims[place].hour, claims[place].key.as_str()));
        let sorted = || places.iter().map(|&place| &claims[place]);
        Self {
            hours: sorted().map(|claim| claim.hour.start().to_utc()).collect(),
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
    use model::{Event, EventKind, IdempotencyKey, Keyed, Submission, Timestamp, UserName};

    use super::{Claim, ClaimColumns};

    fn event(millis: i64, user: &str) -> Event {
        let at = Timestamp::from_millis(millis).unwrap();
        Event { at, user: UserName::new(user).unwrap(), kind: EventKind::Click }
    }

    #[test]
    fn a_key_claims_each_hour_that_its_events_touch_with_one_fingerprint_for_all_of_them() {
        let key = |name| IdempotencyKey::new(name).unwrap();
        let submission = Submission {
            events: vec![event(3_600_000, "b"), event(0, "a"), event(1, "a"), event(2, "c")],
            keyed: vec![Keyed { key: key("z"), events: 0..3 }, Keyed { key: key("a"), events: 3..4 }],
        };
        let claims = Claim::all_of(&submission);
        let said: Vec<_> = claims.iter().map(|c| (c.hour.start().millis(), c.key.as_str(), c.keyed)).collect();
        assert_eq!(said, [(0, "z", 0), (3_600_000, "z", 0), (0, "a", 1)]);
        assert_eq!(claims[0].fingerprint, claims[1].fingerprint);
        assert_ne!(claims[0].fingerprint, claims[2].fingerprint);

        let columns = ClaimColumns::of(&claims);
        assert_eq!(columns.keys, ["a", "z", "z"]);
        assert_eq!(columns.places_of(Some(vec![1, 3])), [2, 1]);
        assert_eq!(columns.places_of(None), [0_usize; 0]);
    }

    #[test]
    fn whatever_differs_in_the_events_differs_in_the_fingerprint() {
        let of = |events: Vec<Event>| {
            let submission = Submission::new(events, Some(IdempotencyKey::new("k").unwrap()));
            Claim::all_of(&submission)[0].fingerprint
        };
        let impression = Event { kind: EventKind::Impression, ..event(1, "a") };
        let all = [
            of(vec![event(1, "a")]),
            of(vec![event(2, "a")]),
            of(vec![event(1, "b")]),
            of(vec![impression]),
            of(vec![event(1, "a"), event(1, "a")]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one));
        }
        assert_eq!(all[0], of(vec![event(1, "a")]));
    }
}
