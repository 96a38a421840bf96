use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use client::ClientError;
use tokio::time::sleep;

use super::{interruption::Interruption, progress::Progress};

/// How often a request is made before the import stops.
const TRIES: u32 = 8;
/// The longest wait between two tries, whatever the server asks for. With its usual answer all waits take a minute
/// and a half.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The wait after the first try if the server does not ask for one. Each wait is twice the one before.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// What may be tried again, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Whether a request that may be stored stores nothing twice when it is made again.
    pub(crate) can_repeat: bool,
    /// Whether the server was reached before. A mistyped address is reported at once.
    pub(crate) was_reached: bool,
    /// Whether it is tried until it succeeds.
    pub(crate) is_endless: bool,
    /// Where in its source a batch begins.
    pub(crate) from: Option<u64>,
}

/// The pauses between tries of one request: it is made again while that may help and cannot store it twice.
///
/// A server that answers 429 or 503 has stored nothing, and neither has one whose source has not come to where a batch
/// begins: the batch before it is under way. After a broken connection that is unknown.
pub(crate) struct Pauses<'a> {
    patience: Patience,
    tries: u32,
    stops: &'a Stops,
    progress: &'a Progress,
}

/// The batches that are in flight: where each begins in its source, and when it was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<BTreeMap<u64, Instant>>>);

impl UnderWay {
    pub(crate) fn begins(&self, from: u64) {
        self.lock().insert(from, Instant::now());
    }

    pub(crate) fn ends(&self, from: u64) {
        self.lock().remove(&from);
    }

    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.lock().values().min().copied()
    }

    /// Whether a batch before this one is in flight.
    fn has_before(&self, from: u64) -> bool {
        self.lock().first_key_value().is_some_and(|(&first, _)| first < from)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ends the pauses.
#[derive(Clone)]
pub(crate) struct Stops {
    /// The program is to end.
    pub(crate) interruption: Interruption,
    /// Another batch failed, and this one can only come behind it.
    pub(crate) given_up: Interruption,
    /// A batch that is ahead of its source waits only while one before it is in flight.
    pub(crate) under_way: UnderWay,
}

impl<'a> Pauses<'a> {
    pub(crate) fn new(patience: Patience, stops: &'a Stops, progress: &'a Progress) -> Self {
        Self { patience, tries: 0, stops, progress }
    }

    /// Waits until the request that failed may be made again. Returns the error if it may not.
    pub(crate) async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        let patience = &mut self.patience;
        let is_ahead = |position: Option<u64>| {
            let from = position.and(patience.from).filter(|&from| position < Some(from));
            from.is_some_and(|from| self.stops.under_way.has_before(from))
        };
        let asked_for = match &error {
            ClientError::Refused { problem, retry_after } if matches!(problem.status, 429 | 503) => *retry_after,
            ClientError::Refused { problem, .. } if problem.status == 409 && is_ahead(problem.position) => None,
            ClientError::Unreachable { .. } if patience.was_reached || patience.is_endless => None,
            ClientError::NoAnswer { .. } if patience.can_repeat => None,
            ClientError::Foreign { status, .. } if status.is_server_error() && patience.can_repeat => None,
            _ => return Err(error),
        };
        patience.was_reached = true;
        self.tries += 1;
        if self.tries == TRIES && !patience.is_endless {
            return Err(error);
        }
        let doubled = 1 << (self.tries - 1).min(TRIES);
        let wait = asked_for.unwrap_or(USUAL_WAIT).saturating_mul(doubled).min(MAX_WAIT);
        self.progress.message(&format!("{error}; trying again in {} s", wait.as_secs()));
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = self.stops.interruption.happens() => Err(error),
            () = self.stops.given_up.happens() => Err(error),
        }
    }
}
