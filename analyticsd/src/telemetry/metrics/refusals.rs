use std::fmt;

use warp::reply::Response;

use super::{Counter, Sink, label::label};

label! {
    /// Why a request was not served. An answer carries it among its extensions.
    pub(crate) enum Reason {
        Invalid = "invalid",
        TooLarge = "too_large",
        TooSlow = "too_slow",
        NotFound = "not_found",
        MethodNotAllowed = "method_not_allowed",
        Unauthenticated = "unauthenticated",
        Forbidden = "forbidden",
        RateLimited = "rate_limited",
        Conflict = "conflict",
        Expired = "expired",
        TooBusy = "too_busy",
        Rebuilding = "rebuilding",
        Unavailable = "unavailable",
        Refused = "refused",
        Unknown = "unknown",
        NotReady = "not_ready",
        Other = "other",
    }
}

impl Reason {
    /// Why this answer is an error; `None` if it is not.
    pub(crate) fn of(response: &Response) -> Option<Self> {
        if response.status().as_u16() < 400 {
            return None;
        }
        Some(response.extensions().get::<Self>().copied().unwrap_or(Self::Other))
    }
}

/// How many requests were not served, by reason.
#[derive(Default)]
pub(crate) struct Refusals([Counter; Reason::ALL.len()]);

impl Refusals {
    pub(crate) fn count(&self, reason: Reason) {
        self.0[reason as usize].add(1);
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        let series = Reason::ALL.map(Reason::name).into_iter().zip(&self.0);
        let series = series.map(|(reason, count)| (vec![("reason", reason)], count.get()));
        sink.counter("analyticsd_refusals", "Requests that were not served, by reason", series)
    }
}
