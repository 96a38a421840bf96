//! What the daemon counts about itself, in the text format of `OpenMetrics`, which Prometheus reads.

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The numbers of one daemon. Cheap to change from anywhere; [`Metrics::render`] shows them.
#[derive(Default)]
pub struct Metrics {
    /// Open hours whose counters differ from their raw events, as far as this replica has looked while it was the settler.
    pub audit_mismatched_hours: Gauge,
    /// How often the settler found such a difference.
    pub audit_mismatches: Counter,
    /// Requests in the spool.
    pub spooled_requests: Gauge,
    /// Requests that were spooled and could not be stored.
    pub spool_rejected_requests: Counter,
    registry: Registry,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self { registry: Registry::with_prefix("analyticsd"), ..Self::default() };
        let registry = &mut metrics.registry;
        registry.register(
            "audit_mismatched_hours",
            "Open hours whose counters differ from their raw events, as far as this replica has looked while it was the settler",
            metrics.audit_mismatched_hours.clone(),
        );
        registry.register(
            "audit_mismatches",
            "How often the settler found the counters of an hour to differ from its raw events",
            metrics.audit_mismatches.clone(),
        );
        registry.register("spooled_requests", "Requests in the spool", metrics.spooled_requests.clone());
        registry.register(
            "spool_rejected_requests",
            "Requests that were spooled and could not be stored",
            metrics.spool_rejected_requests.clone(),
        );
        metrics
    }

    /// The media type of what [`Metrics::render`] returns.
    pub const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Every number with its explanation.
    pub fn render(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to memory does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.audit_mismatches.inc();
        metrics.spooled_requests.set(3);
        let shown = metrics.render();
        assert!(shown.contains("analyticsd_audit_mismatches_total 1\n"), "{shown}");
        assert!(shown.contains("analyticsd_spooled_requests 3\n"), "{shown}");
    }
}
