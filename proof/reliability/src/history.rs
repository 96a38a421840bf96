//! Whether a recorded history of writes and reads could come from one exact counter.
//!
//! For clicks, impressions and unique users of each hour, it finds three kinds of reads that such a counter cannot
//! give: less than was acknowledged before the read began; more than was sent before it ended; less than an earlier
//! read, plus what was sent and acknowledged between the two.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Write},
    time::Instant,
};

use model::{EventKind, SiteEvent, SiteHour};

use crate::operation::{Action, Operation, Outcome};

#[derive(Debug, Clone, Copy)]
struct Addition {
    began: Instant,
    /// None without an acknowledgement: it may count or not.
    acknowledged: Option<Instant>,
    amount: u64,
}

#[derive(Debug, Clone, Copy)]
struct Read {
    client: u32,
    began: Instant,
    ended: Instant,
    value: u64,
}

#[derive(Debug, Default)]
struct Counter {
    additions: Vec<Addition>,
    reads: Vec<Read>,
}

/// A read that no exact counter could give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The counter and its hour.
    pub(crate) counter: String,
    /// The read, the bound that it breaks, and the operations around it.
    pub(crate) story: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.counter, self.story)
    }
}

/// The first wrong read of each counter.
pub(crate) fn violations(operations: &[Operation]) -> Vec<Violation> {
    let Some(origin) = operations.iter().map(|operation| operation.began).min() else { return Vec::new() };
    let mut found = Vec::new();
    for ((hour, name), counter) in counters(operations) {
        if let Some(broken) = counter.first_broken_read() {
            let mut story = broken.describe(origin);
            story.push_str(&surroundings(operations, hour, broken.read.ended, origin));
            found.push(Violation { counter: format!("{name} of {hour}"), story });
        }
    }
    found
}

/// The last operations on an hour before an instant, one a line.
pub(crate) fn story(operations: &[Operation], hour: SiteHour, until: Instant) -> String {
    let origin = operations.iter().map(|operation| operation.began).min();
    surroundings(operations, hour, until, origin.unwrap_or(until))
}

pub(crate) fn answered_reads(operations: &[Operation]) -> u64 {
    operations.iter().filter(|o| matches!(o.action, Action::Read { counts: Some(_), .. })).count() as u64
}

fn counters(operations: &[Operation]) -> BTreeMap<(SiteHour, &'static str), Counter> {
    let mut counters: BTreeMap<(SiteHour, &'static str), Counter> = BTreeMap::new();
    let mut users: HashMap<(SiteHour, &str), Addition> = HashMap::new();
    for operation in operations {
        let &Operation { client, began, ended, .. } = operation;
        match &operation.action {
            Action::Send { events, outcome } if outcome.may_be_stored() => {
                let acknowledged = (*outcome == Outcome::Acknowledged).then_some(ended);
                for event in events {
                    let addition = Addition { began, acknowledged, amount: 1 };
                    let name = match event.event.kind {
                        EventKind::Click => "clicks",
                        EventKind::Impression => "impressions",
                    };
                    counters.entry((event.site_hour(), name)).or_default().additions.push(addition);
                    // The first event adds the user, and at the latest the first acknowledgement.
                    let user = users.entry((event.site_hour(), event.event.user.as_str())).or_insert(addition);
                    user.began = user.began.min(began);
                    user.acknowledged = [user.acknowledged, acknowledged].into_iter().flatten().min();
                }
            }
            Action::Send { .. }
            | Action::Read { counts: None, .. }
            | Action::Protest { .. }
            | Action::Disturb { .. } => {}
            Action::Read { hour, counts: Some(counts) } => {
                let values = [
                    ("unique users", counts.unique_users),
                    ("clicks", counts.clicks),
                    ("impressions", counts.impressions),
                ];
                for (name, value) in values {
                    counters.entry((*hour, name)).or_default().reads.push(Read { client, began, ended, value });
                }
            }
        }
    }
    for ((hour, _), addition) in users {
        counters.entry((hour, "unique users")).or_default().additions.push(addition);
    }
    counters
}

struct BrokenRead {
    read: Read,
    bound: Bound,
}

enum Bound {
    AtLeast(u64),
    AtMost(u64),
}

impl BrokenRead {
    fn describe(&self, origin: Instant) -> String {
        let Read { client, began, ended, value } = self.read;
        let millis = |at| millis_since(origin, at);
        let must = match self.bound {
            Bound::AtLeast(bound) => {
                format!("at least {bound} were acknowledged, or read and acknowledged, before it began")
            }
            Bound::AtMost(bound) => format!("at most {bound} had been sent before it ended"),
        };
        format!("client {client} read {value} from {:.3} to {:.3} ms, but {must}", millis(began), millis(ended))
    }
}

impl Counter {
    fn first_broken_read(&self) -> Option<BrokenRead> {
        let mut reads = self.reads.clone();
        reads.sort_unstable_by_key(|read| read.ended);
        let broken = |read: Read, bound| Some(BrokenRead { read, bound });
        let lower = self.lower_bounds(&reads);
        let first_low = reads.iter().zip(lower).find(|(read, bound)| read.value < *bound);
        if let Some((&read, bound)) = first_low {
            return broken(read, Bound::AtLeast(bound));
        }
        let mut additions = self.additions.clone();
        additions.sort_unstable_by_key(|addition| addition.began);
        let (mut next, mut sent) = (0, 0);
        for &read in &reads {
            while next < additions.len() && additions[next].began < read.ended {
                sent += additions[next].amount;
                next += 1;
            }
            if read.value > sent {
                return broken(read, Bound::AtMost(sent));
            }
        }
        None
    }

    /// For each read, in order of their ends: the highest count of any read that ended before it began, plus what was
    /// sent after the end of that read and acknowledged before the beginning of this one.
    fn lower_bounds(&self, reads: &[Read]) -> Vec<u64> {
        enum Step {
            Acknowledged(Instant, u64),
            ReadEnds(usize),
            ReadBegins(usize),
        }
        let mut steps: Vec<(Instant, u8, Step)> = Vec::new();
        for addition in &self.additions {
            if let Some(at) = addition.acknowledged {
                steps.push((at, 1, Step::Acknowledged(addition.began, addition.amount)));
            }
        }
        for (index, read) in reads.iter().enumerate() {
            // At the same instant, a beginning comes first, which gives the weaker bound.
            steps.push((read.began, 0, Step::ReadBegins(index)));
            steps.push((read.ended, 1, Step::ReadEnds(index)));
        }
        steps.sort_by_key(|(at, order, _)| (*at, *order));

        // Place 0 is a read of zero before everything; place n + 1 is read n, once it has ended.
        let mut bounds = MaxTree::new(reads.len() + 1);
        bounds.fill(0, 0);
        let mut lower = vec![0; reads.len()];
        for (_, _, step) in steps {
            match step {
                Step::Acknowledged(began, amount) => {
                    let ended_before = reads.partition_point(|read| read.ended < began);
                    bounds.add_to_first(ended_before + 1, amount);
                }
                Step::ReadEnds(index) => bounds.fill(index + 1, reads[index].value),
                Step::ReadBegins(index) => lower[index] = bounds.max(),
            }
        }
        lower
    }
}

/// Places that are filled from the first to the last. It knows the maximum, and can add to the first few places. A
/// binary tree: node n has the children 2n and 2n + 1, and the places are its leaves.
struct MaxTree {
    size: usize,
    /// The maximum below each node, without what was added at nodes above it; none if all places are empty.
    greatest: Vec<Option<u64>>,
    added: Vec<u64>,
}

impl MaxTree {
    fn new(places: usize) -> Self {
        let size = places.next_power_of_two();
        Self { size, greatest: vec![None; 2 * size], added: vec![0; 2 * size] }
    }

    fn max(&self) -> u64 {
        self.greatest[1].unwrap_or_default()
    }

    /// Only filled places are added to, so nothing was added above an empty one.
    fn fill(&mut self, place: usize, value: u64) {
        let leaf = self.size + place;
        self.greatest[leaf] = Some(value);
        self.mend(leaf / 2);
    }

    /// Adds to the first `count` places. There is at least one, and all are filled.
    fn add_to_first(&mut self, count: usize, amount: u64) {
        let (mut left, mut right) = (self.size, self.size + count);
        while left < right {
            if left % 2 == 1 {
                self.add_at(left, amount);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                self.add_at(right, amount);
            }
            left /= 2;
            right /= 2;
        }
        self.mend(self.size / 2);
        self.mend((self.size + count - 1) / 2);
    }

    fn add_at(&mut self, node: usize, amount: u64) {
        self.added[node] += amount;
        self.greatest[node] = self.greatest[node].map(|value| value + amount);
    }

    fn mend(&mut self, mut node: usize) {
        while node > 0 {
            let greatest = self.greatest[2 * node].max(self.greatest[2 * node + 1]);
            self.greatest[node] = greatest.map(|value| value + self.added[node]);
            node /= 2;
        }
    }
}

fn millis_since(origin: Instant, at: Instant) -> f64 {
    at.duration_since(origin).as_secs_f64() * 1e3
}

/// In operations.
const SHOWN: usize = 40;

/// The operations on the hour that were in flight at an instant, or were the last to end before it.
fn surroundings(operations: &[Operation], hour: SiteHour, until: Instant, origin: Instant) -> String {
    let mut near: Vec<&Operation> = operations
        .iter()
        .filter(|operation| operation.began <= until)
        .filter(|operation| match &operation.action {
            Action::Send { events, .. } => events.iter().any(|event| event.site_hour() == hour),
            Action::Read { hour: other, .. } | Action::Disturb { hour: other, .. } => *other == hour,
            Action::Protest { .. } => false,
        })
        .collect();
    near.sort_by_key(|operation| operation.ended);
    let overlapping_or_last = near.len() - near.len().min(SHOWN);
    let mut text = String::from("\n  what came to pass, in milliseconds:");
    for operation in &near[overlapping_or_last..] {
        let millis = |at| millis_since(origin, at);
        let what = match &operation.action {
            Action::Send { events, outcome } => {
                let here: Vec<String> = events
                    .iter()
                    .filter(|event| event.site_hour() == hour)
                    .take(8)
                    .map(|SiteEvent { event, .. }| format!("{} {}", event.kind, event.user))
                    .collect();
                format!("sent {} of {} events: {outcome:?}", here.join(", "), events.len())
            }
            Action::Read { counts, .. } => format!("read {counts:?}"),
            Action::Protest { why } => why.clone(),
            Action::Disturb { what, .. } => (*what).to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n  {:10.3} to {:10.3}  client {:2} {what}",
            millis(operation.began),
            millis(operation.ended),
            operation.client
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Addition, Counter, Read};

    /// When an addition began and when it was acknowledged, in milliseconds.
    type Add = (u64, Option<u64>);
    /// When a read began and ended, in milliseconds, and its count.
    type Said = (u64, u64, u64);

    fn counter(additions: &[Add], reads: &[Said]) -> Counter {
        let origin = Instant::now();
        let at = |millis| origin + Duration::from_millis(millis);
        let addition =
            |&(began, acknowledged): &Add| Addition { began: at(began), acknowledged: acknowledged.map(at), amount: 1 };
        let read = |&(began, ended, value): &Said| Read { client: 0, began: at(began), ended: at(ended), value };
        Counter { additions: additions.iter().map(addition).collect(), reads: reads.iter().map(read).collect() }
    }

    #[test]
    fn what_an_exact_counter_cannot_answer_is_found() {
        let table: [(&str, &[Add], &[Said], bool); 8] = [
            ("an acknowledged event is counted", &[(0, Some(2))], &[(3, 4, 1)], true),
            ("an acknowledged event is missed", &[(0, Some(2))], &[(3, 4, 0)], false),
            ("an event under way may be counted or not", &[(0, Some(9))], &[(3, 4, 0), (5, 6, 1)], true),
            ("once counted it stays counted", &[(0, Some(9))], &[(3, 4, 1), (5, 6, 0)], false),
            ("reads that overlap may disagree", &[(0, Some(9))], &[(3, 6, 1), (5, 7, 0)], true),
            ("an event is counted before it was sent", &[(5, Some(6))], &[(3, 4, 1)], false),
            ("an event without an answer may be counted later", &[(0, None)], &[(3, 4, 0), (50, 60, 1)], true),
            (
                "what is new since an earlier read adds to what that one saw",
                &[(0, None), (5, Some(6))],
                &[(3, 4, 1), (7, 8, 1)],
                false,
            ),
        ];
        for (name, additions, reads, possible) in table {
            assert_eq!(counter(additions, reads).first_broken_read().is_none(), possible, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_lower_bounds_are_those_of_comparing_every_pair(
            additions in prop::collection::vec((0..60_u64, 1..20_u64, any::<bool>()), 0..20),
            reads in prop::collection::vec((0..60_u64, 1..20_u64, 0..12_u64), 0..12),
        ) {
            let additions: Vec<_> =
                additions.iter().map(|&(began, took, answered)| (began, answered.then_some(began + took))).collect();
            let mut reads: Vec<_> = reads.iter().map(|&(began, took, value)| (began, began + took, value)).collect();
            reads.sort_by_key(|&(_, ended, _)| ended);
            let between = |after: Option<u64>, before: u64| {
                let counts = |&&(began, answered): &&Add| {
                    answered.is_some_and(|at| at < before) && after.is_none_or(|after| began > after)
                };
                additions.iter().filter(counts).count() as u64
            };
            let expected: Vec<u64> = reads
                .iter()
                .map(|&(began, _, _)| {
                    let earlier = reads.iter().filter(|&&(_, ended, _)| ended < began);
                    let pairwise = earlier.map(|&(_, ended, value)| value + between(Some(ended), began));
                    pairwise.max().unwrap_or_default().max(between(None, began))
                })
                .collect();
            let counter = counter(&additions, &reads);
            prop_assert_eq!(counter.lower_bounds(&counter.reads), expected);
        }
    }
}
