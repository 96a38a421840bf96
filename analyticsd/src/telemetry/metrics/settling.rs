use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use db::Backlog;

use super::{Counter, Gauge, Sink, millis_since_1970, shard::OfShards};

/// The work of the settler and its backlog. Only the replica that is the settler exports what only the settler knows.
#[derive(Default)]
pub(crate) struct Settling {
    /// Hours that were settled.
    pub(crate) settled_hours: Counter,
    /// Hours that could not be settled, for another reason than a difference.
    pub(crate) failures: Counter,
    /// How often the counters of an hour differed from its raw events.
    pub(crate) audit_mismatches: Counter,
    /// Hours that differ from their raw events: open ones that this replica checked as the settler, and settled ones
    /// that take no events because raw events are missing.
    pub(crate) audit_mismatched_hours: Gauge,
    /// How often the hourly cleanup failed.
    pub(crate) tidying_failures: Counter,
    /// How often what is stored of deleted sites could not be deleted.
    pub(crate) forgetting_failures: Counter,
    /// When the settler last went through all ripe hours, in milliseconds since 1970.
    last_success: Gauge,
    elected: Mutex<Option<Seen>>,
}

/// The backlog that the settler last saw; `None` before its first look.
#[derive(Default)]
struct Seen(Option<(Backlog, Instant)>);

impl Settling {
    /// Notes whether this replica is the settler.
    pub(crate) fn elected(&self, is_settler: bool) {
        *self.state() = is_settler.then(Seen::default);
        if !is_settler {
            // The next settler exports the differences.
            self.audit_mismatched_hours.set(0);
        }
    }

    /// Notes the current backlog.
    pub(crate) fn saw(&self, backlog: Backlog) {
        if let Some(seen) = self.state().as_mut() {
            seen.0 = Some((backlog, Instant::now()));
        }
    }

    /// Notes that all ripe hours were tried.
    pub(crate) fn succeeded(&self) {
        self.last_success.set(millis_since_1970());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Option<Seen>> {
        self.elected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None where this replica is not the settler, or has not looked yet.
    fn backlog(&self) -> Option<(Backlog, Instant)> {
        self.state().as_ref().and_then(|Seen(seen)| *seen)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn encode(shards: OfShards<'_>, sink: &mut Sink<'_>) -> fmt::Result {
        let of_backlog = |value: fn(Backlog) -> f64| {
            shards.series(move |it| it.settling.backlog().map(|(backlog, _)| (vec![], value(backlog))))
        };
        let counted = |counter: fn(&Self) -> &Counter| shards.series(move |it| [(vec![], counter(&it.settling).get())]);
        sink.gauge(
            "analyticsd_settler_elected",
            "1 if this replica is the settler",
            shards.series(|it| [(vec![], f64::from(u8::from(it.settling.state().is_some())))]),
        )?;
        sink.gauge(
            "analyticsd_open_hours",
            "Hours that are not settled; shown by the settler",
            of_backlog(|backlog| backlog.open_hours as f64),
        )?;
        sink.gauge(
            "analyticsd_ripe_hours",
            "Hours that have been quiet long enough to be settled and are not; shown by the settler",
            of_backlog(|backlog| backlog.ripe_hours as f64),
        )?;
        sink.gauge(
            "analyticsd_settler_lag_seconds",
            "How long the oldest ripe hour has waited to be settled; 0 if none waits; shown by the settler",
            shards.series(|it| {
                // The lag keeps growing while the settler hangs.
                let lag =
                    |(backlog, at): (Backlog, Instant)| backlog.lag.map_or(Duration::ZERO, |lag| lag + at.elapsed());
                it.settling.backlog().map(|seen| (vec![], lag(seen).as_secs_f64()))
            }),
        )?;
        sink.gauge(
            "analyticsd_settler_last_success_timestamp_seconds",
            "When this replica last went through all ripe hours, in seconds since 1970; 0 if it never did",
            shards.series(|it| [(vec![], it.settling.last_success.get() / 1e3)]),
        )?;
        sink.counter("analyticsd_settled_hours", "Hours that this replica settled", counted(|it| &it.settled_hours))?;
        sink.counter(
            "analyticsd_settling_failures",
            "Hours that this replica could not settle for another reason than a difference",
            counted(|it| &it.failures),
        )?;
        sink.gauge(
            "analyticsd_retention_overdue_seconds",
            "How much longer raw events are kept than retention says, because they could not be deleted yet; shown by \
             the settler",
            of_backlog(|backlog| backlog.overdue.as_secs_f64()),
        )?;
        sink.counter(
            "analyticsd_tidying_failures",
            "How often the hourly cleanup of this replica failed, which deletes old raw events",
            counted(|it| &it.tidying_failures),
        )?;
        sink.counter(
            "analyticsd_forgetting_failures",
            "How often this replica could not delete what is stored of a day of deleted sites",
            counted(|it| &it.forgetting_failures),
        )?;
        sink.gauge(
            "analyticsd_audit_mismatched_hours",
            "Hours that differ from their raw events: open ones that this replica checked as the settler, and settled \
             ones that take no events because raw events are missing",
            shards.series(|it| [(vec![], it.settling.audit_mismatched_hours.get())]),
        )?;
        sink.counter(
            "analyticsd_audit_mismatches",
            "How often the settler found that the counters of an hour differ from its raw events",
            counted(|it| &it.audit_mismatches),
        )
    }
}
