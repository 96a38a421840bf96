use std::fmt;

use warp::{http::StatusCode, reply::Response};

use super::{Counter, Sink};
use crate::ingest::job::NotAccepted;

/// Why a request was not served. An answer says it by carrying this among its extensions; of others the status tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Invalid,
    TooLarge,
    TooSlow,
    NotFound,
    MethodNotAllowed,
    Unauthenticated,
    Forbidden,
    RateLimited,
    Conflict,
    Expired,
    TooBusy,
    Rebuilding,
    Unavailable,
    Refused,
    Unknown,
    NotReady,
    Other,
}

impl Reason {
    /// All of them, in the order of their numbers.
    const ALL: [&'static str; 17] = [
        "invalid",
        "too_large",
        "too_slow",
        "not_found",
        "method_not_allowed",
        "unauthenticated",
        "forbidden",
        "rate_limited",
        "conflict",
        "expired",
        "too_busy",
        "rebuilding",
        "unavailable",
        "refused",
        "unknown",
        "not_ready",
        "other",
    ];

    pub(crate) fn of_not_accepted(reason: NotAccepted) -> Self {
        match reason {
            NotAccepted::TooBusy => Self::TooBusy,
            NotAccepted::Rebuilding => Self::Rebuilding,
            NotAccepted::Unavailable => Self::Unavailable,
            NotAccepted::Refused => Self::Refused,
            NotAccepted::Expired(_) => Self::Expired,
            NotAccepted::Conflict => Self::Conflict,
            NotAccepted::Unknown => Self::Unknown,
        }
    }

    /// Why this answer serves nobody; none if it does.
    pub(crate) fn of(response: &Response) -> Option<Self> {
        if response.status().as_u16() < 400 {
            return None;
        }
        Some(response.extensions().get::<Self>().copied().unwrap_or_else(|| Self::told_by(response.status())))
    }

    fn told_by(status: StatusCode) -> Self {
        match status.as_u16() {
            400 | 415 => Self::Invalid,
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::TooSlow,
            409 => Self::Conflict,
            413 | 414 | 431 => Self::TooLarge,
            429 => Self::RateLimited,
            // A limit of the daemon's own; the other reasons for it are told.
            503 => Self::TooBusy,
            _ => Self::Other,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize]
    }

    /// How many reasons there are.
    pub(crate) const COUNT: usize = Self::ALL.len();
}

/// How many requests were not served, by reason.
#[derive(Default)]
pub(crate) struct Refusals([Counter; Reason::COUNT]);

impl Refusals {
    pub(crate) fn count(&self, reason: Reason) {
        self.0[reason as usize].add(1);
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        sink.counter(
            "analyticsd_refusals",
            "Requests that were not served, by reason",
            self.0.iter().zip(Reason::ALL).map(|(count, reason)| (vec![("reason", reason)], count.get())),
        )
    }
}

#[cfg(test)]
mod tests {
    use warp::{http::StatusCode, reply::Response};

    use super::Reason;

    #[test]
    fn an_answer_tells_its_reason_and_else_its_status_does() {
        let mut response = Response::default();
        assert_eq!(Reason::of(&response), None);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(Reason::of(&response), Some(Reason::TooBusy));
        response.extensions_mut().insert(Reason::Rebuilding);
        assert_eq!(Reason::of(&response), Some(Reason::Rebuilding));
        assert_eq!((Reason::Other as usize + 1, Reason::Other.name()), (Reason::COUNT, "other"));
        assert_eq!(Reason::TooBusy.name(), "too_busy");
    }
}
