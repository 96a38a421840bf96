//! Sends events, and tells the ledger what became of them.

use std::sync::atomic::Ordering;

use goose::prelude::*;
use reqwest::StatusCode;
use tokio::time::Instant;

use super::{Counter, Traffic, replies::Reply, retries::Exchanged};
use crate::{
    checks::{daemon::causes, ledger::Answer},
    measured::series::Outcome,
    workload::{
        kind::{Age, Kind, Method},
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
        let message = self.messages.of(kind, events, &self.requests);
        let Exchanged { answer, may_be_stored, host } = self.retries.exchange(user, hosts, &message, None).await?;
        let (answer, outcome) = self.judge(kind, &answer);
        let answer = if may_be_stored && answer == Answer::Refused { Answer::None } else { answer };
        ledger.close(events, answer);
        self.record(kind, outcome, due);
        if answer == Answer::Acknowledged {
            self.look_for(user, events, kind, began, Due { at: Instant::now(), ..due }, host).await?;
        }
        Ok(())
    }

    pub(super) fn judge(&self, kind: Kind, answer: &Result<Reply, reqwest::Error>) -> (Answer, Outcome) {
        match answer {
            Ok(Reply { status: StatusCode::NO_CONTENT, .. }) => (Answer::Acknowledged, Outcome::Answered),
            Ok(Reply { status: StatusCode::OK, .. }) if kind.method == Method::Pixel => {
                (Answer::Acknowledged, Outcome::Answered)
            }
            // They are stored later, so they may be counted or not.
            Ok(Reply { status: StatusCode::ACCEPTED, .. }) => (Answer::None, Outcome::Answered),
            Ok(reply) => {
                self.recorder.lock().complain(|| format!("{kind} was answered {}", reply.told()));
                (if reply.may_be_stored() { Answer::None } else { Answer::Refused }, Outcome::Refused)
            }
            Err(error) => {
                self.recorder.lock().complain(|| format!("{kind} got no answer: {}", causes(error)));
                // Without a connection, nothing was sent.
                (if error.is_connect() { Answer::Refused } else { Answer::None }, Outcome::Unanswered)
            }
        }
    }

    /// Now and then gets the hour of events that were acknowledged, from another host than that which did it.
    pub(super) async fn look_for(
        &self,
        user: &mut GooseUser,
        events: &[PlannedEvent],
        kind: Kind,
        began: Instant,
        due: Due,
        host: usize,
    ) -> TransactionResult {
        let number = self.posts.fetch_add(1, Ordering::Relaxed) + 1;
        // Hardly any other read is for a past hour, and hardly any other event hides there that this one is late.
        let is_wanted = kind.age == Age::Past || number.is_multiple_of(self.freshness_every);
        if self.freshness_every > 0 && is_wanted {
            let (of, kind) = (kind, Kind { method: Method::Get, age: kind.age });
            let is_seen = self.ask(user, kind, events[0].hour(), due, Some(host)).await?;
            self.recorder.lock().record_seen(due.step, of, is_seen.then(|| began.elapsed()));
        }
        Ok(())
    }
}
