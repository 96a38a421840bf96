use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use model::Hour;

/// Who a writer was told is committed among the users of an hour, so that it need not ask the database to look for them again. See the
/// migration `writer_stands` for why that stays true for as long as the writer's row stands where its last batch left it.
///
/// Most visitors of a busy hour come more than once, and looking one up costs the database as much as everything else about an event.
#[derive(Debug, Default)]
pub(crate) struct KnownVisitors {
    hours: HashMap<DateTime<Utc>, HashSet<Box<str>>>,
    bytes: usize,
}

impl KnownVisitors {
    /// The most memory that names may take. Beyond it everybody is forgotten, which costs one look-up for each who comes again.
    const MAX_BYTES: usize = 8 << 20;
    /// What a name takes besides its own bytes: its place in the set, at most, and what the allocator adds.
    const OVERHEAD: usize = 56;

    pub(crate) fn contains(&self, hour: Hour, user: &str) -> bool {
        self.hours.get(&hour.start().to_utc()).is_some_and(|users| users.contains(user))
    }

    /// Remembers the pairs of hour and user of a batch that is committed.
    pub(crate) fn add<'a>(&mut self, pairs: impl IntoIterator<Item = (DateTime<Utc>, &'a str)>) {
        for (hour, user) in pairs {
            let bytes = user.len() + Self::OVERHEAD;
            if self.bytes + bytes > Self::MAX_BYTES {
                self.clear();
            }
            if self.hours.entry(hour).or_default().insert(user.into()) {
                self.bytes += bytes;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, Hour, Timestamp, UserName};

    use super::KnownVisitors;
    use crate::columns::Columns;

    fn event(millis: i64, user: &str) -> Event {
        let at = Timestamp::from_millis(millis).unwrap();
        Event { at, user: UserName::new(user).unwrap(), kind: EventKind::Click }
    }

    #[test]
    fn a_visitor_is_known_in_the_hour_in_which_they_were_stored_and_in_no_other() {
        let (first, second) = (event(0, "anna"), event(3_600_000, "ben"));
        let mut known = KnownVisitors::default();
        known.add(Columns::of([&first, &second], &known).pairs());

        let again = [event(1, "anna"), event(1, "ben"), event(3_600_001, "ben")];
        assert_eq!(Columns::of(&again, &known).seen_users, ["ben"]);
    }

    #[test]
    fn memory_is_bounded_however_many_come() {
        let mut known = KnownVisitors::default();
        let hour = Hour::containing(Timestamp::from_millis(0).unwrap());
        let enough = KnownVisitors::MAX_BYTES / KnownVisitors::OVERHEAD;
        for number in 0..enough {
            let event = event(0, &number.to_string());
            known.add(Columns::of([&event], &KnownVisitors::default()).pairs());
            assert!(known.contains(hour, event.user.as_str()));
            assert!(known.bytes <= KnownVisitors::MAX_BYTES);
        }
        assert!(!known.contains(hour, "0"), "all were forgotten on the way");
    }
}
