//! Sends events, and tells the ledger what became of them.

use std::{borrow::Cow, sync::atomic::Ordering};

use goose::prelude::*;
use model::wire::BATCH_PATH;
use reqwest::StatusCode;
use tokio::time::Instant;

use super::{
    Counter, Traffic,
    retries::{Asked, Exchanged},
};
use crate::{
    checks::{daemon::causes, ledger::Answer},
    measured::series::Outcome,
    workload::{
        kind::{Kind, Method},
        mix::PlannedEvent,
        schedule::Due,
    },
};

impl Traffic {
    /// Sends events, one or a batch, and now and then gets their hour at once, from another host.
    pub(super) async fn send(
        &self,
        user: &mut GooseUser,
        kind: Kind,
        events: &[PlannedEvent],
        due: Due,
    ) -> TransactionResult {
        let Counter { hosts, ledger } = self.counters.of(due.side);
        ledger.open(events);
        let began = Instant::now();
        let path =
            if kind.method == Method::Batch { Cow::from(BATCH_PATH) } else { self.requests.event(&events[0]).into() };
        let body = if kind.method == Method::Batch { self.requests.batch(events) } else { Vec::new() };
        let method = GooseMethod::Post;
        let asked = Asked { kind, hosts, method, path: &path, body, expected: 204, other_than: None };
        let Exchanged { answer, may_be_stored, host } = self.retries.exchange(user, &asked).await?;
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
        ledger.close(events, answer);
        self.record(kind, outcome, due);

        if answer == Answer::Acknowledged && self.wants_freshness() {
            let kind = Kind { method: Method::Get, age: kind.age };
            let due = Due { at: Instant::now(), ..due };
            if self.ask(user, kind, events[0].hour(), due, Some(host)).await? {
                self.recorder.lock().record_seen(began.elapsed());
            }
        }
        Ok(())
    }

    fn wants_freshness(&self) -> bool {
        let number = self.posts.fetch_add(1, Ordering::Relaxed) + 1;
        self.freshness_every > 0 && number.is_multiple_of(self.freshness_every)
    }
}
