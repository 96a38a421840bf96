use std::{array, fmt, sync::Arc};

use db::{PoolUse, Store};

use super::{
    Counter, Database, Labels, LaneName, Losses, Queued, ReadLaneName, Reopenings, Sink, Spool, Watched,
    lanes::Commits, settling::Settling, sites::SiteMetrics,
};

/// One name for all pools and states, which are labels.
const CONNECTIONS: (&str, &str) = ("analyticsd_database_pool_connections", "Connections to the database");

/// What is counted for each shard.
pub(crate) struct ShardMetrics {
    /// Of all its series; none in a counter of one database.
    label: Option<&'static str>,
    pub(crate) commits: Commits,
    /// By lane.
    read_failures: [Counter; ReadLaneName::ALL.len()],
    pub(crate) reopenings: Reopenings,
    pub(crate) settling: Settling,
    pub(crate) spool: Spool,
    pub(crate) database: Database,
    pub(crate) losses: Losses,
    watched: Arc<Watched>,
}

impl ShardMetrics {
    /// For each shard of so many.
    pub(super) fn of_all(shards: usize, sites: &Arc<SiteMetrics>, watched: &Arc<Watched>) -> Vec<Arc<Self>> {
        // They are needed as long as the process lives.
        let label = |shard: usize| (shards > 1).then(|| &*Box::leak(shard.to_string().into_boxed_str()));
        let of_shard = |shard| {
            Arc::new(Self {
                label: label(shard),
                commits: Commits::new(sites),
                read_failures: array::from_fn(|_| Counter::default()),
                reopenings: Reopenings::default(),
                settling: Settling::default(),
                spool: Spool::default(),
                database: Database::default(),
                losses: Losses::default(),
                watched: Arc::clone(watched),
            })
        };
        (0..shards).map(of_shard).collect()
    }

    fn labels(&self, mut labels: Labels) -> Labels {
        labels.extend(self.label.map(|label| ("shard", label)));
        labels
    }

    /// Names the shard in the lines of the log that are written within.
    pub(crate) fn span(&self) -> tracing::Span {
        self.label.map_or_else(tracing::Span::none, |shard| tracing::info_span!("of", shard))
    }

    pub(crate) fn read_failed(&self, lane: ReadLaneName) {
        self.read_failures[lane as usize].add(1);
    }

    /// Watches a value of the shard. See [`Watched::gauge`].
    pub(crate) fn watch(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.watched.gauge(name, help, self.labels(labels), read);
    }

    /// Watches the length of a queue, as long as it exists.
    pub(crate) fn watch_queue(
        &self,
        queue: &'static str,
        read: impl Fn() -> Option<Queued> + Clone + Send + Sync + 'static,
    ) {
        self.watched.queue(self.labels(vec![("queue", queue)]), read);
    }

    /// Watches the use of a pool of connections.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn watch_pool(&self, pool: &'static str, store: &Store, pool_use: fn(&Store) -> PoolUse) {
        type Value = (&'static str, &'static str, Labels, fn(PoolUse) -> usize);
        let values: [Value; 5] = [
            (CONNECTIONS.0, CONNECTIONS.1, vec![("state", "in_use")], |pool| pool.in_use),
            (CONNECTIONS.0, CONNECTIONS.1, vec![("state", "idle")], |pool| pool.idle),
            (CONNECTIONS.0, CONNECTIONS.1, vec![("state", "given_up")], |pool| pool.given_up),
            ("analyticsd_database_pool_limit_connections", "The most connections of a pool", vec![], |pool| pool.max),
            ("analyticsd_database_pool_waiting", "Requests that wait for a connection of a pool", vec![], |pool| {
                pool.waiting
            }),
        ];
        for (name, help, labels, read) in values {
            let store = store.clone();
            let labels = [vec![("pool", pool)], labels].concat();
            self.watch(name, help, labels, move || Some(read(pool_use(&store)) as f64));
        }
    }

    /// Watches whether the lanes of a name can store events.
    pub(crate) fn watch_storing(&self, lane: LaneName, read: impl Fn() -> Option<bool> + Send + Sync + 'static) {
        self.watch(
            "analyticsd_lane_storing",
            "1 while a lane can store events, 0 while it refuses or spools them",
            vec![("lane", lane.name())],
            move || read().map(|stores| if stores { 1.0 } else { 0.0 }),
        );
    }
}

/// All shards, to be encoded together: a metric's series stand behind one another.
#[derive(Clone, Copy)]
pub(super) struct OfShards<'a>(pub(super) &'a [Arc<ShardMetrics>]);

impl<'a> OfShards<'a> {
    /// The series of each shard, with its label.
    pub(super) fn series<T: 'a, S: IntoIterator<Item = (Labels, T)> + 'a>(
        self,
        of: impl Fn(&'a ShardMetrics) -> S + 'a,
    ) -> impl Iterator<Item = (Labels, T)> + 'a {
        self.0
            .iter()
            .flat_map(move |shard| of(shard).into_iter().map(move |(labels, value)| (shard.labels(labels), value)))
    }

    pub(super) fn encode_read_failures(self, sink: &mut Sink<'_>) -> fmt::Result {
        sink.counter(
            "analyticsd_read_failures",
            "Reads of counts that the database did not answer",
            self.series(|shard| {
                let lanes = ReadLaneName::ALL.map(ReadLaneName::name).into_iter().zip(&shard.read_failures);
                lanes.map(|(lane, failures)| (vec![("lane", lane)], failures.get()))
            }),
        )
    }
}
