//! The rows of a bulk load: an hour's events of users in random order.

use std::{collections::HashSet, io::Write};

use chrono::SecondsFormat;
use model::{
    Event, EventKind, Hour, HourCounts, Timestamp, UserName,
    wire::{MAX_BATCH_EVENTS, write_line},
};

use crate::fill::CLICK_EVERY;

const MILLIS_PER_HOUR: u64 = 3_600_000;

/// Events of one hour, in the order of time. Users are drawn evenly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) hour: Hour,
    pub(crate) count: u32,
    pub(crate) users: u32,
}

impl Rows {
    fn events(self) -> impl Iterator<Item = Event> {
        (0..self.count).map(move |number| {
            let offset = u64::from(number) * MILLIS_PER_HOUR / u64::from(self.count);
            let millis = self.hour.start().millis() + i64::try_from(offset).expect("an hour has few milliseconds");
            Event {
                at: Timestamp::from_millis(millis).expect("the hour lies in the range of timestamps"),
                user: UserName::new(format!("user{}", self.user(number))).expect("the name is short and has no NUL"),
                kind: if number.is_multiple_of(CLICK_EVERY) { EventKind::Click } else { EventKind::Impression },
            }
        })
    }

    /// Always the same user for an event, and another one than for the event before.
    fn user(self, number: u32) -> u64 {
        scramble(number.into()) % u64::from(self.users)
    }

    /// As large as the contract allows.
    pub(crate) fn batches(self) -> Vec<Vec<u8>> {
        let mut bodies = vec![Vec::new()];
        for (number, event) in self.events().enumerate() {
            if number > 0 && number.is_multiple_of(MAX_BATCH_EVENTS) {
                bodies.push(Vec::new());
            }
            write_line(&event, None, None, bodies.last_mut().expect("there is always one"));
        }
        bodies
    }

    /// The columns at, kind and `user_name` for COPY: a row a line, separated by tabs.
    pub(crate) fn copy_text(self) -> Vec<u8> {
        let mut text = Vec::new();
        for event in self.events() {
            let at = event.at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true);
            writeln!(text, "{at}\t{}\t{}", event.kind, event.user.as_str()).expect("memory can be written to");
        }
        text
    }

    /// The hour's counts with only these events.
    pub(crate) fn counts(self) -> HourCounts {
        let clicks = u64::from(self.count.div_ceil(CLICK_EVERY));
        let users: HashSet<u64> = (0..self.count).map(|number| self.user(number)).collect();
        HourCounts { unique_users: users.len() as u64, clicks, impressions: u64::from(self.count) - clicks }
    }
}

/// The output function of `SplitMix64` (Steele, Lea, Flood 2014): consecutive numbers give random ones.
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use model::{
        TimeUnit,
        wire::{MAX_BATCH_EVENTS, SentEvent, parse_line},
    };

    use super::Rows;
    use crate::fill::past_hour;

    fn rows() -> Rows {
        Rows { hour: past_hour(5), count: 20_001, users: 100 }
    }

    #[test]
    fn the_batches_hold_every_event_of_the_hour() {
        let batches = rows().batches();
        let sizes = batches.iter().map(|batch| String::from_utf8_lossy(batch).lines().count());
        assert_eq!(sizes.collect::<Vec<_>>(), [MAX_BATCH_EVENTS, MAX_BATCH_EVENTS, 1]);
        let whole = batches.concat();
        let read = whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let read: Vec<_> = read.map(|line| parse_line(line, TimeUnit::Millis).unwrap()).collect();
        assert!(read.iter().all(|event| event.hour() == rows().hour));
        assert_eq!(read, rows().events().map(SentEvent::from).collect::<Vec<_>>());
    }

    #[test]
    fn copy_reads_the_same_events() {
        let text = String::from_utf8(rows().copy_text()).unwrap();
        assert_eq!(text.lines().count(), 20_001);
        let first = rows().events().next().unwrap();
        assert_eq!(text.lines().next().unwrap(), format!("2020-01-01T05:00:00.000Z\tclick\t{}", first.user.as_str()));
    }

    #[test]
    fn the_counts_are_those_of_the_events() {
        let counts = rows().counts();
        assert_eq!((counts.unique_users, counts.clicks, counts.impressions), (100, 2_001, 18_000));
        let few = Rows { count: 50, users: 1_000_000, ..rows() };
        assert_eq!(few.counts().unique_users, 50);
    }
}
