//! Makes the requests through goose and judges the answers. Every read is checked against the ledger, so that the run is also a test of
//! what it loads.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use goose::prelude::*;
use model::{
    Event, EventKind, Hour, HourCounts, Timestamp, UserName,
    wire::{self, ANALYTICS_PATH, BATCH_PATH},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{SeedableRng, rngs::StdRng};
use reqwest::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    kind::{Age, Kind, Method},
    ledger::{Answer, Bounds, Ledger},
    mix::{Mix, PlannedEvent, Request, Task},
    recorder::{Outcome, Recorder},
    schedule::{Schedule, Turn},
    visitors::Names,
};

/// How long a user with nothing more to do rests, until goose ends it.
const REST: Duration = Duration::from_millis(50);

/// Where requests come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Chosen by chance.
    Mix(Mix),
    /// Read from a file.
    Events(Vec<PlannedEvent>),
}

/// Everything that the users of a run share.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Where requests come from.
    pub(crate) source: Source,
    /// The names of visitors.
    pub(crate) names: Names,
    /// When requests are due.
    pub(crate) schedule: Schedule,
    /// What must be counted.
    pub(crate) ledger: Ledger,
    /// What is measured.
    pub(crate) recorder: Recorder,
    /// One POST of a user in so many is followed by a GET; 0: none.
    pub(crate) freshness_every: u32,
    /// One for each user. None is ever waited for.
    pub(crate) sessions: Vec<Mutex<Session>>,
}

/// What a user keeps between requests.
#[derive(Debug)]
pub(crate) struct Session {
    rng: StdRng,
    posts: u32,
}

impl Session {
    /// One for each user: the choices of each follow from the run's seed and from its own number.
    pub(crate) fn of_users(users: u32, seed: u64) -> Vec<Mutex<Self>> {
        let session = |user: u32| {
            let rng = StdRng::seed_from_u64(seed ^ u64::from(user).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            Mutex::new(Self { rng, posts: 0 })
        };
        (0..users).map(session).collect()
    }
}

/// Makes every user of an attack take its turns in the traffic.
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
        let (number, due) = match self.schedule.turn() {
            Turn::Now => (0, Instant::now()),
            Turn::At(number, due) => {
                sleep_until(due).await;
                (number, due)
            }
            Turn::Over => {
                sleep(REST).await;
                return Ok(());
            }
        };
        let request = match &self.source {
            Source::Mix(mix) => mix.choose(&mut self.session(user).rng, Timestamp::now()),
            Source::Events(events) => {
                let event = events[usize::try_from(number).expect("it is a place in the list")];
                let is_current = event.hour() == Hour::containing(Timestamp::now());
                Request { age: if is_current { Age::Current } else { Age::Past }, task: Task::Post(event) }
            }
        };
        self.schedule.begin();
        let kind = request.kind();
        match request.task {
            Task::Get(at) => self.ask(user, kind, Hour::containing(at), due).await.map(|_| ()),
            Task::Post(event) => self.send(user, kind, &[event], due).await,
            Task::Batch(events) => self.send(user, kind, &events, due).await,
        }
    }

    /// Sends events, as one or as a batch, and now and then asks for their hour at once.
    async fn send(&self, user: &mut GooseUser, kind: Kind, events: &[PlannedEvent], due: Instant) -> TransactionResult {
        self.ledger.open(events);
        let began = Instant::now();
        let answer = match kind.method {
            Method::Batch => {
                let builder = user.get_request_builder(&GooseMethod::Post, BATCH_PATH)?.body(self.body(events));
                let request =
                    GooseRequest::builder().method(GooseMethod::Post).path(BATCH_PATH).name(kind.goose_name());
                user.request(request.expect_status_code(204).set_request_builder(builder).build()).await?
            }
            Method::Post | Method::Get => {
                let path = self.path(&events[0]);
                let request =
                    GooseRequest::builder().method(GooseMethod::Post).path(path.as_str()).name(kind.goose_name());
                user.request(request.expect_status_code(204).build()).await?
            }
        };
        let (answer, outcome) = match &answer.response {
            Ok(response) if response.status() == StatusCode::NO_CONTENT => (Answer::Acknowledged, Outcome::Answered),
            // It will be stored at some time, so it may be counted or not.
            Ok(response) if response.status() == StatusCode::ACCEPTED => (Answer::None, Outcome::Answered),
            Ok(response) => {
                self.recorder.complain(|| format!("{kind} was answered {}", response.status()));
                (Answer::Refused, Outcome::Refused)
            }
            // Nothing was sent on a connection that was not made.
            Err(error) if error.is_connect() => {
                self.recorder.complain(|| format!("{kind} found no connection: {error}"));
                (Answer::Refused, Outcome::Refused)
            }
            Err(error) => {
                self.recorder.complain(|| format!("{kind} got no answer: {error}"));
                (Answer::None, Outcome::Unanswered)
            }
        };
        self.ledger.close(events, answer);
        self.record(kind, outcome, due);

        if answer == Answer::Acknowledged && self.wants_freshness(user) {
            let kind = Kind { method: Method::Get, age: kind.age };
            if self.ask(user, kind, events[0].hour(), Instant::now()).await? {
                self.recorder.add_freshness(began.elapsed());
            }
        }
        Ok(())
    }

    /// Asks for the counts of an hour. True if they hold all that was acknowledged before.
    async fn ask(
        &self,
        user: &mut GooseUser,
        kind: Kind,
        hour: Hour,
        due: Instant,
    ) -> Result<bool, Box<TransactionError>> {
        let least = self.ledger.bounds(hour).least;
        let path = format!("{ANALYTICS_PATH}?{}={}", Timestamp::PARAMETER, hour.start().millis());
        let request = GooseRequest::builder().method(GooseMethod::Get).path(path.as_str()).name(kind.goose_name());
        let answer = user.request(request.expect_status_code(200).build()).await?;
        let counts = match answer.response {
            Ok(response) if response.status() == StatusCode::OK => match response.text().await {
                Ok(body) => body.parse::<HourCounts>().map_err(|error| format!("{kind} was answered with {error}")),
                Err(error) => Err(format!("{kind} got half an answer: {error}")),
            },
            Ok(response) => Err(format!("{kind} was answered {}", response.status())),
            Err(error) => {
                self.record(kind, Outcome::Unanswered, due);
                self.recorder.complain(|| format!("{kind} got no answer: {error}"));
                return Ok(false);
            }
        };
        match counts {
            Ok(counts) => {
                self.record(kind, Outcome::Answered, due);
                let bounds = Bounds { least, most: self.ledger.bounds(hour).most };
                let faults: Vec<String> = bounds.faults(counts).iter().map(ToString::to_string).collect();
                let is_right = faults.is_empty();
                self.recorder.add_read((!is_right).then(|| format!("{hour}: {}", faults.join("; "))));
                Ok(is_right)
            }
            Err(complaint) => {
                self.record(kind, Outcome::Refused, due);
                self.recorder.complain(|| complaint);
                Ok(false)
            }
        }
    }

    fn record(&self, kind: Kind, outcome: Outcome, due: Instant) {
        self.recorder.add(kind, outcome, due.elapsed(), self.schedule.elapsed());
    }

    fn wants_freshness(&self, user: &GooseUser) -> bool {
        let mut session = self.session(user);
        session.posts += 1;
        self.freshness_every > 0 && session.posts.is_multiple_of(self.freshness_every)
    }

    fn session(&self, user: &GooseUser) -> MutexGuard<'_, Session> {
        let session = &self.sessions[user.weighted_users_index % self.sessions.len()];
        session.lock().unwrap_or_else(PoisonError::into_inner)
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
            let user = UserName::new(self.names.of(visitor)).expect("it is a name of ours, or was read as one");
            wire::write_line(&Event { at, user, kind }, None, &mut body);
        }
        body
    }
}
