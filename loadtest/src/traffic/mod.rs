//! Makes the requests through goose and checks the answers: every read against the ledger.
//!
//! - `writes` sends events, `sources` those of sources, `reads` asks for counts;
//! - `messages` writes what is sent, `retries` sends it, `replies` is what comes back;
//! - `choices` repeats the choices of a seed, `counters` knows who is loaded.

mod choices;
mod counters;
mod messages;
mod reads;
mod replies;
mod retries;
mod sources;
mod writes;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use goose::prelude::*;
use model::{Hour, Timestamp};

pub(crate) use self::{
    choices::Choices,
    counters::{Counter, Counters},
    messages::{Encoding, Messages},
    retries::Retries,
    sources::Sources,
};
use crate::{
    measured::series::Outcome,
    recorder::Recorder,
    requests::Requests,
    trust::Trust,
    workload::{
        kind::{Age, Kind},
        mix::{Mix, PlannedEvent, Request, Task},
        schedule::{Due, Schedule, Turn},
    },
};

/// How long a request may take, as goose has it.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) enum Source {
    Mix(Box<Mix>),
    Events(Vec<PlannedEvent>),
}

/// Shared by all users of a run.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) source: Source,
    pub(crate) messages: Messages,
    pub(crate) retries: Retries,
    pub(crate) sources: Sources,
    pub(crate) requests: Requests,
    pub(crate) schedule: Schedule,
    pub(crate) counters: Counters,
    pub(crate) recorder: Recorder,
    /// One POST in this many is followed by a GET; 0: none.
    pub(crate) freshness_every: u32,
    /// Acknowledged ones.
    pub(crate) posts: AtomicU32,
    pub(crate) choices: Choices,
}

/// What every user of goose does.
pub(crate) fn scenario(traffic: &Arc<Traffic>, trust: &Trust) -> Scenario {
    let traffic = Arc::clone(traffic);
    let scenario = scenario!("Analytics");
    let scenario = if trust.is_the_machines() { scenario } else { scenario.register_transaction(trusting(trust)) };
    let turn = Transaction::new(Arc::new(move |user: &mut GooseUser| {
        let traffic = Arc::clone(&traffic);
        Box::pin(async move { traffic.take_turn(user).await })
    }));
    scenario.register_transaction(turn.set_name("request"))
}

/// Gives a user a client that trusts further authorities.
fn trusting(trust: &Trust) -> Transaction {
    let trust = trust.clone();
    let set = Transaction::new(Arc::new(move |user: &mut GooseUser| {
        let client = trust.client().timeout(PATIENCE);
        Box::pin(async move { user.set_client_builder(client).await.map_err(Box::new) })
    }));
    set.set_on_start().set_name("trust")
}

impl Traffic {
    async fn take_turn(&self, user: &mut GooseUser) -> TransactionResult {
        let due = match self.schedule.turn(user.weighted_users_index) {
            Turn::Make(due) => due,
            Turn::Rest(until) => {
                self.schedule.sleep_until(until).await;
                return Ok(());
            }
        };
        self.schedule.sleep_until(due.at).await;
        if !self.schedule.begin(due.step) {
            return Ok(());
        }
        let outcome = self.make(user, due).await;
        self.schedule.finish(due.step);
        outcome
    }

    async fn make(&self, user: &mut GooseUser, due: Due) -> TransactionResult {
        if let Some(part) = self.sources.unresolved(user.weighted_users_index, due.side) {
            return self.send_part(user, part, due).await;
        }
        let request = match &self.source {
            Source::Mix(mix) => self.choices.choose(mix, user.weighted_users_index, due.number),
            Source::Events(events) => {
                let place = due.number.and_then(|number| usize::try_from(number).ok());
                let event = events[place.expect("each event has its own turn")];
                let is_current = event.hour().hour == Hour::containing(Timestamp::now());
                Request { age: if is_current { Age::Current } else { Age::Past }, task: Task::Post(event) }
            }
        };
        let kind = request.kind();
        match request.task {
            Task::Get(hour) => self.ask(user, kind, hour, due, None).await.map(|_| ()),
            Task::Post(event) | Task::Pixel(event) | Task::Script(event) => self.send(user, kind, &[event], due).await,
            Task::Batch(events) => self.send(user, kind, &events, due).await,
            Task::Source(events) => {
                let part = self.sources.next(user.weighted_users_index, due.side, kind, events);
                self.counters.of(due.side).ledger.open(part.events());
                self.send_part(user, part, due).await
            }
        }
    }

    fn record(&self, kind: Kind, outcome: Outcome, due: Due) {
        let (latency, ended) = (due.at.elapsed(), self.schedule.elapsed());
        let mut measured = self.recorder.lock();
        if outcome == Outcome::Answered && self.schedule.is_over(due.step) {
            measured.record_late(due.step, kind, latency, ended);
        } else {
            measured.record(due.step, kind, outcome, latency, ended);
        }
    }
}
