//! What the generator of the load costs by itself. It measures the server only as long as it is not the slower one.

use std::{num::NonZero, time::Duration};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::measured::{
    latencies::{Latencies, Precision},
    series::Summary,
};

/// How often it is looked whether this program comes to its turn in time.
const EVERY: Duration = Duration::from_millis(10);

/// From this share of its processors on it cannot make more requests.
const BUSY: f64 = 0.9;

/// From this lateness on, and from half of the latency that was measured, latencies are those of the generator.
const LATE_MS: f64 = 20.0;

/// So few requests make no bottleneck, however late they were.
const FEW: u64 = 100;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Of all processors together.
    pub(crate) cpu_seconds: f64,
    /// How many processors this program may use.
    pub(crate) processors: usize,
    /// Of the time of its processors, what it used; from 0 to 1.
    pub(crate) busy: f64,
    /// How much later than it should something was done that waited for a time. Timers have a precision of 1 ms.
    pub(crate) late_p50_ms: f64,
    pub(crate) late_p99_ms: f64,
    pub(crate) late_max_ms: f64,
}

impl Generator {
    /// Adds one that ran at the same time on another machine. The busiest and the latest of them tell what is known of
    /// all.
    pub(crate) fn add(&mut self, other: &Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.processors += other.processors;
        self.busy = self.busy.max(other.busy);
        self.late_p50_ms = self.late_p50_ms.max(other.late_p50_ms);
        self.late_p99_ms = self.late_p99_ms.max(other.late_p99_ms);
        self.late_max_ms = self.late_max_ms.max(other.late_max_ms);
    }

    /// Whether it may be of a machine.
    pub(crate) fn is_possible(&self) -> bool {
        let millis = [self.late_p50_ms, self.late_p99_ms, self.late_max_ms, self.cpu_seconds];
        self.processors <= 1 << 20
            && (0.0..=1.0).contains(&self.busy)
            && millis.into_iter().all(|millis| (0.0..=1e12).contains(&millis))
    }

    /// Whether it could make no more requests.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy >= BUSY
    }

    /// Why the run says more of the generator than of the server. `measured` is of all requests.
    pub(crate) fn is_bottleneck(&self, measured: &Summary) -> Option<String> {
        let Self { busy, late_p99_ms, processors, .. } = self;
        if self.is_busy() {
            return Some(format!("it used {:.0} % of its {processors} processors", busy * 100.0));
        }
        let is_late = measured.requests >= FEW && *late_p99_ms >= LATE_MS && *late_p99_ms >= measured.p99_ms / 2.0;
        is_late.then(|| format!("it was {late_p99_ms:.0} ms late itself (p99)"))
    }
}

/// Looks at the generator while it runs.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    cpu_before: Duration,
    end: oneshot::Sender<()>,
    looking: JoinHandle<Latencies>,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        let (end, ended) = oneshot::channel();
        Self { began: Instant::now(), cpu_before: cpu(), end, looking: tokio::spawn(look(ended)) }
    }

    pub(crate) async fn end(self) -> Generator {
        let cpu_seconds = cpu().saturating_sub(self.cpu_before).as_secs_f64();
        let lasted = self.began.elapsed().as_secs_f64();
        let _ = self.end.send(());
        let late = self.looking.await.unwrap_or_else(|_| Latencies::new(Precision::Fine));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        #[expect(clippy::cast_precision_loss, reason = "processors are few")]
        let busy = (cpu_seconds / lasted / processors as f64).min(1.0);
        Generator {
            cpu_seconds,
            processors,
            busy,
            late_p50_ms: late.quantile_ms(0.5),
            late_p99_ms: late.quantile_ms(0.99),
            late_max_ms: late.max_ms(),
        }
    }
}

async fn look(mut ended: oneshot::Receiver<()>) -> Latencies {
    let mut late = Latencies::new(Precision::Fine);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            due = ticks.tick() => late.record(due.elapsed()),
            _ = &mut ended => return late,
        }
    }
}

/// What this process used of processors so far.
fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.num_microseconds()).unwrap_or_default();
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Generator, Watch};
    use crate::measured::{
        latencies::Precision,
        series::{Outcome, Series},
    };

    fn is_bottleneck(busy: f64, late_p99_ms: f64, requests: u64, p99_ms: u64) -> bool {
        let mut series = Series::new(Precision::Fine);
        for _ in 0..requests {
            series.record(Outcome::Answered, Duration::from_millis(p99_ms));
        }
        let generator =
            Generator { cpu_seconds: 1.0, processors: 2, busy, late_p50_ms: 0.0, late_p99_ms, late_max_ms: 0.0 };
        generator.is_bottleneck(&series.summary(Duration::from_secs(1))).is_some()
    }

    #[test]
    fn a_generator_is_the_bottleneck_if_it_is_busy_or_later_than_half_of_what_it_measures() {
        assert!(is_bottleneck(0.95, 1.0, 1_000, 100));
        assert!(is_bottleneck(0.5, 60.0, 1_000, 100));
        assert!(!is_bottleneck(0.5, 60.0, 1_000, 1_000));
        assert!(!is_bottleneck(0.5, 3.0, 1_000, 1), "a timer is not more precise");
        assert!(!is_bottleneck(0.5, 60.0, 3, 100), "three requests are no load");
    }

    #[tokio::test]
    async fn what_it_used_is_measured() {
        let watch = Watch::begin();
        let until = std::time::Instant::now();
        let mut sum = 0_u64;
        while until.elapsed().as_millis() < 50 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let generator = watch.end().await;
        assert!(generator.cpu_seconds > 0.0 && generator.busy > 0.0, "{generator:?}");
    }
}
