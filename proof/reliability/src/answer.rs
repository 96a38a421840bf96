//! Which answers a daemon may give. The clients send only valid requests, so every refusal must be temporary and have
//! `Retry-After`.

use model::{HourCounts, Problem};
use reqwest::StatusCode;

use crate::operation::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Counts,
    /// To store events, for the first time or again under the same key.
    Store,
    /// To store other events under a key that was acknowledged or queued.
    StoreOthers,
    /// To store the next part of a source, which may stand earlier than it did, since a database was restored.
    StoreNext,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    /// As far as it arrived.
    pub(crate) body: String,
}

/// The most characters of a body in an objection.
const SHOWN: usize = 500;

impl Answer {
    /// For a request with events.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.status {
            StatusCode::NO_CONTENT => Outcome::Acknowledged,
            StatusCode::ACCEPTED => Outcome::Queued,
            _ => Outcome::Refused,
        }
    }

    /// Why the daemon must not give this answer; none if it may.
    pub(crate) fn objection(&self, asked: Asked, has_spool: bool) -> Option<String> {
        let is_promised = match self.status {
            StatusCode::OK => asked == Asked::Counts && self.body.parse::<HourCounts>().is_ok(),
            StatusCode::NO_CONTENT => matches!(asked, Asked::Store | Asked::StoreNext),
            // With a spool, keys are checked later.
            StatusCode::ACCEPTED => asked != Asked::Counts && has_spool,
            StatusCode::CONFLICT if asked == Asked::StoreNext => self.position().is_some(),
            StatusCode::CONFLICT => asked == Asked::StoreOthers,
            StatusCode::SERVICE_UNAVAILABLE => self.says_when_to_come_back(),
            _ => false,
        };
        let shown: String = self.body.chars().take(SHOWN).collect();
        let wanted = match asked {
            Asked::Counts => "for counts",
            Asked::Store => "to store events",
            Asked::StoreOthers => "to store other events under a used key",
            Asked::StoreNext => "to store the next part of a source",
        };
        let (status, retry_after) = (self.status.as_u16(), self.retry_after.as_deref().unwrap_or("none"));
        (!is_promised).then(|| format!("asked {wanted}: {status} (Retry-After: {retry_after}): {shown:?}"))
    }

    /// Where the source stands, if the answer says so.
    pub(crate) fn position(&self) -> Option<u64> {
        serde_json::from_str::<Problem>(&self.body).ok()?.position
    }

    fn says_when_to_come_back(&self) -> bool {
        self.retry_after.as_ref().and_then(|seconds| seconds.parse::<u32>().ok()).is_some_and(|seconds| seconds > 0)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{
        Answer,
        Asked::{Counts, Store, StoreNext, StoreOthers},
    };

    const MOVED: &str = r#"{"status":409,"title":"","detail":"","position":7}"#;

    #[test]
    fn only_what_is_promised_passes() {
        let counts = "unique_users,1\nclicks,1\nimpressions,0\n";
        // What was asked for, the answer's status, Retry-After and body, and whether it passes without and with a
        // spool.
        let table = [
            (Counts, 200, None, counts, (true, true)),
            (Counts, 200, None, "clicks,one", (false, false)),
            (Counts, 202, None, "", (false, false)),
            (Counts, 204, None, "", (false, false)),
            (Counts, 503, Some("1"), "{}", (true, true)),
            (Store, 200, None, "", (false, false)),
            (Store, 204, None, "", (true, true)),
            (Store, 202, None, "", (false, true)),
            (Store, 400, None, "{}", (false, false)),
            (Store, 409, None, "{}", (false, false)),
            (Store, 500, Some("1"), "{}", (false, false)),
            (Store, 503, Some("1"), "{}", (true, true)),
            (Store, 503, None, "{}", (false, false)),
            (Store, 503, Some("0"), "{}", (false, false)),
            (Store, 503, Some("soon"), "{}", (false, false)),
            (StoreOthers, 204, None, "", (false, false)),
            (StoreOthers, 202, None, "", (false, true)),
            (StoreOthers, 409, None, "{}", (true, true)),
            (StoreOthers, 503, Some("1"), "{}", (true, true)),
            (StoreNext, 204, None, "", (true, true)),
            (StoreNext, 409, None, MOVED, (true, true)),
            (StoreNext, 409, None, "{}", (false, false)),
            (StoreNext, 503, Some("1"), "{}", (true, true)),
        ];
        for (asked, status, retry_after, body, (without, with)) in table {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: retry_after.map(str::to_owned),
                body: body.to_owned(),
            };
            assert_eq!(answer.objection(asked, false).is_none(), without, "{asked:?} without a spool: {answer:?}");
            assert_eq!(answer.objection(asked, true).is_none(), with, "{asked:?} with a spool: {answer:?}");
        }
    }

    #[test]
    fn an_objection_shows_the_answer() {
        let answer = Answer { status: StatusCode::INTERNAL_SERVER_ERROR, retry_after: None, body: "oh".to_owned() };
        let objection = answer.objection(Store, false).unwrap();
        assert_eq!(objection, "asked to store events: 500 (Retry-After: none): \"oh\"");
    }
}
