//! Sources: each user has one of its own, whose batches follow one another. Each batch is sent until its fate is known,
//! as docs/sources.md says, and is stored once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use goose::prelude::*;
use model::{SourceName, wire::BATCH_PATH};
use reqwest::StatusCode;
use tokio::time::Instant;

use super::{Counter, Traffic, replies::Reply, retries::Exchanged};
use crate::{
    checks::ledger::Answer,
    workload::{kind::Kind, mix::PlannedEvent, plan::Side, schedule::Due, sites::Site},
};

#[derive(Debug)]
pub(crate) struct Sources {
    /// A random number that makes this run's names unique.
    run: u64,
    /// One for each user and side.
    all: Vec<Mutex<Standing>>,
}

#[derive(Debug, Default)]
struct Standing {
    /// In events.
    position: u64,
    /// The part behind it, if it was sent and its fate is not known.
    unresolved: Option<Part>,
}

/// The part of a source between two positions.
#[derive(Debug)]
pub(crate) struct Part {
    kind: Kind,
    from: u64,
    to: u64,
    events: Vec<PlannedEvent>,
    /// Whether it was sent and not refused.
    may_be_stored: bool,
}

/// What is known of a part after an answer.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    Refused,
    /// The source stands where this part does not begin, so that the next part begins there.
    Elsewhere(u64),
    Unknown,
}

impl Sources {
    pub(crate) fn new(users: u32) -> Self {
        Self { run: rand::random(), all: (0..2 * users).map(|_| Mutex::default()).collect() }
    }

    /// The part that has to be sent again before anything else.
    pub(super) fn unresolved(&self, user: usize, side: Side) -> Option<Part> {
        self.of(self.place(user, side)).unresolved.take()
    }

    /// The next part, of these events.
    pub(super) fn next(&self, user: usize, side: Side, kind: Kind, events: Vec<PlannedEvent>) -> Part {
        let from = self.of(self.place(user, side)).position;
        Part { kind, from, to: from + events.len() as u64, events, may_be_stored: false }
    }

    fn place(&self, user: usize, side: Side) -> usize {
        (2 * user + usize::from(side == Side::Old)) % self.all.len()
    }

    fn of(&self, place: usize) -> MutexGuard<'_, Standing> {
        self.all[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    pub(super) async fn send_part(&self, user: &mut GooseUser, mut part: Part, due: Due) -> TransactionResult {
        let Counter { hosts, ledger } = self.counters.of(due.side);
        let place = self.sources.place(user.weighted_users_index, due.side);
        let began = Instant::now();
        let message = self.messages.batch(part.kind, self.path_of(place, &part), &part.events, &self.requests);
        let Exchanged { answer, may_be_stored, host } = self.retries.exchange(user, hosts, &message, None).await?;
        let (first_sight, outcome) = self.judge(part.kind, &answer);
        self.record(part.kind, outcome, due);
        let fate = part.fate(&answer);
        part.may_be_stored |= may_be_stored || first_sight == Answer::None || fate == Fate::Unknown;
        let unless_stored = if part.may_be_stored { Answer::None } else { Answer::Refused };
        match fate {
            Fate::Stored => {
                ledger.close(&part.events, Answer::Acknowledged);
                self.sources.of(place).position = part.to;
                let due = Due { at: Instant::now(), ..due };
                self.look_for(user, &part.events, part.kind, began, due, host).await?;
            }
            Fate::Refused => ledger.close(&part.events, unless_stored),
            Fate::Elsewhere(position) => {
                ledger.close(&part.events, unless_stored);
                self.sources.of(place).position = position;
            }
            Fate::Unknown => self.sources.of(place).unresolved = Some(part),
        }
        Ok(())
    }

    fn path_of(&self, place: usize, part: &Part) -> String {
        let sites = self.requests.sites.all().len();
        let site = Site::try_from(place % sites).expect("sites are few");
        format!(
            "{BATCH_PATH}?{}=loadtest-{:016x}-{place}&from={}&to={}{}",
            SourceName::PARAMETER,
            self.sources.run,
            part.from,
            part.to,
            self.requests.site(site)
        )
    }
}

impl Part {
    pub(super) fn events(&self) -> &[PlannedEvent] {
        &self.events
    }

    fn fate<E>(&self, answer: &Result<Reply, E>) -> Fate {
        let Ok(reply) = answer else { return Fate::Unknown };
        match reply.status {
            StatusCode::NO_CONTENT => Fate::Stored,
            StatusCode::CONFLICT => match reply.problem().and_then(|problem| problem.position) {
                Some(position) if position >= self.to => Fate::Stored,
                Some(position) if position != self.from => Fate::Elsewhere(position),
                _ => Fate::Unknown,
            },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Fate::Unknown,
            status if status.is_client_error() => Fate::Refused,
            _ => Fate::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{Fate, Part, Sources};
    use crate::{
        traffic::replies::Reply,
        workload::{kind::Kind, plan::Side},
    };

    #[test]
    fn the_answers_to_a_part_mean_what_the_page_on_sources_says() {
        let part = Part { kind: Kind::ALL[0], from: 100, to: 200, events: Vec::new(), may_be_stored: false };
        let standing = |position: u64| format!(r#"{{"status":409,"title":"t","detail":"d","position":{position}}}"#);
        for (status, body, expected) in [
            (204, String::new(), Fate::Stored),
            (409, standing(200), Fate::Stored),
            (409, standing(300), Fate::Stored),
            (409, standing(40), Fate::Elsewhere(40)),
            (409, standing(100), Fate::Unknown),
            (503, String::new(), Fate::Unknown),
            (429, String::new(), Fate::Unknown),
            (400, String::new(), Fate::Refused),
            (413, String::new(), Fate::Refused),
        ] {
            let reply = Reply { status: StatusCode::from_u16(status).unwrap(), body: body.clone() };
            assert_eq!(part.fate(&Ok::<_, ()>(reply)), expected, "{status} {body}");
        }
        assert_eq!(part.fate(&Err(())), Fate::Unknown, "no answer");
    }

    #[test]
    fn each_user_has_a_source_of_each_side() {
        let sources = Sources::new(2);
        let places = [(0, Side::New), (0, Side::Old), (1, Side::New), (1, Side::Old)];
        let mut places = places.map(|(user, side)| sources.place(user, side));
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3]);
    }
}
