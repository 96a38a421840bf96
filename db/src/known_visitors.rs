use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use hashbrown::HashTable;
use model::SiteHour;

/// Who a writer was told is committed among the users of an hour of a site, so that it need not ask the database to look for them again. See the
/// migration `writer_stands` for why that stays true for as long as the writer's row stands where its last batch left it.
///
/// Most visitors of a busy hour come more than once, and looking one up costs the database as much as everything else about an event.
#[derive(Debug, Default)]
pub(crate) struct KnownVisitors {
    hours: HashMap<SiteHour, Names>,
    bytes: usize,
}

impl KnownVisitors {
    /// The most memory that names may take. Beyond it everybody is forgotten, which costs one look-up for each who comes again.
    const MAX_BYTES: usize = 6 << 20;
    /// What an hour of a site takes: its place in the map and the smallest table, at most, and what the allocator adds.
    const OF_AN_HOUR: usize = 512;

    /// Those of an hour of a site; none of whom nobody is known.
    pub(crate) fn of(&self, site_hour: SiteHour) -> Option<&Names> {
        self.hours.get(&site_hour)
    }

    /// Remembers who was seen in which hour of which site in a batch that is committed.
    pub(crate) fn add<'a>(&mut self, seen: impl IntoIterator<Item = (SiteHour, &'a str)>) {
        for (site_hour, user) in seen {
            let of_a_name = Names::OVERHEAD + 2 * user.len();
            if self.bytes + Self::OF_AN_HOUR + of_a_name > Self::MAX_BYTES {
                self.clear();
            }
            let names = self.hours.entry(site_hour).or_default();
            if names.text.is_empty() {
                self.bytes += Self::OF_AN_HOUR;
            }
            if names.insert(user) {
                self.bytes += of_a_name;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A set of names, in one text: a set of texts would take twice as much, in as many pieces as there are names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    places: HashTable<Range<u32>>,
    hashes: RandomState,
}

impl Names {
    /// What a name takes besides its own bytes, of which the text has room for up to twice as many: its place in the table, at most.
    const OVERHEAD: usize = 24;

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.find(self.hashes.hash_one(name), |place| at(&self.text, place) == name).is_some()
    }

    /// Whether it was not there. No name is empty.
    fn insert(&mut self, name: &str) -> bool {
        if self.contains(name) {
            return false;
        }
        let begin = self.text.len();
        self.text.push_str(name);
        let [begin, end] = [begin, self.text.len()].map(|place| u32::try_from(place).expect("memory is bounded"));
        let Self { text, places, hashes } = self;
        places.insert_unique(hashes.hash_one(name), begin..end, |place| hashes.hash_one(at(text, place)));
        true
    }
}

fn at<'a>(text: &'a str, place: &Range<u32>) -> &'a str {
    &text[place.start as usize..place.end as usize]
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, SiteEvent, SiteId, Timestamp, UserName};

    use super::{KnownVisitors, Names};
    use crate::columns::Columns;

    fn event(site: i32, millis: i64, user: &str) -> SiteEvent {
        let at = Timestamp::from_millis(millis).unwrap();
        let event = Event { at, user: UserName::new(user).unwrap(), kind: EventKind::Click };
        SiteEvent { site: SiteId::new(site).unwrap(), event }
    }

    fn contains(known: &KnownVisitors, event: &SiteEvent) -> bool {
        known.of(event.site_hour()).is_some_and(|users| users.contains(event.event.user.as_str()))
    }

    #[test]
    fn a_visitor_is_known_in_the_hour_and_the_site_in_which_they_were_stored_and_in_no_other() {
        let stored = [event(0, 0, "anna"), event(0, 3_600_000, "ben"), event(7, 0, "carl")];
        let mut known = KnownVisitors::default();
        known.add(Columns::of(&stored, &known).seen());

        let again = [event(0, 1, "anna"), event(0, 1, "ben"), event(0, 3_600_001, "ben")];
        assert_eq!(Columns::of(&again, &known).seen_users, ["ben"]);
        let again = [event(7, 1, "anna"), event(7, 1, "carl"), event(8, 1, "carl")];
        assert_eq!(Columns::of(&again, &known).seen_users, ["anna", "carl"]);
    }

    #[test]
    fn memory_is_bounded_however_many_come_and_to_however_many_sites() {
        for is_of_many_sites in [false, true] {
            let mut known = KnownVisitors::default();
            let each = Names::OVERHEAD + if is_of_many_sites { KnownVisitors::OF_AN_HOUR } else { 0 };
            let of = |number: usize| {
                let site = if is_of_many_sites { i32::try_from(number).unwrap() } else { 0 };
                event(site, 0, &number.to_string())
            };
            for event in (0..KnownVisitors::MAX_BYTES / each).map(of) {
                known.add(Columns::of([&event], &KnownVisitors::default()).seen());
                assert!(contains(&known, &event));
                assert!(known.bytes <= KnownVisitors::MAX_BYTES);
            }
            assert!(!contains(&known, &of(0)), "all were forgotten on the way");
        }
    }
}
