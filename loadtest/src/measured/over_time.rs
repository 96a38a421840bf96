//! Requests by when they ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    latencies::Precision,
    series::{Outcome, Series, Summary},
};

/// The most spans. When there would be more, two become one: so a long run takes no more memory than a short one, and a
/// search, which ends when it has found something, is told as finely as a run of that length.
const MOST: usize = 300;
/// Of two runs of a day of which one began when the other ended.
const LONGEST_SPAN: u64 = 1 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OverTime {
    began_at: DateTime<Utc>,
    /// A power of two.
    span_seconds: u64,
    pub(crate) spans: Vec<Series>,
}

impl OverTime {
    pub(super) fn new() -> Self {
        Self { began_at: Utc::now(), span_seconds: 1, spans: Vec::new() }
    }

    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.span_seconds)
    }

    pub(crate) fn summaries(&self) -> Vec<Summary> {
        self.spans.iter().map(|series| series.summary(self.span())).collect()
    }

    /// How many spans are over after so long a run. A rate in less than a span means nothing.
    pub(crate) fn whole_spans(&self, lasted: Duration) -> usize {
        // Runs end a little before or after they should.
        let spans = (lasted.as_secs_f64() / self.span().as_secs_f64() + 0.05).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a day has few spans")]
        let spans = spans as usize;
        spans.max(1).min(self.spans.len())
    }

    pub(super) fn record(&mut self, outcome: Outcome, latency: Duration, ended: Duration) {
        while ended.as_secs() / self.span_seconds >= MOST as u64 {
            self.join_pairs();
        }
        let place = usize::try_from(ended.as_secs() / self.span_seconds).expect("it is small");
        if self.spans.len() <= place {
            self.spans.resize(place + 1, Series::new(Precision::Coarse));
        }
        self.spans[place].record(outcome, latency);
    }

    /// Adds those of a run at the same time, each second where it was.
    pub(super) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.span_seconds < other.span_seconds {
            self.join_pairs();
        }
        while other.span_seconds < self.span_seconds {
            other.join_pairs();
        }
        if other.began_at < self.began_at {
            std::mem::swap(self, &mut other);
        }
        let later = (other.began_at - self.began_at).to_std().unwrap_or_default().as_secs() / self.span_seconds;
        let later = usize::try_from(later).unwrap_or(MOST).min(MOST);
        for (place, series) in other.spans.iter().enumerate() {
            if self.spans.len() <= later + place {
                self.spans.resize(later + place + 1, Series::new(Precision::Coarse));
            }
            self.spans[later + place].add(series);
        }
        while self.spans.len() > MOST {
            self.join_pairs();
        }
    }

    /// Whether a run could have measured it.
    pub(super) fn is_possible(&self) -> bool {
        let spans =
            self.span_seconds.is_power_of_two() && self.span_seconds <= LONGEST_SPAN && self.spans.len() <= MOST;
        spans && self.spans.iter().all(Series::is_possible)
    }

    fn join_pairs(&mut self) {
        self.span_seconds *= 2;
        let mut spans = std::mem::take(&mut self.spans).into_iter();
        while let Some(mut one) = spans.next() {
            if let Some(next) = spans.next() {
                one.add(&next);
            }
            self.spans.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::{MOST, OverTime};
    use crate::measured::series::{Outcome, Series};

    /// Of a run in which a request ended each second.
    fn lasting(seconds: u64) -> OverTime {
        let mut over_time = OverTime::new();
        let ends = (0..seconds).map(Duration::from_secs);
        ends.for_each(|ended| over_time.record(Outcome::Answered, Duration::from_millis(1), ended));
        over_time
    }

    fn requests(over_time: &OverTime) -> Vec<u64> {
        over_time.spans.iter().map(Series::requests).collect()
    }

    #[test]
    fn a_long_run_has_no_more_spans_than_a_short_one_and_loses_no_request() {
        let most = MOST as u64;
        for (seconds, span, first, spans) in
            [(10, 1, 1, 10), (most, 1, 1, MOST), (most + 1, 2, 2, 151), (86_400, 512, 512, 169)]
        {
            let over_time = lasting(seconds);
            assert_eq!((over_time.span_seconds, requests(&over_time)[0], over_time.spans.len()), (span, first, spans));
            assert_eq!(requests(&over_time).iter().sum::<u64>(), seconds);
            assert!(over_time.is_possible());
        }
    }

    #[test]
    fn runs_at_the_same_time_are_added_each_second_where_it_was_however_long_their_spans_are() {
        for (one, other, first) in [(3, 2, [1, 1, 2, 1]), (3, 303, [2, 3, 2, 2])] {
            let (early, mut late) = (lasting(one), lasting(other));
            late.began_at = early.began_at + TimeDelta::milliseconds(2_900);
            let both = |mut one: OverTime, other: &OverTime| {
                one.add(other);
                assert!(one.is_possible());
                one
            };
            let (forwards, backwards) = (both(early.clone(), &late), both(late.clone(), &early));
            assert_eq!(requests(&forwards), requests(&backwards));
            assert_eq!(requests(&forwards).iter().sum::<u64>(), one + other);
            assert_eq!(requests(&forwards)[..4], first);
        }
    }

    #[test]
    fn a_span_that_is_not_over_is_not_whole() {
        let over_time = lasting(5);
        for (millis, whole) in [(5_000, 5), (4_970, 5), (4_500, 4), (300, 1), (60_000, 5)] {
            assert_eq!(over_time.whole_spans(Duration::from_millis(millis)), whole, "{millis} ms");
        }
    }
}
