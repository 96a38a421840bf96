//! Takes down what the users of a run measure at the same time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::measured::{Measured, latencies::Precision};

#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Measured>);

impl Recorder {
    pub(crate) fn new(precision: Precision) -> Self {
        Self(Mutex::new(Measured::new(precision)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Measured> {
        // No code that holds the lock panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
