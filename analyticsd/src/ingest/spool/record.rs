//! A request on disk: its keys as one line of JSON, then its events as the lines of a batch.

use model::{IdempotencyKey, Keyed, Submission, wire};
use thiserror::Error;

/// A record that this version cannot read.
#[derive(Debug, Error)]
#[error("the record is damaged, or of another version: {0}")]
pub(crate) struct Unreadable(String);

pub(crate) fn encode(submission: &Submission) -> Vec<u8> {
    let keyed: Vec<(&str, usize, usize)> =
        submission.keyed.iter().map(|keyed| (keyed.key.as_str(), keyed.events.start, keyed.events.end)).collect();
    let mut record = serde_json::to_vec(&keyed).expect("strings and numbers are JSON");
    record.push(b'\n');
    for event in &submission.events {
        wire::write_line(event, None, &mut record);
    }
    record
}

pub(crate) fn decode(record: &[u8]) -> Result<Submission, Unreadable> {
    let mut lines = record.split_inclusive(|&byte| byte == b'\n');
    let keyed: Vec<(String, usize, usize)> =
        serde_json::from_slice(lines.next().unwrap_or_default()).map_err(|error| Unreadable(error.to_string()))?;
    let events = lines
        .map(|line| wire::parse_line(line).map(|(event, _)| event))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Unreadable(error.to_string()))?;
    let keyed = keyed
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
    Ok(Submission { events, keyed })
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, IdempotencyKey, Keyed, Submission, Timestamp, UserName};

    use super::{decode, encode};

    #[test]
    fn a_request_survives_the_way_to_disk_and_back() {
        let event = |user: &str| Event {
            at: Timestamp::from_millis(5).unwrap(),
            user: UserName::new(user).unwrap(),
            kind: EventKind::Impression,
        };
        let key = || IdempotencyKey::new("\"\\k").unwrap();
        let plain = Submission { events: vec![event("a\nb"), event("\u{202e}x")], keyed: vec![] };
        let keyed = |key| Submission { keyed: vec![Keyed { key, events: 1..2 }], ..plain.clone() };
        for submission in [keyed(key()), keyed(key().of_public_key("0123456789ab")), plain.clone()] {
            assert_eq!(decode(&encode(&submission)).unwrap(), submission);
        }
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        for record in ["", "[]", "[]\n{}", "[[\"k\",0,9]]\n", "[[\"\",0,0]]\n"] {
            assert!(decode(record.as_bytes()).is_err() || record == "[]", "{record:?}");
        }
    }
}
