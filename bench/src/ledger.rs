//! Whether the daemon counted what it acknowledged: speed that loses events is not speed.

use anyhow::bail;
use model::{Hour, Timestamp};
use serde::Serialize;

use crate::{servers::Server, wrk::Sample};

/// What the daemon acknowledged since the ledger was opened.
pub(crate) struct Ledger {
    first_hour: Hour,
    stored_before: u64,
    acknowledged: u64,
    loads: u32,
}

/// A ledger that is right.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Closed {
    pub(crate) acknowledged: u64,
    pub(crate) stored: u64,
}

impl Ledger {
    pub(crate) async fn open(daemon: &Server) -> anyhow::Result<Self> {
        let first_hour = Hour::containing(Timestamp::now());
        Ok(Self { first_hour, stored_before: stored_since(first_hour, daemon).await?, acknowledged: 0, loads: 0 })
    }

    /// Adds a load of events.
    pub(crate) fn add(&mut self, load: &Sample) {
        self.acknowledged += load.requests;
        self.loads += 1;
    }

    /// Compares with what the daemon counts. At the end of a load each connection is cut, perhaps between a request and its answer.
    pub(crate) async fn close(self, daemon: &Server, connections: u32) -> anyhow::Result<Closed> {
        let stored = stored_since(self.first_hour, daemon).await?.saturating_sub(self.stored_before);
        let unanswered = u64::from(connections) * u64::from(self.loads);
        let closed = Closed { acknowledged: self.acknowledged, stored };
        if stored < closed.acknowledged || stored > closed.acknowledged + unanswered {
            bail!(
                "the daemon acknowledged {} events, left {unanswered} at most unanswered, and counts {stored}",
                closed.acknowledged
            );
        }
        Ok(closed)
    }
}

/// How many events the daemon counts from an hour until now. The hour may change during a run.
async fn stored_since(first: Hour, daemon: &Server) -> anyhow::Result<u64> {
    let current = Hour::containing(Timestamp::now());
    let mut sum = 0;
    for hour in std::iter::successors(Some(first), |hour| hour.next()).take_while(|&hour| hour <= current) {
        let counts = daemon.counts(hour).await?;
        sum += counts.clicks + counts.impressions;
    }
    Ok(sum)
}
