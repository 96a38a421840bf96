use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as FromBytes, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The longest that a request may take is a minute and a half.
const LONGEST: Duration = Duration::from_secs(90);

/// How long requests took. It takes room for the longest latency that was seen, some 64 KiB for a tenth of a second.
///
/// A report keeps it as the Base64 text of [HdrHistogram's] compressed format, in microseconds.
///
/// [HdrHistogram's]: https://github.com/HdrHistogram/HdrHistogram
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Latencies(Histogram<u64>);

/// With how many decimal digits latencies are told apart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Precision {
    #[default]
    Fine = 3,
    /// Takes a tenth of the memory.
    Coarse = 2,
}

impl Latencies {
    pub(crate) fn new(precision: Precision) -> Self {
        Self(Histogram::new(precision as u8).expect("the digits are accepted"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = latency.clamp(Duration::from_micros(1), LONGEST).as_micros();
        self.0.record(u64::try_from(micros).expect("it is bounded")).expect("the histogram makes room");
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the histogram makes room");
    }

    /// What was added since these were like the earlier ones.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut added = self.0.clone();
        added.subtract(&earlier.0).expect("the earlier ones are among them");
        Self(added)
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds; 0 if there are none. `quantile` is from 0 to 1.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { millis(self.0.value_at_quantile(quantile)) }
    }

    /// In milliseconds; 0 if there are none.
    pub(crate) fn max_ms(&self) -> f64 {
        millis(self.0.max())
    }

    /// How many took longer than this. Those within the precision of it did not.
    pub(crate) fn longer_than(&self, millis: f64) -> u64 {
        let micros = Duration::try_from_secs_f64(millis / 1_000.0).unwrap_or(LONGEST).min(LONGEST).as_micros();
        let above = self.0.next_non_equivalent(u64::try_from(micros).expect("it is bounded"));
        self.0.count_between(above, self.0.high())
    }

    /// In microseconds.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency has few digits")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let mut histogram = FromBytes::new().deserialize(&mut bytes.as_slice()).map_err(D::Error::custom)?;
        histogram.auto(true);
        Ok(Self(histogram))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latencies, Precision};

    fn latencies(millis: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new(Precision::Fine);
        for millis in millis {
            latencies.record(Duration::from_millis(millis));
        }
        latencies
    }

    #[test]
    fn what_a_report_keeps_is_what_was_recorded_and_takes_more() {
        let recorded = latencies([1, 2, 2, 7]);
        let mut kept: Latencies = serde_json::from_str(&serde_json::to_string(&recorded).unwrap()).unwrap();
        assert_eq!(kept, recorded);
        kept.record(Duration::from_secs(80));
        kept.add(&latencies([80_000]));
        assert_eq!((kept.len(), kept.longer_than(79_000.0)), (6, 2));
    }

    #[test]
    fn a_text_that_is_no_histogram_is_refused() {
        for text in [r#""""#, r#""AAAA""#, r#""ß""#, "7"] {
            assert!(serde_json::from_str::<Latencies>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_latency_is_too_short_or_too_long() {
        let mut latencies = Latencies::new(Precision::Coarse);
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert!((latencies.max_ms() / 90_000.0 - 1.0).abs() < 0.01, "{}", latencies.max_ms());
    }

    #[test]
    fn those_longer_than_a_bound_are_counted_beyond_the_precision() {
        let latencies = latencies(1..=100);
        assert_eq!([0.0, 50.0, 99.0, 100.0, 1e12].map(|bound| latencies.longer_than(bound)), [100, 50, 1, 0, 0]);
    }
}
