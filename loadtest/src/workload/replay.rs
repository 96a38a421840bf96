//! Reads a file of events to send again.

use std::{collections::HashMap, fs::File, hash::Hash, path::PathBuf, time::Duration};

use event_files::{Content, ReadError, Reading, Records};
use model::{
    SiteName, Timestamp, UserName,
    wire::{SentEvent, SentVisitor},
};
use serde::Serialize;
use thiserror::Error;

use super::{
    mix::PlannedEvent,
    sites::{Site, Sites},
    visitors::{Names, Visitor},
};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReplaySettings {
    pub(crate) file: PathBuf,
    #[serde(skip)]
    pub(crate) reading: Reading,
    /// Whether users have the names of the file.
    pub(crate) keep_names: bool,
    /// How many seconds of the file are replayed in a second.
    pub(crate) speed_up: f64,
}

/// They are kept in memory, at some 24 bytes each, besides the names of users.
const MOST_EVENTS: usize = 10_000_000;

#[derive(Debug)]
pub(crate) struct Replay {
    /// In the order of time.
    pub(crate) events: Vec<PlannedEvent>,
    /// When each event is due after the start.
    pub(crate) times: Vec<Duration>,
    pub(crate) names: Names,
    pub(crate) sites: Sites,
    /// Lines without an event.
    pub(crate) skipped: u64,
}

#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("cannot open {0}: {1}")]
    Open(String, #[source] std::io::Error),
    #[error("cannot read {0}: {1}")]
    Read(String, #[source] ReadError),
    #[error("{0} has no event in this format; give its format with --replay-format")]
    Empty(String),
    #[error("{0} has more than {MOST_EVENTS} events, the most that are kept in memory; replay a part of it")]
    TooLong(String),
}

impl Replay {
    /// Shifts the times so that the last event is at `now`.
    pub(crate) fn read(settings: &ReplaySettings, now: Timestamp) -> Result<Self, ReplayError> {
        let name = settings.file.display().to_string();
        let file = File::open(&settings.file).map_err(|error| ReplayError::Open(name.clone(), error))?;
        let unreadable = |error| ReplayError::Read(name.clone(), error);
        let mut records = Records::open(file, &settings.reading).map_err(unreadable)?;
        let (mut events, mut skipped) = (Vec::new(), 0);
        let mut visitors: HashMap<UserName, Visitor> = HashMap::new();
        let mut sites: HashMap<Option<SiteName>, Site> = HashMap::new();
        while let Some(record) = records.next().map_err(unreadable)? {
            let Content::Event(SentEvent { at, kind, visitor: SentVisitor::Named(user), site, .. }) = record.content
            else {
                skipped += 1;
                continue;
            };
            if events.len() == MOST_EVENTS {
                return Err(ReplayError::TooLong(name));
            }
            let visitor = place(&mut visitors, user);
            let site = place(&mut sites, site);
            events.push(PlannedEvent { site, at, visitor, kind });
        }
        events.sort_by_key(|event| event.at);
        let (Some(first), Some(last)) = (events.first().map(|e| e.at), events.last().map(|e| e.at)) else {
            return Err(ReplayError::Empty(name));
        };
        let times = events.iter().map(|event| passed(first, event.at).div_f64(settings.speed_up)).collect();
        let shift = now.millis() - last.millis();
        for event in &mut events {
            event.at = Timestamp::from_millis(event.at.millis() + shift).unwrap_or(Timestamp::MIN);
        }
        let names = if settings.keep_names { Names::Listed(in_order(visitors)) } else { Names::of_a_run() };
        let sites = Sites::new(in_order(sites));
        Ok(Self { events, times, names, sites, skipped })
    }
}

/// The place of a name among those that came before, or the next one.
fn place<K: Eq + Hash, P: Copy + TryFrom<usize>>(places: &mut HashMap<K, P>, name: K) -> P {
    let next = P::try_from(places.len()).ok().expect("there are no more names than events");
    *places.entry(name).or_insert(next)
}

fn in_order<K, P: Ord>(places: HashMap<K, P>) -> Vec<K> {
    let mut names: Vec<(K, P)> = places.into_iter().collect();
    names.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
    names.into_iter().map(|(name, _)| name).collect()
}

fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.millis() - from.millis()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use event_files::Reading;
    use model::{EventKind, SiteName, Timestamp};

    use super::{Replay, ReplayError, ReplaySettings};

    fn replay(content: &str, speed_up: f64) -> Result<Replay, ReplayError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let settings = ReplaySettings {
            file: file.path().to_owned(),
            reading: Reading { format: "ndjson".parse().unwrap(), ..Reading::default() },
            keep_names: true,
            speed_up,
        };
        Replay::read(&settings, Timestamp::from_millis(1_800_000_000_000).unwrap())
    }

    #[test]
    fn a_file_is_shifted_to_end_now_and_sent_faster_than_it_was_written() {
        let lines = "\
{\"timestamp\":1431857163000,\"user\":\"ann\",\"event\":\"click\"}
no event
{\"timestamp\":1431857103000,\"user\":\"bob\",\"event\":\"impression\",\"site\":\"shop\"}
{\"timestamp\":1431857223000,\"user\":\"ann\",\"event\":\"impression\"}
";
        let replay = replay(lines, 60.0).unwrap();
        let millis: Vec<i64> = replay.events.iter().map(|event| event.at.millis()).collect();
        assert_eq!(millis, [1_799_999_880_000, 1_799_999_940_000, 1_800_000_000_000]);
        assert_eq!(replay.times, [0, 1, 2].map(Duration::from_secs));
        let names: Vec<_> = replay.events.iter().map(|event| replay.names.of(event.visitor).into_owned()).collect();
        assert_eq!(names, ["bob", "ann", "ann"]);
        assert_eq!(replay.events[1].kind, EventKind::Click);
        let sites = replay.events.iter().map(|event| replay.sites.name(event.site).map(SiteName::as_str));
        assert_eq!(sites.collect::<Vec<_>>(), [Some("shop"), None, None]);
        assert_eq!(replay.skipped, 1);
    }

    #[test]
    fn a_file_without_an_event_is_refused() {
        let error = replay("nothing\n", 1.0).unwrap_err().to_string();
        assert!(error.contains("--replay-format"), "{error}");
    }
}
