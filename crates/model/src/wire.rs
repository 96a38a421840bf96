//! The paths of the HTTP interface, and the newline-delimited JSON of a batch.

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Event, EventKind, Hour, IdempotencyKey, InvalidInput, SiteName, TimeUnit, Timestamp, UserName, WrittenTime, address,
};

/// For single events and the counts of an hour.
pub const ANALYTICS_PATH: &str = "/analytics";
pub const BATCH_PATH: &str = "/analytics/batch";
/// For ranges of hours.
pub const HOURS_PATH: &str = "/analytics/hours";
pub const PERIODS_PATH: &str = "/analytics/periods";
/// For the counts of the current hour as they change.
pub const STREAM_PATH: &str = "/analytics/stream";
/// For the sites that a client may read.
pub const SITES_PATH: &str = "/analytics/sites";
/// For where ordered sources stand.
pub const SOURCES_PATH: &str = "/analytics/sources";
/// The header of an answer to events of which some were stored before: a dictionary of `clicks`, `impressions`, and `position`,
/// where the source of the batch stands if that is behind its end.
pub const REPEATED_HEADER: &str = "analytics-repeated";
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
    pub at: Timestamp,
    pub kind: EventKind,
    pub visitor: SentVisitor,
    pub key: Option<IdempotencyKey>,
    pub site: Option<SiteName>,
}

/// The visitor of a sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentVisitor {
    Named(UserName),
    /// Where a request came from, and the browser: the daemon makes a name of the two, which tells neither.
    Client {
        address: IpAddr,
        agent: String,
    },
}

impl SentVisitor {
    /// The longest agent, in bytes.
    pub const MAX_AGENT_BYTES: usize = 2_048;
}

impl From<Event> for SentEvent {
    /// Without a key and a site.
    fn from(Event { at, user, kind }: Event) -> Self {
        Self { at, kind, visitor: SentVisitor::Named(user), key: None, site: None }
    }
}

impl SentEvent {
    pub fn hour(&self) -> Hour {
        Hour::containing(self.at)
    }
}

/// `T` is how the timestamp is written.
#[derive(Serialize, Deserialize)]
struct Members<'a, T> {
    timestamp: T,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    address: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    agent: Option<Cow<'a, str>>,
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
pub fn parse_line(line: &[u8], unit: TimeUnit) -> Result<SentEvent, InvalidLine> {
    // serde would also accept an array of the values.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(InvalidLine::NotAnObject);
    }
    let Members::<WrittenTime> { timestamp, user, address, agent, event, id, site } = serde_json::from_slice(line)?;
    let key = id.map(IdempotencyKey::new).transpose()?;
    let site = site.map(SiteName::new).transpose()?;
    let at = unit.read(&timestamp)?;
    let visitor = match (user, address) {
        (Some(user), None) => SentVisitor::Named(UserName::new(user)?),
        (None, Some(address)) => client(&address, agent)?,
        (user, _) => {
            return Err(InvalidLine::Invalid(InvalidInput {
                parameter: UserName::PARAMETER,
                fault: if user.is_some() { "is given together with address" } else { "is missing" }.to_owned(),
                accepted: "user, or address and agent instead of it",
            }));
        }
    };
    Ok(SentEvent { at, kind: EventKind::parse(&event)?, visitor, key, site })
}

fn client(address: &str, agent: Option<Cow<'_, str>>) -> Result<SentVisitor, InvalidInput> {
    let agent = agent.unwrap_or_default();
    if agent.len() > SentVisitor::MAX_AGENT_BYTES {
        return Err(InvalidInput {
            parameter: "agent",
            fault: format!("has {} bytes", agent.len()),
            accepted: "a user agent of at most 2048 bytes",
        });
    }
    match address::parse(address) {
        Some(address) => Ok(SentVisitor::Client { address, agent: agent.into_owned() }),
        None => Err(InvalidInput {
            parameter: "address",
            fault: "is no IP address".to_owned(),
            accepted: "an IP address, with or without a port",
        }),
    }
}

/// Includes the newline.
pub fn write_line(event: &Event, key: Option<&IdempotencyKey>, site: Option<&SiteName>, out: &mut Vec<u8>) {
    write(event.at, event.kind, Ok(&event.user), key, site, out);
}

/// Includes the newline.
pub fn write_sent(event: &SentEvent, out: &mut Vec<u8>) {
    let visitor = match &event.visitor {
        SentVisitor::Named(user) => Ok(user),
        SentVisitor::Client { address, agent } => Err((*address, &**agent)),
    };
    write(event.at, event.kind, visitor, event.key.as_ref(), event.site.as_ref(), out);
}

fn write(
    at: Timestamp,
    kind: EventKind,
    visitor: Result<&UserName, (IpAddr, &str)>,
    key: Option<&IdempotencyKey>,
    site: Option<&SiteName>,
    out: &mut Vec<u8>,
) {
    let line = Members {
        timestamp: at.millis(),
        user: visitor.ok().map(|user| user.as_str().into()),
        address: visitor.err().map(|(address, _)| address.to_string().into()),
        agent: visitor.err().map(|(_, agent)| agent.into()),
        event: kind.as_str().into(),
        id: key.map(|key| key.as_str().into()),
        site: site.map(|site| site.as_str().into()),
    };
    serde_json::to_writer(&mut *out, &line).expect("writing strings and integers as JSON into memory cannot fail");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SentEvent, SentVisitor, parse_line, write_line, write_sent};
    use crate::{Event, EventKind, IdempotencyKey, SiteName, TimeUnit, Timestamp, UserName};

    #[test]
    fn a_line_without_an_event_is_refused_with_its_reason() {
        let table = [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            (r#"[1,"a","click"]"#, "not a JSON object"),
            ("not json", "not a JSON object"),
            ("{", "EOF"),
            (r#"{"timestamp":1,"user":"a"}"#, "missing field `event`"),
            (r#"{"timestamp":"x","user":"a","event":"click"}"#, "timestamp is not an integer"),
            (r#"{"timestamp":1.5,"user":"a","event":"click"}"#, "timestamp is not an integer"),
            (r#"{"timestamp":null,"user":"a","event":"click"}"#, "invalid type: null"),
            (r#"{"timestamp":1706796001,"user":"a","event":"click"}"#, "timestamp looks like seconds"),
            (r#"{"timestamp":1,"timestamp":2,"user":"a","event":"click"}"#, "duplicate field"),
            (r#"{"timestamp":-1,"user":"a","event":"click"}"#, "timestamp is negative"),
            (r#"{"timestamp":1,"user":"","event":"click"}"#, "user is empty"),
            (r#"{"timestamp":1,"event":"click"}"#, "user is missing"),
            (
                r#"{"timestamp":1,"user":"a","address":"192.0.2.1","event":"click"}"#,
                "user is given together with address",
            ),
            (r#"{"timestamp":1,"address":"a","event":"click"}"#, "address is no IP address"),
            (r#"{"timestamp":1,"user":"a\u0000","event":"click"}"#, "user holds a NUL"),
            (r#"{"timestamp":1,"user":"a","event":"Click"}"#, "event is unknown"),
            (r#"{"timestamp":1,"user":"a","event":"click"} {}"#, "trailing characters"),
            (r#"{"timestamp":1,"user":"a","event":"click","id":""}"#, "id is empty"),
            (r#"{"timestamp":1,"user":"a","event":"click","id":7}"#, "invalid type: integer"),
            (r#"{"timestamp":1,"user":"a","event":"click","site":""}"#, "site is empty"),
            (r#"{"timestamp":1,"user":"a","event":"click","site":"a b"}"#, "site holds something else"),
        ];
        for (line, reason) in table {
            let error = parse_line(line.as_bytes(), TimeUnit::Auto).unwrap_err().to_string();
            assert!(error.contains(reason), "{line:?} gave {error:?}");
        }
    }

    #[test]
    fn members_that_are_not_known_are_ignored() {
        assert!(
            parse_line(br#"{"referer":"x","event":"impression","user":"a","timestamp":1}"#, TimeUnit::Auto).is_ok()
        );
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
            let client = SentVisitor::Client { address: "192.0.2.1".parse().unwrap(), agent: event.user.as_str().to_owned() };
            let from_client = SentEvent { visitor: client, ..SentEvent::from(event.clone()) };
            write_sent(&from_client, &mut line);
            prop_assert_eq!(parse_line(&line, TimeUnit::Millis).unwrap(), from_client);
            line.clear();
            let key = key.map(|key| IdempotencyKey::new(key).unwrap());
            let site = site.map(|site| SiteName::new(site).unwrap());
            write_line(&event, key.as_ref(), site.as_ref(), &mut line);
            prop_assert_eq!(line.iter().position(|&b| b == b'\n'), Some(line.len() - 1), "one line, and whole");
            prop_assert_eq!(parse_line(&line, TimeUnit::Millis).unwrap(), SentEvent { key, site, ..event.into() });
        }
    }
}
