use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use db::Backlog;

use super::{Counter, Gauge, Sink, millis_since_1970};

/// What the settler does, and what waits for it. What only the settler knows is shown by the replica that is the settler.
#[derive(Default)]
pub(crate) struct Settling {
    /// Hours that were settled.
    pub(crate) settled_hours: Counter,
    /// Hours that could not be settled, other than for a difference.
    pub(crate) failures: Counter,
    /// How often the counters of an hour differed from its raw events.
    pub(crate) audit_mismatches: Counter,
    /// Hours that differ from their raw events: open ones that this replica has looked at while it was the settler, and settled ones that take no
    /// events because some are missing.
    pub(crate) audit_mismatched_hours: Gauge,
    /// How often old raw events could not be deleted, or nothing else be tidied up.
    pub(crate) tidying_failures: Counter,
    /// When the settler last looked for hours and went through them, in milliseconds since 1970.
    last_success: Gauge,
    elected: Mutex<Option<Seen>>,
}

/// What the settler saw last; nothing before its first look.
#[derive(Default)]
struct Seen(Option<(Backlog, Instant)>);

impl Settling {
    /// This replica is the settler now, or no longer.
    pub(crate) fn elected(&self, is_settler: bool) {
        *self.state() = is_settler.then(Seen::default);
        if !is_settler {
            // Whoever settles now will say what differs.
            self.audit_mismatched_hours.set(0);
        }
    }

    /// What waits, as of now.
    pub(crate) fn saw(&self, backlog: Backlog) {
        if let Some(seen) = self.state().as_mut() {
            seen.0 = Some((backlog, Instant::now()));
        }
    }

    /// All that could be settled is.
    pub(crate) fn succeeded(&self) {
        self.last_success.set(millis_since_1970());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Option<Seen>> {
        self.elected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        let (is_elected, seen) = match self.state().as_ref() {
            None => (false, None),
            Some(Seen(seen)) => (true, *seen),
        };
        let of_backlog = |value: fn(Backlog) -> f64| seen.map(|(backlog, _)| (vec![], value(backlog)));
        // It goes on growing while the settler hangs.
        let lag = seen.map(|(backlog, at)| backlog.lag.map_or(Duration::ZERO, |lag| lag + at.elapsed()));
        sink.gauge(
            "analyticsd_settler_elected",
            "1 if this replica is the one that settles hours",
            [(vec![], f64::from(u8::from(is_elected)))],
        )?;
        sink.gauge(
            "analyticsd_open_hours",
            "Hours that are not settled; shown by the settler",
            of_backlog(|backlog| backlog.open_hours as f64),
        )?;
        sink.gauge(
            "analyticsd_ripe_hours",
            "Hours that have been quiet for long enough to be settled and are not; shown by the settler",
            of_backlog(|backlog| backlog.ripe_hours as f64),
        )?;
        sink.gauge(
            "analyticsd_settler_lag_seconds",
            "For how long the hour that waits longest could have been settled; 0 if none waits; shown by the settler",
            lag.map(|lag| (vec![], lag.as_secs_f64())),
        )?;
        sink.gauge(
            "analyticsd_settler_last_success_timestamp_seconds",
            "When this replica last went through all hours that could be settled, in seconds since 1970; 0 if it never did",
            [(vec![], self.last_success.get() / 1e3)],
        )?;
        sink.counter(
            "analyticsd_settled_hours",
            "Hours that this replica settled",
            [(vec![], self.settled_hours.get())],
        )?;
        sink.counter(
            "analyticsd_settling_failures",
            "Hours that this replica could not settle, though nothing differed",
            [(vec![], self.failures.get())],
        )?;
        sink.gauge(
            "analyticsd_retention_overdue_seconds",
            "How much further back raw events are kept than they are to be, because they could not be deleted yet; shown by the settler",
            of_backlog(|backlog| backlog.overdue.as_secs_f64()),
        )?;
        sink.counter(
            "analyticsd_tidying_failures",
            "How often this replica could not delete old raw events, or tidy up otherwise, which it does every hour",
            [(vec![], self.tidying_failures.get())],
        )?;
        sink.gauge(
            "analyticsd_audit_mismatched_hours",
            "Hours that differ from their raw events: open ones that this replica looked at as the settler, and settled ones that take no events because raw events are missing",
            [(vec![], self.audit_mismatched_hours.get())],
        )?;
        sink.counter(
            "analyticsd_audit_mismatches",
            "How often the settler found the counters of an hour to differ from its raw events",
            [(vec![], self.audit_mismatches.get())],
        )
    }
}
