//! What is told of events that cannot be counted exactly, because raw events of their hour are gone.

use chrono::{DateTime, Utc};
use model::{Problem, Timestamp};

use crate::ingest::limits::age::rfc3339;

/// An event that lies in an hour whose raw events are no longer kept, or not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    /// When it happened; of several such events of a request the first.
    pub(crate) at: Timestamp,
    /// From when on events are accepted, if the database could be asked; 1970 where all are.
    pub(crate) accepts_from: Option<DateTime<Utc>>,
}

impl Expired {
    /// The answer to it.
    pub(crate) fn problem(self) -> Problem {
        if self.accepts_from.is_some_and(|from| from.timestamp_millis() <= self.at.millis()) {
            return self.incomplete();
        }
        let from = self.accepts_from.map(|from| from.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        let bound =
            from.as_deref().map(|from| format!(" Accepted is what happened from {from} on.")).unwrap_or_default();
        Problem {
            parameter: Some(Timestamp::PARAMETER.to_owned()),
            accepted: from.map(|from| format!("from {from} on, in milliseconds since 1970")),
            ..Problem::new(
                400,
                "Hour no longer kept",
                format!(
                    "timestamp {} ({}) lies in an hour whose raw events are no longer kept, by the retention setting, so it can no longer be \
                     counted exactly.{bound} Nothing was stored.",
                    self.at.millis(),
                    rfc3339(self.at)
                ),
            )
        }
    }

    /// Retention did not pass the hour: somebody else deleted raw events of it.
    fn incomplete(self) -> Problem {
        Problem {
            parameter: Some(Timestamp::PARAMETER.to_owned()),
            ..Problem::new(
                400,
                "Hour incomplete",
                format!(
                    "timestamp {} ({}) lies in an hour of which raw events are missing on the server, so it can no longer be counted exactly; \
                     the server's log says more. Nothing was stored.",
                    self.at.millis(),
                    rfc3339(self.at)
                ),
            )
        }
    }
}
