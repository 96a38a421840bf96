use std::{collections::HashSet, ops::Range};

use crate::{IdempotencyKey, SiteEvent, SourceStep};

/// The events of one request. They are stored together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    /// In the order of the request.
    pub events: Vec<SiteEvent>,
    /// The events with idempotency keys. The ranges do not overlap.
    pub keyed: Vec<Keyed>,
    /// The part of a source that the events are from, if they are. In a box, since every event would carry the room of
    /// what only batches have.
    pub step: Option<Box<SourceStep>>,
}

/// Events of a [`Submission`] that are stored once in each hour of their sites, however often they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    pub key: IdempotencyKey,
    /// The places of the events in [`Submission::events`].
    pub events: Range<usize>,
}

impl Submission {
    pub fn new(events: Vec<SiteEvent>, key: Option<IdempotencyKey>) -> Self {
        let keyed = key.map(|key| Keyed { key, events: 0..events.len() }).into_iter().collect();
        Self { events, keyed, step: None }
    }

    /// Whether each event is under a key.
    pub fn is_all_keyed(&self) -> bool {
        self.keyed.iter().map(|keyed| keyed.events.len()).sum::<usize>() == self.events.len()
    }

    /// Removes keys and their events. `left_out` are places in [`Submission::keyed`].
    #[must_use]
    pub fn without(self, left_out: &HashSet<usize>) -> Self {
        let mut stays = vec![true; self.events.len()];
        for &place in left_out {
            stays[self.keyed[place].events.clone()].fill(false);
        }
        self.only(&stays)
    }

    /// The events that are so with their keys, and the others with theirs.
    pub fn partition(self, is_so: impl Fn(&SiteEvent) -> bool) -> (Self, Self) {
        let mut parts = self.cut(2, |event| usize::from(!is_so(event))).into_iter();
        let mut next = || parts.next().unwrap_or_default();
        (next(), next())
    }

    /// The events of each part, in their order and with their keys. A key whose events are of several parts is in each of them,
    /// and so is the step.
    pub fn cut(self, parts: usize, part_of: impl Fn(&SiteEvent) -> usize) -> Vec<Self> {
        let Self { events, mut keyed, step } = self;
        let empty = Self { events: Vec::new(), keyed: Vec::new(), step };
        let mut cut = vec![empty; parts];
        keyed.sort_unstable_by_key(|keyed| keyed.events.start);
        let mut keyed = keyed.into_iter().peekable();
        let mut began = vec![0; parts];
        for (place, event) in events.into_iter().enumerate() {
            if keyed.peek().is_some_and(|keyed| keyed.events.start == place) {
                began.iter_mut().zip(&cut).for_each(|(began, part)| *began = part.events.len());
            }
            cut[part_of(&event)].events.push(event);
            if let Some(Keyed { key, .. }) = keyed.next_if(|keyed| keyed.events.end == place + 1) {
                for (part, &began) in cut.iter_mut().zip(&began) {
                    if part.events.len() > began {
                        part.keyed.push(Keyed { key: key.clone(), events: began..part.events.len() });
                    }
                }
            }
        }
        cut
    }

    /// The events that stay, and the keys that some of them are under.
    fn only(self, stays: &[bool]) -> Self {
        // The new place of each event.
        let mut kept = 0;
        let mut moved = vec![0; stays.len() + 1];
        for (place, stays) in stays.iter().enumerate() {
            kept += usize::from(*stays);
            moved[place + 1] = kept;
        }
        let keyed = self.keyed.into_iter();
        let keyed = keyed.map(|Keyed { key, events }| Keyed { key, events: moved[events.start]..moved[events.end] });
        Self {
            events: self.events.into_iter().zip(stays).filter_map(|(event, stays)| stays.then_some(event)).collect(),
            keyed: keyed.filter(|keyed| !keyed.events.is_empty()).collect(),
            step: self.step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Keyed, Submission};
    use crate::{Event, EventKind, IdempotencyKey, SiteEvent, Timestamp, UserName};

    #[test]
    fn leaving_out_what_is_under_a_key_keeps_the_rest_and_its_keys() {
        let event = |millis| {
            SiteEvent::nameless(Event {
                at: Timestamp::from_millis(millis).unwrap(),
                user: UserName::new("anna").unwrap(),
                kind: EventKind::Click,
            })
        };
        let key = |name: &str| IdempotencyKey::new(name).unwrap();
        let whole = Submission {
            events: (0..6).map(event).collect(),
            keyed: vec![
                Keyed { key: key("a"), events: 0..1 },
                Keyed { key: key("b"), events: 2..4 },
                Keyed { key: key("c"), events: 5..6 },
            ],
            step: None,
        };
        let rest = whole.clone().without(&[1].into());
        assert_eq!(rest.events, [event(0), event(1), event(4), event(5)]);
        assert_eq!(rest.keyed, [Keyed { key: key("a"), events: 0..1 }, Keyed { key: key("c"), events: 3..4 }]);

        let (late, early) = whole.clone().partition(|it| it.event.at.millis() > 2);
        assert_eq!(late.events, [event(3), event(4), event(5)]);
        assert_eq!(late.keyed, [Keyed { key: key("b"), events: 0..1 }, Keyed { key: key("c"), events: 2..3 }]);
        assert_eq!(early.events, [event(0), event(1), event(2)]);
        assert_eq!(early.keyed, [Keyed { key: key("a"), events: 0..1 }, Keyed { key: key("b"), events: 2..3 }]);

        let thirds = whole.cut(3, |it| usize::try_from(it.event.at.millis() % 3).unwrap());
        let keys = |part: &Submission| {
            part.keyed.iter().map(|it| (it.key.as_str().to_owned(), it.events.clone())).collect::<Vec<_>>()
        };
        assert_eq!(thirds[0].events, [event(0), event(3)]);
        assert_eq!(keys(&thirds[0]), [("a".to_owned(), 0..1), ("b".to_owned(), 1..2)]);
        assert_eq!(keys(&thirds[1]), []);
        assert_eq!(keys(&thirds[2]), [("b".to_owned(), 0..1), ("c".to_owned(), 1..2)]);
    }
}
