//! The daemon's metrics, in the text format of `OpenMetrics`, which Prometheus reads. Each part of the daemon changes
//! its numbers through handles, without a lookup. Values that can be read at collection are registered in `Watched` and
//! cost nothing until then.
//!
//! docs/operate/metrics.md explains every metric; a test compares the two.

mod broken;
mod counter;
mod histogram;
mod kafka;
mod label;
mod lanes;
mod process;
mod refusals;
mod requests;
mod settling;
mod shard;
mod sink;
mod sites;
mod watched;

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use model::SiteName;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

pub(crate) use counter::{Counter, Gauge};
pub(crate) use histogram::Histogram;
pub(crate) use lanes::{CommitOutcome, LaneCommits};
pub(crate) use lanes::{LaneName, ReadLaneName};
pub(crate) use refusals::Reason;
pub(crate) use requests::Listener;
pub(crate) use requests::{MethodName, OfListener, Outcome};
pub(crate) use shard::ShardMetrics;
pub(crate) use sink::{Labels, Sink};
pub(crate) use sites::OTHER;
pub(crate) use watched::{Queued, Watched};

use kafka::Kafka;
use lanes::{Commits, Reads};
use process::Process;
use refusals::Refusals;
use requests::{Connections, Requests};
use settling::Settling;
use shard::OfShards;
use sites::SiteMetrics;

/// The metrics of one daemon, written by [`Metrics::render`].
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    pub(crate) refusals: Refusals,
    pub(crate) connections: Connections,
    pub(crate) sites: Arc<SiteMetrics>,
    /// In their order.
    pub(crate) shards: Vec<Arc<ShardMetrics>>,
    pub(crate) reads: Reads,
    pub(crate) reports: Reports,
    pub(crate) kafka: Kafka,
    pub(crate) watched: Arc<Watched>,
    dropped_log_lines: Arc<Counter>,
    process: Process,
}

/// Settled hours that are reopened for late events.
pub(crate) struct Reopenings {
    pub(crate) seconds: Histogram,
    pub(crate) under_way: Gauge,
    pub(crate) failures: Counter,
}

/// Queries for ranges of hours.
pub(crate) struct Reports {
    pub(crate) seconds: Histogram,
    pub(crate) failures: Counter,
}

/// The spool; all zero without one. Its content is a watched value.
#[derive(Default)]
pub(crate) struct Spool {
    /// Requests that were spooled and could not be stored.
    pub(crate) rejected_requests: Counter,
}

/// Commits that the database had acknowledged to this daemon and lost.
#[derive(Default)]
pub(crate) struct Losses {
    pub(crate) batches: Counter,
    pub(crate) events: Counter,
}

/// Facts about the database that need no query.
#[derive(Default)]
pub(crate) struct Database {
    /// When it last answered, in milliseconds since 1970.
    last_answer: Gauge,
    /// The number of the newest applied migration, at the start; 0 before it is known.
    pub(crate) schema_version: Gauge,
}

impl Database {
    /// Notes that it just answered.
    pub(crate) fn answered(&self) {
        self.last_answer.set(millis_since_1970());
    }
}

impl Metrics {
    /// The media type of [`Metrics::render`].
    pub(crate) const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All zero. `routes` are the names of routes for the label `route`, `sites` those for the label `site`; the log
    /// counts `dropped_log_lines`, and there are so many shards.
    pub(crate) fn new(
        routes: impl IntoIterator<Item = &'static str>,
        dropped_log_lines: Arc<Counter>,
        sites: impl IntoIterator<Item = SiteName>,
        shards: usize,
    ) -> Self {
        let sites = Arc::new(SiteMetrics::new(sites));
        let watched = Arc::<Watched>::default();
        Self {
            requests: Requests::new(routes),
            refusals: Refusals::default(),
            connections: Connections::default(),
            shards: ShardMetrics::of_all(shards, &sites, &watched),
            sites,
            reads: Reads::default(),
            reports: Reports { seconds: Histogram::of_seconds(), failures: Counter::default() },
            kafka: Kafka::default(),
            watched,
            dropped_log_lines,
            process: Process::since_now(),
        }
    }

    /// Shows how many bytes the spools of all shards may hold together.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn watch_spool_limit(&self, max_bytes: u64) {
        let help = "The most bytes of requests that the spool holds";
        self.watched.gauge("analyticsd_spool_limit_bytes", help, vec![], move || Some(max_bytes as f64));
    }

    /// All metrics in the text format.
    pub(crate) fn render(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("writing to memory does not fail");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sink = Sink::new(encoder);
        self.requests.encode(&mut sink)?;
        self.connections.encode(&mut sink)?;
        self.refusals.encode(&mut sink)?;
        let shards = OfShards(&self.shards);
        Commits::encode(shards, &mut sink)?;
        self.sites.encode(&mut sink)?;
        self.reads.encode(&mut sink)?;
        shards.encode_read_failures(&mut sink)?;
        Reopenings::encode(shards, &mut sink)?;
        self.reports.encode(&mut sink)?;
        Settling::encode(shards, &mut sink)?;
        Spool::encode(shards, &mut sink)?;
        self.kafka.encode(&mut sink)?;
        Database::encode(shards, &mut sink)?;
        Losses::encode(shards, &mut sink)?;
        self.watched.encode(&mut sink)?;
        sink.gauge(
            "analyticsd_build_info",
            "Always 1; the label has the version of the daemon",
            [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )?;
        sink.counter(
            "analyticsd_log_lines_dropped",
            "Lines of the log that could not be written, or came faster than they could be written",
            [(vec![], self.dropped_log_lines.get())],
        )?;
        self.process.encode(&mut sink)
    }
}

impl Default for Reopenings {
    fn default() -> Self {
        Self { seconds: Histogram::of_seconds(), under_way: Gauge::default(), failures: Counter::default() }
    }
}

impl Reopenings {
    /// Counts one reopening with its duration and outcome.
    pub(crate) async fn count<T, E>(&self, reopening: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let _under_way = self.under_way.hold();
        let began = std::time::Instant::now();
        let done = reopening.await;
        self.seconds.observe_since(began);
        if done.is_err() {
            self.failures.add(1);
        }
        done
    }

    fn encode(shards: OfShards<'_>, sink: &mut Sink<'_>) -> fmt::Result {
        sink.histogram(
            "analyticsd_reopening_duration_seconds",
            "How long reopening a settled hour for late events took, failures included",
            shards.series(|it| [(vec![], &it.reopenings.seconds)]),
        )?;
        sink.gauge(
            "analyticsd_reopenings_under_way",
            "Settled hours that are being reopened",
            shards.series(|it| [(vec![], it.reopenings.under_way.get())]),
        )?;
        sink.counter(
            "analyticsd_reopening_failures",
            "Settled hours that could not be reopened",
            shards.series(|it| [(vec![], it.reopenings.failures.get())]),
        )
    }
}

impl Reports {
    fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        sink.histogram(
            "analyticsd_report_duration_seconds",
            "How long queries for ranges of hours took, failures and the wait for a connection included",
            [(vec![], &self.seconds)],
        )?;
        sink.counter(
            "analyticsd_report_failures",
            "Queries for ranges of hours that the database did not answer",
            [(vec![], self.failures.get())],
        )
    }
}

impl Spool {
    fn encode(shards: OfShards<'_>, sink: &mut Sink<'_>) -> fmt::Result {
        sink.counter(
            "analyticsd_spool_rejected_requests",
            "Spooled requests that can never be stored; they are in rejected.ndjson",
            shards.series(|it| [(vec![], it.spool.rejected_requests.get())]),
        )
    }
}

impl Losses {
    fn encode(shards: OfShards<'_>, sink: &mut Sink<'_>) -> fmt::Result {
        sink.counter(
            "analyticsd_lost_batches",
            "Commits that the database had acknowledged to this daemon and has lost",
            shards.series(|it| [(vec![], it.losses.batches.get())]),
        )?;
        sink.counter(
            "analyticsd_lost_events",
            "Events in those commits",
            shards.series(|it| [(vec![], it.losses.events.get())]),
        )
    }
}

impl Database {
    fn encode(shards: OfShards<'_>, sink: &mut Sink<'_>) -> fmt::Result {
        sink.gauge(
            "analyticsd_database_last_answer_timestamp_seconds",
            "When the database last answered, in seconds since 1970; 0 if it never did",
            shards.series(|it| [(vec![], it.database.last_answer.get() / 1e3)]),
        )?;
        sink.gauge(
            "analyticsd_schema_version",
            "The number of the newest applied migration when this daemon started; 0 before it is known",
            shards.series(|it| [(vec![], it.database.schema_version.get())]),
        )
    }
}

/// The current time of this machine's clock.
pub(crate) fn millis_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
