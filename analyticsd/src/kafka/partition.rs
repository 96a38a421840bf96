//! What is known of a partition, and the messages of it that wait to be stored.

use std::{collections::VecDeque, ops::Range};

use model::{
    SourcePosition,
    wire::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS},
};

use super::{consumer::Bounds, message::Message};

/// The most gaps that are remembered until the topic's first message is known.
const MAX_GAPS: usize = 1_000;

/// A partition that is read.
pub(super) struct Partition {
    /// Everything before it is stored.
    pub(super) stored: SourcePosition,
    /// The message before the position has to be this one, if it is there still.
    unverified: Option<SourcePosition>,
    /// Behind the last message that was received.
    next: u64,
    waiting: VecDeque<Message>,
    bytes: usize,
    /// Whether a batch of it is being stored.
    pub(super) is_storing: bool,
    /// Whether it takes no messages because too many wait.
    pub(super) is_paused: bool,
    /// Places before messages that were received, where none was.
    gaps: Vec<Range<u64>>,
    /// Those that were found since the brokers' first message was known last.
    new_gaps: Vec<Range<u64>>,
}

/// What a message means that was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// It waits, or was known.
    Taken,
    /// The message before the position is not the one that was stored.
    OtherContent,
    /// It comes before one that was received already, so the brokers went back.
    Backwards,
}

impl Partition {
    /// Messages before the position are stored. If it has a check, the first message that is received may be the one before it.
    pub(super) fn at(stored: SourcePosition) -> Self {
        Self {
            unverified: stored.check.is_some().then(|| stored.clone()),
            next: stored.position,
            stored,
            waiting: VecDeque::new(),
            bytes: 0,
            is_storing: false,
            is_paused: false,
            gaps: Vec::new(),
            new_gaps: Vec::new(),
        }
    }

    /// Where to read from: the message before the position, to see that it is the one that was stored.
    pub(super) fn reads_from(stored: &SourcePosition) -> u64 {
        stored.position.saturating_sub(u64::from(stored.check.is_some()))
    }

    pub(super) fn receive(&mut self, message: Message) -> Received {
        if let Some(before) = self.unverified.take()
            && message.end() <= before.position
        {
            // Where the brokers have nothing so far, they begin at the beginning.
            let is_it = message.end() == before.position && Some(message.check()) == before.check;
            return if is_it { Received::Taken } else { Received::OtherContent };
        }
        if message.offset < self.next {
            return Received::Backwards;
        }
        // What was deleted before anything was stored is not missed.
        if self.next > 0 && message.offset > self.next && self.new_gaps.len() < MAX_GAPS {
            self.new_gaps.push(self.next..message.offset);
        }
        self.next = message.end();
        self.bytes += message.bytes();
        self.waiting.push_back(message);
        Received::Taken
    }

    /// What waits, as about how many bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it waits for messages.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && !self.is_storing
    }

    /// The next messages to store together: some if any wait.
    pub(super) fn take(&mut self) -> Vec<Message> {
        let mut bytes = 0;
        let fits = self.waiting.iter().take(MAX_BATCH_EVENTS).take_while(|message| {
            bytes += message.payload.as_ref().map_or(0, Vec::len);
            bytes <= MAX_BATCH_BYTES
        });
        let fits = fits.count().max(1).min(self.waiting.len());
        let taken: Vec<Message> = self.waiting.drain(..fits).collect();
        self.bytes -= taken.iter().map(Message::bytes).sum::<usize>();
        taken
    }

    /// How many places were passed over because the topic deleted what was there: those before its first message. Others hold
    /// none, as after a compaction or at the end of a transaction. `first` may be older than the newest gaps, which are judged
    /// by the next call.
    pub(super) fn lost(&mut self, first: u64) -> u64 {
        let lost = self.gaps.drain(..).map(|gap| first.clamp(gap.start, gap.end) - gap.start).sum();
        self.gaps = std::mem::take(&mut self.new_gaps);
        lost
    }

    /// How many messages the brokers have that are not stored, if that is known.
    pub(super) fn lag(&self, bounds: Option<Bounds>) -> Option<u64> {
        let Bounds { end, read_to, .. } = bounds?;
        // Empty places at the end would count as messages.
        let is_level = self.is_idle() && read_to.is_some_and(|read_to| read_to >= end);
        Some(if is_level { 0 } else { end.saturating_sub(self.stored.position) })
    }
}

#[cfg(test)]
mod tests {
    use model::{SourcePosition, wire::MAX_BATCH_BYTES};

    use super::{Bounds, Message, Partition, Received};

    fn of(offset: u64, payload: &str) -> Message {
        Message::new(offset, None, None, Some(payload.as_bytes()))
    }

    fn behind(message: &Message) -> SourcePosition {
        SourcePosition { position: message.end(), check: Some(message.check()) }
    }

    #[test]
    fn the_message_before_the_position_has_to_be_the_one_that_was_stored() {
        let stored = behind(&of(4, "a"));
        assert_eq!((Partition::reads_from(&stored), Partition::reads_from(&SourcePosition::default())), (4, 0));
        for (first, received) in [
            (of(4, "a"), Received::Taken),
            (of(4, "b"), Received::OtherContent),
            // It was deleted meanwhile.
            (of(7, "a"), Received::Taken),
            // They have nothing so far any more.
            (of(0, "a"), Received::OtherContent),
        ] {
            assert_eq!(Partition::at(stored.clone()).receive(first), received);
        }
    }

    #[test]
    fn messages_are_taken_once_and_in_order_over_empty_places() {
        let mut partition = Partition::at(behind(&of(4, "a")));
        for (offset, received) in
            [(4, Received::Taken), (5, Received::Taken), (8, Received::Taken), (5, Received::Backwards)]
        {
            assert_eq!(partition.receive(of(offset, "a")), received, "{offset}");
        }
        let taken: Vec<u64> = partition.take().iter().map(|message| message.offset).collect();
        assert_eq!((taken, partition.bytes(), partition.is_empty()), (vec![5, 8], 0, true));
    }

    #[test]
    fn a_batch_has_no_more_bytes_than_one_over_http() {
        let mut partition = Partition::at(SourcePosition::default());
        let large = "x".repeat(MAX_BATCH_BYTES / 2);
        for (offset, payload) in [&*large, &*large, "x", &*"x".repeat(MAX_BATCH_BYTES)].into_iter().enumerate() {
            partition.receive(of(offset as u64, payload));
        }
        let sizes: Vec<usize> = [(); 3].map(|()| partition.take().len()).into();
        assert_eq!((sizes, partition.is_empty()), (vec![2, 1, 1], true));
    }

    #[test]
    fn empty_places_at_the_end_are_no_lag() {
        let mut partition = Partition::at(SourcePosition { position: 5, check: None });
        let bounds = |read_to| Some(Bounds { first: 0, end: 7, read_to });
        assert_eq!(
            [None, bounds(None), bounds(Some(6)), bounds(Some(7))].map(|it| partition.lag(it)),
            [None, Some(2), Some(2), Some(0)]
        );
        partition.receive(of(6, "a"));
        assert_eq!(partition.lag(bounds(Some(7))), Some(2));
    }

    #[test]
    fn what_the_topic_deleted_is_told_from_places_that_hold_nothing() {
        let mut new = Partition::at(SourcePosition::default());
        new.receive(of(4, "a"));
        assert_eq!([new.lost(4), new.lost(4)], [0, 0], "nothing is missed that was deleted before the first look");
        for (first, lost) in [(0, 0), (5, 0), (8, 3), (10, 5), (30, 5 + 9)] {
            let mut partition = Partition::at(SourcePosition { position: 5, check: None });
            for offset in [10, 20] {
                partition.receive(of(offset, "a"));
            }
            assert_eq!([(); 3].map(|()| partition.lost(first)), [0, lost, 0], "{first}");
        }
    }
}
