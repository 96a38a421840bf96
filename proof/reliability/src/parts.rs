use model::SiteEvent;

/// What a client has sent of its source, part by part, and where each begins.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Positions count events. The first part may begin behind 0, if those before it were forgotten.
    begins: u64,
    parts: Vec<Vec<SiteEvent>>,
}

impl Parts {
    /// Returns the place of the part, which begins where the last one ends. The earlier ones are only kept if they may
    /// have to be sent again.
    pub(crate) fn push(&mut self, events: &[SiteEvent], keeps_earlier: bool) -> usize {
        if !keeps_earlier {
            self.begins += self.parts.drain(..).map(|part| part.len() as u64).sum::<u64>();
        }
        self.parts.push(events.to_vec());
        self.parts.len() - 1
    }

    /// Where the part begins and ends, and its events.
    pub(crate) fn get(&self, part: usize) -> (u64, u64, &[SiteEvent]) {
        let begins = self.begins + self.parts[..part].iter().map(|part| part.len() as u64).sum::<u64>();
        let events = &self.parts[part];
        (begins, begins + events.len() as u64, events)
    }

    /// None if no part begins there.
    pub(crate) fn that_begins_at(&self, position: u64) -> Option<usize> {
        let mut begins = self.begins;
        self.parts.iter().position(|part| {
            let is_it = begins == position;
            begins += part.len() as u64;
            is_it
        })
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, SiteEvent, Timestamp, UserName};

    use super::Parts;

    fn events(count: usize) -> Vec<SiteEvent> {
        let event = Event { at: Timestamp::MIN, user: UserName::new("anna").unwrap(), kind: EventKind::Click };
        vec![SiteEvent::nameless(event); count]
    }

    #[test]
    fn each_part_begins_where_the_one_before_it_ends() {
        let mut parts = Parts::default();
        for count in [3, 1, 4] {
            parts.push(&events(count), true);
        }
        let bounds = |part| (parts.get(part).0, parts.get(part).1);
        assert_eq!([0, 1, 2].map(bounds), [(0, 3), (3, 4), (4, 8)]);
        assert_eq!(
            [0, 3, 4, 2, 8].map(|position| parts.that_begins_at(position)),
            [Some(0), Some(1), Some(2), None, None]
        );
    }

    #[test]
    fn a_part_begins_where_it_did_when_the_earlier_ones_are_forgotten() {
        let mut parts = Parts::default();
        for count in [3, 1, 4] {
            assert_eq!(parts.push(&events(count), false), 0);
        }
        assert_eq!((parts.get(0).0, parts.get(0).1), (4, 8));
        assert_eq!(parts.that_begins_at(3), None);
    }
}
