//! The paths of the HTTP interface, and the newline-delimited JSON of a batch.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Event, EventKind, IdempotencyKey, InvalidInput, SiteName, Timestamp, UserName};

/// For single events and the counts of an hour.
pub const ANALYTICS_PATH: &str = "/analytics";
pub const BATCH_PATH: &str = "/analytics/batch";
/// For ranges of hours.
pub const HOURS_PATH: &str = "/analytics/hours";
/// For the counts of the current hour as they change.
pub const STREAM_PATH: &str = "/analytics/stream";
/// For the sites that a client may read.
pub const SITES_PATH: &str = "/analytics/sites";
/// The media type of a batch.
pub const NDJSON: &str = "application/x-ndjson";
/// Bounds the memory that the daemon needs for a request.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// 8 MiB: enough for 10,000 events with the longest names, escaped.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The most different hours in one batch. Each hour needs a lock in the database, whose table of locks is bounded.
pub const MAX_BATCH_HOURS: usize = 256;

/// An event as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentEvent {
    pub event: Event,
    pub key: Option<IdempotencyKey>,
    pub site: Option<SiteName>,
}

#[derive(Serialize, Deserialize)]
struct Members<'a> {
    timestamp: i64,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    site: Option<Cow<'a, str>>,
}

#[derive(Debug, Error)]
pub enum InvalidLine {
    #[error(
        "is not an event: {0}; accepted is one JSON object a line: {{\"timestamp\":MILLISECONDS,\"user\":NAME,\"event\":\"click\" or \"impression\"}}"
    )]
    NotAnEvent(#[from] serde_json::Error),
    #[error(
        "is not an event: it is not a JSON object; accepted is one JSON object a line: {{\"timestamp\":MILLISECONDS,\"user\":NAME,\"event\":\"click\" or \"impression\"}}"
    )]
    NotAnObject,
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
}

/// The idempotency key is the member `id`. Unknown members are ignored.
pub fn parse_line(line: &[u8]) -> Result<SentEvent, InvalidLine> {
    // serde would also accept an array of the values.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(InvalidLine::NotAnObject);
    }
    let Members { timestamp, user, event, id, site } = serde_json::from_slice(line)?;
    let key = id.map(IdempotencyKey::new).transpose()?;
    let site = site.map(SiteName::new).transpose()?;
    let event =
        Event { at: Timestamp::from_millis(timestamp)?, user: UserName::new(user)?, kind: EventKind::parse(&event)? };
    Ok(SentEvent { event, key, site })
}

/// Includes the newline.
pub fn write_line(event: &Event, key: Option<&IdempotencyKey>, site: Option<&SiteName>, out: &mut Vec<u8>) {
    let line = Members {
        timestamp: event.at.millis(),
        user: event.user.as_str().into(),
        event: event.kind.as_str().into(),
        id: key.map(|key| key.as_str().into()),
        site: site.map(|site| site.as_str().into()),
    };
    serde_json::to_writer(&mut *out, &line).expect("writing strings and integers as JSON into memory cannot fail");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SentEvent, parse_line, write_line};
    use crate::{Event, EventKind, IdempotencyKey, SiteName, Timestamp, UserName};

    #[test]
    fn a_line_without_an_event_is_refused_with_its_reason() {
        let table = [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            (r#"[1,"a","click"]"#, "not a JSON object"),
            ("not json", "not a JSON object"),
            ("{", "EOF"),
            (r#"{"timestamp":1,"user":"a"}"#, "missing field `event`"),
            (r#"{"timestamp":"1","user":"a","event":"click"}"#, "invalid type: string"),
            (r#"{"timestamp":1.5,"user":"a","event":"click"}"#, "invalid type: floating point"),
            (r#"{"timestamp":1,"timestamp":2,"user":"a","event":"click"}"#, "duplicate field"),
            (r#"{"timestamp":-1,"user":"a","event":"click"}"#, "timestamp is negative"),
            (r#"{"timestamp":1,"user":"","event":"click"}"#, "user is empty"),
            (r#"{"timestamp":1,"user":"a\u0000","event":"click"}"#, "user holds a NUL"),
            (r#"{"timestamp":1,"user":"a","event":"Click"}"#, "event is unknown"),
            (r#"{"timestamp":1,"user":"a","event":"click"} {}"#, "trailing characters"),
            (r#"{"timestamp":1,"user":"a","event":"click","id":""}"#, "id is empty"),
            (r#"{"timestamp":1,"user":"a","event":"click","id":7}"#, "invalid type: integer"),
            (r#"{"timestamp":1,"user":"a","event":"click","site":""}"#, "site is empty"),
            (r#"{"timestamp":1,"user":"a","event":"click","site":"a b"}"#, "site holds something else"),
        ];
        for (line, reason) in table {
            let error = parse_line(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{line:?} gave {error:?}");
        }
    }

    #[test]
    fn members_that_are_not_known_are_ignored() {
        assert!(parse_line(br#"{"referer":"x","event":"impression","user":"a","timestamp":1}"#).is_ok());
    }

    proptest! {
        #[test]
        fn every_event_survives_the_way_over_the_wire(
            millis in 0..=Timestamp::MAX.millis(), name in "[^\0]{1,64}", click: bool, key in proptest::option::of("[!-~]{1,9}"),
            site in proptest::option::of("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
        ) {
            let event = Event {
                at: Timestamp::from_millis(millis).unwrap(),
                user: UserName::new(name).unwrap(),
                kind: if click { EventKind::Click } else { EventKind::Impression },
            };
            let mut line = Vec::new();
            let key = key.map(|key| IdempotencyKey::new(key).unwrap());
            let site = site.map(|site| SiteName::new(site).unwrap());
            write_line(&event, key.as_ref(), site.as_ref(), &mut line);
            prop_assert_eq!(line.iter().position(|&b| b == b'\n'), Some(line.len() - 1), "one line, and whole");
            prop_assert_eq!(parse_line(&line).unwrap(), SentEvent { event, key, site });
        }
    }
}
