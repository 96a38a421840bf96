//! Whether events can be stored. The lanes know, because they try all the time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use db::{Store, StoreError, Writer};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    ingest::backoff::Backoff,
    telemetry::metrics::{LaneName, ShardMetrics},
};

/// When a commit of the present takes longer, events count as not storable and requests behind it are refused. In other
/// lanes a long commit may be large, or wait for another; the present lane shows meanwhile whether events can be
/// stored.
const LONGEST_COMMIT: Duration = Duration::from_secs(5);
/// Within this time a healthy lane of the present stores something, or proves that it can.
const LATELY: Duration = Duration::from_secs(10);
/// How long a question waits for the first proof of a daemon that has just started.
const FIRST_PROOF: Duration = Duration::from_secs(5);

/// The state of all lanes of one shard.
pub(crate) struct Storing {
    lanes: Mutex<Vec<Arc<LaneStoring>>>,
    /// Whether any lane has tried yet.
    is_known: watch::Sender<bool>,
    proof: Arc<Mutex<Option<Proof>>>,
}

/// Resolves when events can be stored. All lanes that wait for that share it.
pub(crate) type Proof = Shared<BoxFuture<'static, ()>>;

impl Default for Storing {
    fn default() -> Self {
        Self { lanes: Mutex::default(), is_known: watch::channel(false).0, proof: Arc::default() }
    }
}

impl Storing {
    /// Adds a lane whose state is not known yet.
    pub(crate) fn lane(self: &Arc<Self>, name: LaneName, metrics: &ShardMetrics) -> Arc<LaneStoring> {
        let lane = Arc::new(LaneStoring {
            name,
            state: Mutex::default(),
            is_known: self.is_known.clone(),
            proof: Arc::clone(&self.proof),
        });
        let of_name: Vec<_> = {
            let mut lanes = lock(&self.lanes);
            lanes.push(Arc::clone(&lane));
            lanes.iter().filter(|lane| lane.name == name).cloned().collect()
        };
        // Lanes with the same name share a series. The first of them registers it.
        if of_name.len() == 1 {
            let storing = Arc::downgrade(self);
            metrics.watch_storing(name, move || {
                let storing = storing.upgrade()?;
                let lanes = lock(&storing.lanes);
                Some(lanes.iter().filter(|lane| lane.name == name).all(|lane| lane.trouble().is_none()))
            });
        }
        lane
    }

    /// Whether a lane stored something, or proved that it can, since the last proof of a lane without traffic was due.
    pub(crate) fn stored_lately(&self) -> bool {
        let lanes = lock(&self.lanes);
        lanes.iter().any(|lane| lock(&lane.state).stored_at.is_some_and(|at| at.elapsed() < LATELY))
    }

    /// Why no event can be stored; `None` if events can be stored. The text is public: the cause is in the log.
    pub(crate) async fn trouble(&self) -> Option<String> {
        // A daemon that has just started tries the database first.
        let _ = timeout(FIRST_PROOF, self.is_known.subscribe().wait_for(|is_known| *is_known)).await;
        let lanes = lock(&self.lanes);
        lanes.iter().find_map(|lane| lane.trouble())
    }
}

/// The state of one lane.
pub(crate) struct LaneStoring {
    name: LaneName,
    state: Mutex<State>,
    is_known: watch::Sender<bool>,
    proof: Arc<Mutex<Option<Proof>>>,
}

#[derive(Default)]
struct State {
    /// Why the lane stores nothing.
    trouble: Option<String>,
    stored_at: Option<Instant>,
    /// When the current commit began.
    commits_since: Option<Instant>,
}

impl State {
    /// How long the current commit has taken, if that is too long.
    fn hangs_for(&self) -> Option<Duration> {
        self.commits_since.map(|since| since.elapsed()).filter(|duration| *duration > LONGEST_COMMIT)
    }
}

impl LaneStoring {
    /// Notes that a commit begins.
    pub(crate) fn begins(&self) {
        lock(&self.state).commits_since = Some(Instant::now());
    }

    /// Notes that a commit is over, whatever its outcome.
    pub(crate) fn ends(&self) {
        lock(&self.state).commits_since = None;
    }

    /// Whether the current commit takes too long.
    pub(crate) fn hangs(&self) -> bool {
        lock(&self.state).hangs_for().is_some()
    }

    /// Notes that a commit succeeded. Returns whether the lane was unable to store before.
    pub(crate) fn stores(&self) -> bool {
        let was_trouble = {
            let mut state = lock(&self.state);
            state.stored_at = Some(Instant::now());
            state.trouble.take().is_some()
        };
        self.is_known.send_if_modified(|is_known| !std::mem::replace(is_known, true));
        was_trouble
    }

    /// Notes that nothing can be committed. Returns whether the lane was able to store before.
    pub(crate) fn fails(&self, cause: &StoreError) -> bool {
        let was_none = lock(&self.state).trouble.replace(reason(cause)).is_none();
        self.is_known.send_if_modified(|is_known| !std::mem::replace(is_known, true));
        was_none
    }

    /// Tries until something can be stored.
    pub(crate) fn proof(&self, store: &Store) -> Proof {
        let mut proof = lock(&self.proof);
        let under_way = proof.take().filter(|proof| proof.clone().now_or_never().is_none());
        proof.insert(under_way.unwrap_or_else(|| prove(store.clone()))).clone()
    }

    fn trouble(&self) -> Option<String> {
        let state = lock(&self.state);
        let hangs = || {
            let duration = state.hangs_for().filter(|_| self.name == LaneName::Present)?;
            Some(format!("a commit has been under way for {} seconds", duration.as_secs()))
        };
        state.trouble.clone().or_else(hangs)
    }
}

/// Tries until a commit succeeds. The task ends when the last waiting lane drops it.
fn prove(store: Store) -> Proof {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut writer = Writer::new(store);
        let mut backoff = Backoff::default();
        while let Err(error) = writer.prove().await {
            tracing::debug!(%error, "nothing can be stored");
            sleep(backoff.pause()).await;
        }
        // If this fails, the settler removes the row.
        let _ = writer.retire().await;
    });
    async move { drop(task.join_next().await) }.boxed().shared()
}

/// The public part of the cause.
fn reason(cause: &StoreError) -> String {
    match (cause, cause.code()) {
        (_, Some("25006")) => "the database is read-only".to_owned(),
        (_, Some("53100")) => "the database's disk is full".to_owned(),
        (_, Some("55000")) => {
            "the server does not load TimescaleDB, or a backup is being restored into the database".to_owned()
        }
        (_, Some("AN009")) => "the database takes no events of the current hour".to_owned(),
        (_, Some(code)) => format!("the database refuses commits, with SQLSTATE {code}"),
        (StoreError::TimedOut(limit), None) => format!("the database did not answer a commit within {limit:?}"),
        (StoreError::Stuck(_), None) => "earlier commits that timed out are still running in the database".to_owned(),
        (StoreError::Misplaced(_), None) => "the database is not the one that the settings mean".to_owned(),
        (StoreError::NotReplicated, None) => "the database commits without its synchronous standby".to_owned(),
        (_, None) => "the database cannot be reached".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use db::StoreError;

    use super::{LONGEST_COMMIT, LaneName, Storing, lock};
    use crate::telemetry::metrics::Metrics;

    #[tokio::test]
    async fn only_a_commit_of_the_present_that_hangs_is_trouble() {
        let (storing, metrics) = (Arc::new(Storing::default()), Arc::new(Metrics::new([], Arc::default(), [], 1)));
        let [present, bulk] = [LaneName::Present, LaneName::Bulk].map(|name| storing.lane(name, &metrics.shards[0]));
        let long_ago = Instant::now().checked_sub(LONGEST_COMMIT + Duration::from_secs(1));
        assert!(!present.stores());

        lock(&bulk.state).commits_since = long_ago;
        assert_eq!(storing.trouble().await, None);

        lock(&present.state).commits_since = long_ago;
        let trouble = storing.trouble().await.unwrap();
        assert!(trouble.contains("a commit has been under way for 6 seconds"), "{trouble}");

        present.ends();
        assert_eq!(storing.trouble().await, None);
    }

    #[tokio::test]
    async fn one_lane_that_cannot_store_is_trouble_until_it_can() {
        let (storing, metrics) = (Arc::new(Storing::default()), Arc::new(Metrics::new([], Arc::default(), [], 1)));
        let [present, one_bulk, other_bulk] =
            [LaneName::Present, LaneName::Bulk, LaneName::Bulk].map(|name| storing.lane(name, &metrics.shards[0]));
        assert!(!present.stores() && !one_bulk.stores());
        assert_eq!(storing.trouble().await, None);

        let cause = StoreError::TimedOut(Duration::from_secs(11));
        assert!(other_bulk.fails(&cause) && !other_bulk.fails(&cause));
        let trouble = storing.trouble().await.unwrap();
        assert!(trouble.contains("did not answer a commit within 11s"), "{trouble}");
        let shown = metrics.render();
        assert!(shown.contains("analyticsd_lane_storing{lane=\"present\"} 1"), "{shown}");
        assert!(shown.contains("analyticsd_lane_storing{lane=\"bulk\"} 0"), "{shown}");

        assert!(other_bulk.stores());
        assert_eq!(storing.trouble().await, None);
    }
}
