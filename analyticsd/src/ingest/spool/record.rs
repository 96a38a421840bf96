//! A request on disk: its keys and sites as one line of JSON, then its events as the lines of a batch.

use std::borrow::Cow;

use model::{
    Event, IdempotencyKey, Keyed, SiteEvent, SiteId, Submission, TimeUnit,
    wire::{self, SentVisitor},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    /// Each key with the places of its first event and of the one behind its last.
    #[serde(borrow)]
    keys: Vec<(Cow<'a, str>, usize, usize)>,
    /// The number of each event's site; empty if all are of the site without a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sites: Vec<i32>,
}

/// A record that this version cannot read.
#[derive(Debug, Error)]
#[error("the record is damaged, or of another version: {0}")]
pub(crate) struct Unreadable(String);

pub(crate) fn encode(submission: &Submission) -> Vec<u8> {
    let keys = submission.keyed.iter().map(|Keyed { key, events }| (key.as_str().into(), events.start, events.end));
    let mut sites: Vec<i32> = submission.events.iter().map(|of_site| of_site.site.number()).collect();
    if sites.iter().all(|&site| site == SiteId::NAMELESS.number()) {
        sites.clear();
    }
    let head = Head { keys: keys.collect(), sites };
    let mut record = serde_json::to_vec(&head).expect("strings and numbers are JSON");
    record.push(b'\n');
    for SiteEvent { event, .. } in &submission.events {
        wire::write_line(event, None, None, &mut record);
    }
    record
}

pub(crate) fn decode(record: &[u8]) -> Result<Submission, Unreadable> {
    let mut lines = record.split_inclusive(|&byte| byte == b'\n');
    let Head { keys, mut sites } =
        serde_json::from_slice(lines.next().unwrap_or_default()).map_err(|error| Unreadable(error.to_string()))?;
    let events = lines.map(event_in).collect::<Result<Vec<_>, _>>()?;
    if sites.is_empty() {
        sites.resize(events.len(), SiteId::NAMELESS.number());
    }
    if sites.len() != events.len() {
        return Err(Unreadable(format!("{} sites of {} events", sites.len(), events.len())));
    }
    let at_site = |(event, number)| {
        let site = SiteId::new(number).ok_or_else(|| Unreadable(format!("a site with the number {number}")))?;
        Ok(SiteEvent { site, event })
    };
    let events = events.into_iter().zip(sites).map(at_site).collect::<Result<Vec<_>, _>>()?;
    let keyed = keys
        .into_iter()
        .map(|(key, first, end)| {
            let key = IdempotencyKey::from_kept(&key).map_err(|error| Unreadable(error.to_string()))?;
            if first <= end && end <= events.len() {
                Ok(Keyed { key, events: first..end })
            } else {
                Err(Unreadable(format!("a key for events {first} to {end} of {}", events.len())))
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Submission { events, keyed, step: None })
}

fn event_in(line: &[u8]) -> Result<Event, Unreadable> {
    let sent = wire::parse_line(line, TimeUnit::Millis).map_err(|error| Unreadable(error.to_string()))?;
    let SentVisitor::Named(user) = sent.visitor else { return Err(Unreadable("an event without a name".to_owned())) };
    Ok(Event { at: sent.at, user, kind: sent.kind })
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, IdempotencyKey, Keyed, SiteEvent, SiteId, Submission, Timestamp, UserName};

    use super::{decode, encode};

    #[test]
    fn a_request_survives_the_way_to_disk_and_back() {
        let event = |user: &str| {
            SiteEvent::nameless(Event {
                at: Timestamp::from_millis(5).unwrap(),
                user: UserName::new(user).unwrap(),
                kind: EventKind::Impression,
            })
        };
        let key = || IdempotencyKey::new("\"\\k").unwrap();
        let plain = Submission { events: vec![event("a\nb"), event("\u{202e}x")], keyed: vec![], step: None };
        let keyed = |key| Submission { keyed: vec![Keyed { key, events: 1..2 }], ..plain.clone() };
        let mut of_sites = keyed(key());
        of_sites.events[1].site = SiteId::new(7).unwrap();
        for submission in [keyed(key()), keyed(key().of_public_key("0123456789ab")), plain.clone(), of_sites] {
            assert_eq!(decode(&encode(&submission)).unwrap(), submission);
        }
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        for record in [
            "",
            "{}",
            "{\"keys\":[]}\n{}",
            "{\"keys\":[[\"k\",0,9]]}\n",
            "{\"keys\":[[\"\",0,0]]}\n",
            "{\"keys\":[],\"sites\":[1]}\n",
        ] {
            assert!(decode(record.as_bytes()).is_err(), "{record:?}");
        }
    }
}
