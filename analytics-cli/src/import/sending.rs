//! Sends batches, several at a time, and notes what became of each.

use client::{ClientError, Delivery, Repeated};
use tokio::task::JoinError;

use super::{
    Import,
    batch::Batch,
    delivery::{Patience, Pauses, Stops},
    reader::How,
};

/// The most requests in flight. The daemon stores those that arrive during a commit together in the next one.
const MAX_IN_FLIGHT: usize = 8;

/// What became of a batch.
pub(super) struct Answered {
    batch: Batch,
    /// The lines that the server did not accept, each with the reason.
    refused: Vec<(u64, String)>,
    outcome: Result<Delivery, ClientError>,
}

impl Import<'_> {
    /// Waits until few enough requests are in flight.
    pub(super) async fn send(&mut self, batch: Batch, name: &str, how: &How) {
        let is_followed = how.is_of_a_log_that_is_followed();
        if batch.is_empty() && batch.step().is_none() {
            return self.tally.leave_out(&batch);
        }
        while self.in_flight.len() >= MAX_IN_FLIGHT
            && let Some(answered) = self.in_flight.join_next().await
        {
            self.note(answered, name).await;
        }
        self.sent_to = batch.lines().last().copied().unwrap_or(self.sent_to);
        if let Some(step) = batch.step() {
            self.under_way.begins(step.from.position);
        }
        let patience = Patience {
            can_repeat: batch.can_repeat(),
            was_reached: self.was_reached,
            is_endless: is_followed,
            from: batch.step().map(|step| step.from.position),
        };
        let (client, progress, stops) = (self.client.clone(), self.progress.clone(), self.stops());
        self.in_flight.spawn(async move {
            let mut batch = batch;
            let mut refused = Vec::new();
            let mut pauses = Pauses::new(patience, &stops, &progress);
            loop {
                let outcome = client.send_batch(batch.body(), batch.step()).await;
                // What follows a log must not stand still at one line.
                if is_followed
                    && let Err(ClientError::Refused { problem, .. }) = &outcome
                    && let Some(place) = problem.line.filter(|_| matches!(problem.status, 400 | 409))
                {
                    // Of an hour whose raw events are gone no event is accepted.
                    let lines = batch.leave_out_refused(place, problem.title.starts_with("Hour "));
                    let of_batch = format!("Line {place}: ");
                    let reason = problem.detail.strip_prefix(&of_batch).unwrap_or(&problem.detail);
                    if !lines.is_empty() && !stops.interruption.happened() {
                        refused.extend(lines.into_iter().map(|line| (line, format!("was not accepted: {reason}"))));
                        continue;
                    }
                }
                let outcome = match outcome {
                    Ok(delivery) => Ok(delivery),
                    Err(error) => match pauses.after(error).await {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    },
                };
                return Answered { batch, refused, outcome };
            }
        });
    }

    pub(super) fn stops(&self) -> Stops {
        Stops {
            interruption: self.interruption.clone(),
            given_up: self.given_up.clone(),
            under_way: self.under_way.clone(),
        }
    }

    pub(super) async fn note(&mut self, answered: Result<Answered, JoinError>, name: &str) {
        let Answered { batch, refused, outcome } = answered.expect("sending a batch does not panic");
        for (line, reason) in refused {
            // The file of rejected lines was written before; its last error is reported at its end.
            let _ = self.reject(name, line, &reason).await;
        }
        if let Some(step) = batch.step() {
            self.under_way.ends(step.from.position);
        }
        let repeated = match outcome {
            Ok(Delivery::Stored(repeated)) => repeated,
            Ok(Delivery::Spooled) => {
                self.spooled += batch.lines().len() as u64;
                Repeated::default()
            }
            Err(error) => {
                self.given_up.raise();
                return self.failed.push((batch, error));
            }
        };
        self.was_reached = true;
        if let Some(step) = batch.step() {
            let end = if repeated.stands_at.is_some() { &mut self.ends.assumed } else { &mut self.ends.compared };
            *end = (*end).max(step.to.position);
        }
        self.tally.add(&batch, repeated);
        self.progress.stored(self.tally.acknowledged());
    }

    /// Whether another program moved the source, so that it is to be looked at again where it stands.
    pub(super) fn stands_elsewhere(&self) -> bool {
        let is_elsewhere = |error: &ClientError| matches!(error, ClientError::Refused { problem, .. } if problem.status == 409 && problem.position.is_some());
        let first = self.failed.iter().min_by_key(|(batch, _)| batch.step().map(|step| step.from.position));
        match first {
            Some((_, error)) => is_elsewhere(error),
            None => self.ends.assumed > self.ends.compared,
        }
    }
}
