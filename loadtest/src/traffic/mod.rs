//! Makes the requests through goose and checks the answers: every read against the ledger.

mod retries;

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use goose::prelude::*;
use model::{
    Event, EventKind, Hour, HourCounts, Timestamp, UserName,
    wire::{self, ANALYTICS_PATH, BATCH_PATH},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{SeedableRng, rngs::StdRng};
use reqwest::StatusCode;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::retries::Retries;
use self::retries::{Asked, Exchanged};
use crate::{
    checks::{
        ledger::{Answer, Bounds, Ledger},
        verdict::causes,
    },
    measured::series::Outcome,
    recorder::Recorder,
    workload::{
        kind::{Age, Kind, Method},
        mix::{Mix, PlannedEvent, Request, Task},
        schedule::{Due, Schedule, Turn},
        visitors::Names,
    },
};

#[derive(Debug)]
pub(crate) enum Source {
    Mix(Mix),
    Events(Vec<PlannedEvent>),
}

/// Shared by all users of a run.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) source: Source,
    pub(crate) retries: Retries,
    pub(crate) names: Names,
    pub(crate) schedule: Schedule,
    pub(crate) ledger: Ledger,
    pub(crate) recorder: Recorder,
    /// One POST in this many is followed by a GET; 0: none.
    pub(crate) freshness_every: u32,
    /// Acknowledged ones.
    pub(crate) posts: AtomicU32,
    pub(crate) choices: Choices,
}

/// A seed repeats the choices of each user or, with a rate, of each request, which any user may make.
#[derive(Debug)]
pub(crate) struct Choices {
    seed: u64,
    /// One for each user, so that no user waits for the lock.
    of_users: Vec<Mutex<StdRng>>,
}

impl Choices {
    pub(crate) fn new(seed: u64, users: u32) -> Self {
        let of_users = (0..users).map(|user| Mutex::new(rng(seed, user.into()))).collect();
        Self { seed, of_users }
    }

    /// The next request of a user, or the request of this number.
    fn choose(&self, mix: &Mix, user: usize, number: Option<u64>) -> Request {
        let now = Timestamp::now();
        if let Some(number) = number {
            return mix.choose(&mut rng(self.seed, number), now);
        }
        let mut rng = self.of_users[user % self.of_users.len()].lock().unwrap_or_else(PoisonError::into_inner);
        mix.choose(&mut *rng, now)
    }
}

fn rng(seed: u64, number: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// What every user of goose does.
pub(crate) fn scenario(traffic: &Arc<Traffic>) -> Scenario {
    let traffic = Arc::clone(traffic);
    let turn = Transaction::new(Arc::new(move |user: &mut GooseUser| {
        let traffic = Arc::clone(&traffic);
        Box::pin(async move { traffic.take_turn(user).await })
    }));
    scenario!("Analytics").register_transaction(turn.set_name("request"))
}

impl Traffic {
    async fn take_turn(&self, user: &mut GooseUser) -> TransactionResult {
        let due = match self.schedule.turn(user.weighted_users_index) {
            Turn::Make(due) => due,
            Turn::Rest(until) => {
                sleep_until(until).await;
                return Ok(());
            }
        };
        sleep_until(due.at).await;
        if !self.schedule.begin(due.step) {
            return Ok(());
        }
        let outcome = self.make(user, due).await;
        self.schedule.finish(due.step);
        outcome
    }

    async fn make(&self, user: &mut GooseUser, due: Due) -> TransactionResult {
        let request = match &self.source {
            Source::Mix(mix) => self.choices.choose(mix, user.weighted_users_index, due.number),
            Source::Events(events) => {
                let place = due.number.and_then(|number| usize::try_from(number).ok());
                let event = events[place.expect("each event has its own turn")];
                let is_current = event.hour() == Hour::containing(Timestamp::now());
                Request { age: if is_current { Age::Current } else { Age::Past }, task: Task::Post(event) }
            }
        };
        let kind = request.kind();
        match request.task {
            Task::Get(at) => self.ask(user, kind, Hour::containing(at), due).await.map(|_| ()),
            Task::Post(event) => self.send(user, kind, &[event], due).await,
            Task::Batch(events) => self.send(user, kind, &events, due).await,
        }
    }

    /// Sends events, one or a batch, and now and then gets their hour at once.
    async fn send(&self, user: &mut GooseUser, kind: Kind, events: &[PlannedEvent], due: Due) -> TransactionResult {
        self.ledger.open(events);
        let began = Instant::now();
        let path = if kind.method == Method::Batch { Cow::from(BATCH_PATH) } else { self.path(&events[0]).into() };
        let body = if kind.method == Method::Batch { self.body(events) } else { Vec::new() };
        let asked = Asked { kind, method: GooseMethod::Post, path: &path, body, expected: 204 };
        let Exchanged { answer, may_be_stored } = self.retries.exchange(user, &asked).await?;
        let (answer, outcome) = match &answer {
            Ok(response) if response.status() == StatusCode::NO_CONTENT => (Answer::Acknowledged, Outcome::Answered),
            // They are stored later, so they may be counted or not.
            Ok(response) if response.status() == StatusCode::ACCEPTED => (Answer::None, Outcome::Answered),
            Ok(response) => {
                self.recorder.lock().complain(|| format!("{kind} was answered {}", response.status()));
                (Answer::Refused, Outcome::Refused)
            }
            Err(error) => {
                self.recorder.lock().complain(|| format!("{kind} got no answer: {}", causes(error)));
                // Without a connection, nothing was sent.
                (if error.is_connect() { Answer::Refused } else { Answer::None }, Outcome::Unanswered)
            }
        };
        let answer = if may_be_stored && answer == Answer::Refused { Answer::None } else { answer };
        self.ledger.close(events, answer);
        self.record(kind, outcome, due);

        if answer == Answer::Acknowledged && self.wants_freshness() {
            let kind = Kind { method: Method::Get, age: kind.age };
            if self.ask(user, kind, events[0].hour(), Due { at: Instant::now(), ..due }).await? {
                self.recorder.lock().record_seen(began.elapsed());
            }
        }
        Ok(())
    }

    /// Gets the counts of an hour. True if they are right.
    async fn ask(&self, user: &mut GooseUser, kind: Kind, hour: Hour, due: Due) -> Result<bool, Box<TransactionError>> {
        let least = self.ledger.bounds(hour).least;
        let path = format!("{ANALYTICS_PATH}?{}={}", Timestamp::PARAMETER, hour.start().millis());
        let asked = Asked { kind, method: GooseMethod::Get, path: &path, body: Vec::new(), expected: 200 };
        let Exchanged { answer, .. } = self.retries.exchange(user, &asked).await?;
        let body = match answer {
            Ok(response) if response.status() == StatusCode::OK => response.text().await,
            Ok(response) => {
                self.record(kind, Outcome::Refused, due);
                self.recorder.lock().complain(|| format!("{kind} was answered {}", response.status()));
                return Ok(false);
            }
            Err(error) => Err(error),
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                self.record(kind, Outcome::Unanswered, due);
                self.recorder.lock().complain(|| format!("{kind} got no answer: {}", causes(&error)));
                return Ok(false);
            }
        };
        let fault = match body.parse::<HourCounts>() {
            Ok(counts) => {
                let bounds = Bounds { least, most: self.ledger.bounds(hour).most };
                let faults: Vec<String> = bounds.faults(counts).iter().map(ToString::to_string).collect();
                (!faults.is_empty()).then(|| faults.join("; "))
            }
            // The status is 200, so a client would believe the answer.
            Err(error) => Some(error.to_string()),
        };
        self.record(kind, Outcome::Answered, due);
        let is_right = fault.is_none();
        self.recorder.lock().record_read(fault.map(|fault| format!("{hour}: {fault}")));
        Ok(is_right)
    }

    fn record(&self, kind: Kind, outcome: Outcome, due: Due) {
        let (latency, ended) = (due.at.elapsed(), self.schedule.elapsed());
        self.recorder.lock().record(due.step, kind, outcome, latency, ended);
    }

    fn wants_freshness(&self) -> bool {
        let number = self.posts.fetch_add(1, Ordering::Relaxed) + 1;
        self.freshness_every > 0 && number.is_multiple_of(self.freshness_every)
    }

    fn path(&self, event: &PlannedEvent) -> String {
        let name = self.names.of(event.visitor);
        let user: Cow<'_, str> = utf8_percent_encode(&name, NON_ALPHANUMERIC).into();
        format!(
            "{ANALYTICS_PATH}?{}={}&{}={user}&{}={}",
            Timestamp::PARAMETER,
            event.at.millis(),
            UserName::PARAMETER,
            EventKind::PARAMETER,
            event.kind
        )
    }

    fn body(&self, events: &[PlannedEvent]) -> Vec<u8> {
        let mut body = Vec::new();
        for &PlannedEvent { at, visitor, kind } in events {
            let user = UserName::new(self.names.of(visitor)).expect("the name is generated, or was parsed before");
            wire::write_line(&Event { at, user, kind }, None, None, &mut body);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::{Choices, Task};
    use crate::{settings::contract_mix, workload::mix::Mix};

    /// Without the parts that depend on the time.
    fn chosen(choices: &Choices, mix: &Mix, user: usize, number: Option<u64>) -> String {
        let request = choices.choose(mix, user, number);
        match request.task {
            Task::Post(event) => format!("{} {} {}", request.kind(), event.visitor, event.kind),
            _ => request.kind().to_string(),
        }
    }

    #[test]
    fn a_seed_repeats_the_requests_of_a_schedule_for_any_users() {
        let mix = Mix::new(contract_mix());
        let (forwards, backwards) = (Choices::new(7, 2), Choices::new(7, 3));
        let one: Vec<String> = (0..100).map(|number| chosen(&forwards, &mix, 0, Some(number))).collect();
        let mut other: Vec<String> = (0..100)
            .rev()
            .zip([0, 1, 2].into_iter().cycle())
            .map(|(n, user)| chosen(&backwards, &mix, user, Some(n)))
            .collect();
        other.reverse();
        assert_eq!(one, other);
    }

    #[test]
    fn a_seed_repeats_the_requests_of_each_user_without_a_schedule() {
        let mix = Mix::new(contract_mix());
        let (alone, together) = (Choices::new(7, 2), Choices::new(7, 2));
        let one: Vec<String> = (0..100).map(|_| chosen(&alone, &mix, 1, None)).collect();
        let other: Vec<String> =
            (0..200).map(|turn| chosen(&together, &mix, turn % 2, None)).skip(1).step_by(2).collect();
        assert_eq!(one, other);
    }
}
