use std::{
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    iter,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use model::SiteId;
use warp::http::{HeaderName, HeaderValue, header::HeaderMap};

use super::Rate;
use crate::auth::network::network;

/// The places of one set. A full set evicts the owner with the fewest recent requests.
const WAYS: usize = 8;
/// The number of sets: 32,768 places in all, half a mebibyte.
const SETS: usize = 4_096;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Counts requests by owner, in a fixed number of places. An attacker with more addresses than places (an IPv6 network
/// of 64 bits counts as one) may evict another owner, who then starts with a full allowance. No owner is ever refused
/// because of another's requests.
///
/// Each place holds the instant at which its owner's requests would all have been due at an even rate (the generic cell
/// rate algorithm, GCRA). Each set has a lock of its own, held for a few instructions.
pub(super) struct RateLimiter {
    /// In nanoseconds: the time between two requests at an even rate, and how far an owner may be ahead of it.
    interval: u64,
    burst: u64,
    limit: HeaderValue,
    policy: HeaderValue,
    hasher: RandomState,
    sets: Vec<Mutex<[Place; WAYS]>>,
}

/// The key of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owner(u64);

impl Owner {
    /// The owner for a token. Its id is random, so no client can choose it.
    pub(super) fn of_token(id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The owner for what writes to a site, or reads it. The database gives out its number.
    pub(super) fn of_site(site: SiteId, writes: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (site, writes).hash(&mut hasher);
        Self(hasher.finish())
    }
}

#[derive(Clone, Copy, Default)]
struct Place {
    owner: Owner,
    /// In nanoseconds. An instant in the past has no effect, so 0 marks an unused place.
    due: u64,
}

/// The result of counting a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) is_allowed: bool,
    /// How many more requests are allowed at once.
    pub(super) remaining: u32,
    /// In how many seconds the full allowance is available again, rounded up.
    pub(super) reset: u64,
    /// In how many seconds the next request is allowed, rounded up; at least 1.
    pub(super) retry_after: u64,
}

impl RateLimiter {
    pub(super) fn new(rate: Rate) -> Self {
        let window = rate.period.as_secs();
        let policy = format!("{};w={window};burst={}", rate.requests, rate.burst);
        Self {
            interval: rate.interval(),
            burst: rate.interval() * u64::from(rate.burst),
            limit: rate.burst.into(),
            policy: HeaderValue::try_from(policy).expect("digits and ASCII letters are a value"),
            hasher: RandomState::new(),
            sets: iter::repeat_with(Mutex::default).take(SETS).collect(),
        }
    }

    /// The owner for an address. The hash is keyed, because an attacker may choose addresses that collide with others.
    pub(super) fn owner_of(&self, address: IpAddr) -> Owner {
        Owner(self.hasher.hash_one(network(address)))
    }

    /// The owner for a public key at an address. Many clients share the key, and none may use up the allowance of the
    /// others.
    pub(super) fn owner_of_public(&self, key: &str, address: IpAddr) -> Owner {
        Owner(self.hasher.hash_one((key, network(address))))
    }

    /// Counts a request of an owner. `now` is in nanoseconds since a fixed instant that lies before all requests.
    pub(super) fn take(&self, owner: Owner, now: u64) -> Standing {
        let index = usize::try_from(owner.0 % SETS as u64).unwrap_or_default();
        let mut set = self.sets[index].lock().unwrap_or_else(PoisonError::into_inner);
        let mut least = 0;
        let mut found = None;
        for (at, place) in set.iter().enumerate() {
            if place.owner == owner {
                found = Some(at);
                break;
            }
            if place.due < set[least].due {
                least = at;
            }
        }
        let place = &mut set[found.unwrap_or(least)];
        if found.is_none() {
            *place = Place { owner, due: 0 };
        }
        let (interval, burst) = (self.interval, self.burst);
        let due = place.due.max(now) + interval;
        let is_allowed = due <= now + burst;
        if is_allowed {
            place.due = due;
        }
        let ahead = place.due.saturating_sub(now);
        Standing {
            is_allowed,
            remaining: u32::try_from(burst.saturating_sub(ahead) / interval).unwrap_or(u32::MAX),
            reset: ahead.div_ceil(NANOS_PER_SECOND),
            retry_after: due.saturating_sub(now + burst).div_ceil(NANOS_PER_SECOND).max(1),
        }
    }

    /// Adds the headers `RateLimit-…` to an answer, and the policy if the request was refused. With these the map of
    /// headers of an answer with counts is exactly full, before it would grow.
    pub(super) fn add_headers(&self, standing: Standing, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.clone());
        headers.insert(REMAINING, standing.remaining.into());
        headers.insert(RESET, number(standing.reset));
        if !standing.is_allowed {
            headers.insert(POLICY, self.policy.clone());
        }
    }
}

/// A number as a header's value. One digit, the most frequent case, takes no allocation.
fn number(number: u64) -> HeaderValue {
    const DIGITS: &str = "0123456789";
    match usize::try_from(number) {
        Ok(digit @ 0..=9) => HeaderValue::from_static(&DIGITS[digit..=digit]),
        _ => number.into(),
    }
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

#[cfg(test)]
mod tests {
    use super::{NANOS_PER_SECOND, Owner, RateLimiter, SETS, WAYS};
    use crate::auth::Rate;

    #[test]
    fn a_burst_passes_at_once_and_then_one_request_each_interval() {
        let buckets = RateLimiter::new("10/s:3".parse().unwrap());
        let tenth = NANOS_PER_SECOND / 10;
        let passed = |now| buckets.take(Owner(1), now).is_allowed;
        assert_eq!([passed(0), passed(0), passed(0), passed(0)], [true, true, true, false]);
        assert_eq!([passed(tenth - 1), passed(tenth), passed(tenth)], [false, true, false]);
        let much_later = 100 * NANOS_PER_SECOND;
        assert_eq!(
            [(); 4].map(|()| passed(much_later)),
            [true, true, true, false],
            "a pause earns no more than a burst"
        );
        assert!(buckets.take(Owner(2), 0).is_allowed, "another owner has its own allowance");
    }

    #[test]
    fn the_standing_has_the_remaining_requests_and_when_to_try_again() {
        let buckets = RateLimiter::new("60/h:2".parse().unwrap());
        let first = buckets.take(Owner(1), 0);
        assert_eq!((first.remaining, first.reset), (1, 60));
        let second = buckets.take(Owner(1), 0);
        assert_eq!((second.is_allowed, second.remaining, second.reset), (true, 0, 120));
        let third = buckets.take(Owner(1), 30 * NANOS_PER_SECOND);
        assert_eq!((third.is_allowed, third.remaining, third.reset, third.retry_after), (false, 0, 90, 30));
        assert!(buckets.take(Owner(1), 60 * NANOS_PER_SECOND).is_allowed, "the next request is allowed in time");
    }

    #[test]
    fn many_other_owners_do_not_evict_the_busiest() {
        let buckets = RateLimiter::new(Rate::per_second(1, 5));
        for _ in 0..5 {
            assert!(buckets.take(Owner(7), 0).is_allowed);
        }
        // All of them fall into the same set.
        for other in 1..=10 * WAYS as u64 {
            assert!(
                buckets.take(Owner(7 + other * SETS as u64), 0).is_allowed,
                "no owner is refused because of others"
            );
        }
        assert!(!buckets.take(Owner(7), 0).is_allowed);
    }

    #[test]
    fn the_largest_rates_do_not_overflow() {
        for text in ["1/h:1000000", "1000000/s:1000000", "1000000/h:1"] {
            let buckets = RateLimiter::new(text.parse().unwrap());
            let age = 100 * 366 * 86_400 * NANOS_PER_SECOND;
            assert!(buckets.take(Owner(1), age).is_allowed, "{text}");
        }
    }
}
