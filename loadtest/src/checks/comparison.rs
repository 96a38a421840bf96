//! Another run beside this one: how many times as much each figure is, and whether that is beyond noise.

use std::{fmt::Display, time::Duration};

use serde::{Serialize, Serializer};

use super::gates::{Bound, Figure, Gate, Gates, Judged};
use crate::{
    measured::{Measured, latencies::Precision, series::Series},
    workload::{
        kind::{Kind, Selection},
        plan::Side,
        schedule::Done,
    },
};

/// A single run does not say how much runs differ by themselves, and on shared machines they do. With fewer than so
/// many to compare with, only a ratio beyond twice or half is a difference.
const KNOWN_NOISE: usize = 5;
const UNKNOWN_NOISE: f64 = 2.0;

/// How many standard deviations of the signed-rank statistic are to either side of an interval that is right in 99 % of
/// cases.
const DEVIATIONS: f64 = 2.576;

/// The figures of all requests that are shown, and those of each kind. A ratio of errors says nothing where there were
/// none.
const OF_ALL: [Figure; 8] =
    [Figure::Rate, Figure::P50, Figure::P90, Figure::P95, Figure::P99, Figure::P999, Figure::Max, Figure::SeenP99];
pub(crate) const OF_KINDS: [Figure; 4] = [Figure::Rate, Figure::P50, Figure::P90, Figure::P99];

/// The requests of a run, or of a round of one.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    by_kind: Vec<(Kind, Series)>,
    lasted: Duration,
}

/// A new sample and the old one that it is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) old: Sample,
    pub(crate) new: Sample,
}

/// What the numbers to either side of a ratio are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spread {
    /// Of rounds in turn: the true ratio lies between them with a confidence of 99 %.
    Confidence,
    /// Of reports of the past: the lowest and the highest ratio. One new run beside many old ones is one sample, however
    /// many these are.
    Extremes,
}

#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// What this run is compared with.
    pub(crate) with: String,
    pub(crate) spread: Spread,
    /// What was another load than that of this run, in words.
    pub(crate) unlike: Vec<String>,
    pub(crate) figures: Vec<Compared>,
    /// Of all requests of the old and the new, the share that was refused or not answered.
    pub(crate) errors: [f64; 2],
    #[serde(skip)]
    pairs: Vec<Pair>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Compared {
    #[serde(serialize_with = "name")]
    pub(crate) figure: Figure,
    #[serde(serialize_with = "text")]
    pub(crate) requests: Selection,
    /// Medians.
    pub(crate) old: f64,
    pub(crate) new: f64,
    pub(crate) ratio: Ratio,
}

/// How many times as much the new is as the old.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Hodges and Lehmann's estimate of the median.
    pub(crate) median: f64,
    /// See [`Spread`]. Of fewer than eight pairs they are the lowest and the highest.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Of each pair.
    pub(crate) each: Vec<f64>,
}

impl Sample {
    /// Of one step, or of all.
    pub(crate) fn new(measured: &Measured, step: Option<usize>, lasted: Duration) -> Self {
        let by_kind = Kind::ALL.into_iter().map(|kind| (kind, measured.of(step, kind.into())));
        Self { by_kind: by_kind.filter(|(_, series)| series.requests() > 0).collect(), lasted }
    }

    fn requests(&self, requests: Selection) -> u64 {
        self.by_kind.iter().filter(|(kind, _)| requests.holds(*kind)).map(|(_, series)| series.requests()).sum()
    }

    fn figure(&self, figure: Figure, requests: Selection) -> Option<f64> {
        let mut all = Series::new(Precision::Fine);
        for (_, series) in self.by_kind.iter().filter(|(kind, _)| requests.holds(*kind)) {
            all.add(series);
        }
        figure.of(&all, self.lasted)
    }
}

/// The whole rounds of a run in which two servers took turns.
pub(crate) fn pairs_of_rounds(measured: &Measured, plan: &[Done]) -> Vec<Pair> {
    let is_whole = |round: &Done| round.lasted() >= round.step.lasts;
    let pairs = (0..plan.len() / 2).filter_map(|pair| {
        let of = |side| {
            let place = [2 * pair, 2 * pair + 1].into_iter().find(|place| plan[*place].step.side == side)?;
            let round = plan.get(place).filter(|round| is_whole(round))?;
            Some(Sample::new(measured, Some(place), round.lasted()))
        };
        Some(Pair { old: of(Side::Old)?, new: of(Side::New)? })
    });
    // In the first rounds, connections are made.
    pairs.skip(1).collect()
}

impl Comparison {
    pub(crate) fn new(with: String, pairs: Vec<Pair>, spread: Spread) -> Self {
        let in_both = |kind: &Kind| {
            pairs.iter().any(|Pair { old, new }| {
                [old, new].iter().all(|sample| sample.by_kind.iter().any(|(other, _)| other == kind))
            })
        };
        let kinds = Kind::ALL.into_iter().filter(in_both).map(Selection::from);
        let of_kinds = kinds.flat_map(|kind| OF_KINDS.map(|figure| (figure, kind)));
        let figures = OF_ALL.map(|figure| (figure, Selection::default())).into_iter().chain(of_kinds);
        let figures = figures.filter_map(|(figure, requests)| compare(&pairs, figure, requests, spread)).collect();
        let errors_of = |side: fn(&Pair) -> &Sample| error_rate(pairs.iter().map(side));
        let errors = [errors_of(|pair| &pair.old), errors_of(|pair| &pair.new)];
        Self { with, spread, unlike: Vec::new(), figures, errors, pairs }
    }

    /// Whether more rounds would not change what the gates say: each ratio is beyond its bound or within it, or it is
    /// known as precisely as asked.
    pub(crate) fn is_clear(&self, gates: &Gates, precision: f64) -> bool {
        gates.all.iter().all(|gate| {
            let Bound::Ratio(bound) = gate.bound else { return true };
            let compared = compare(&self.pairs, gate.figure, gate.part.selection, self.spread);
            compared.is_some_and(|Compared { figure, ratio: Ratio { low, high, .. }, .. }| {
                let is_on_one_side = figure.keeps(low, bound) == figure.keeps(high, bound);
                is_on_one_side || high <= low * (1.0 + precision).powi(2)
            })
        })
    }

    /// Judges a gate whose bound is a ratio. None if it is not.
    pub(crate) fn judge(&self, gate: &Gate) -> Option<Judged> {
        let Bound::Ratio(asked) = gate.bound else { return None };
        let compared = compare(&self.pairs, gate.figure, gate.part.selection, self.spread);
        let met = compared.as_ref().is_some_and(|compared| compared.may_keep(asked));
        let median = compared.as_ref().map(|compared| compared.ratio.median);
        let is_near = median.is_some_and(|median| !gate.figure.keeps(median, asked));
        let note = compared.filter(|_| met && is_near).map(|compared| {
            let (Ratio { low, high, .. }, bound) = (&compared.ratio, compared.bound(asked));
            if compared.is_noise_known() {
                format!("which noise explains, since the ratio is between {low:.3} and {high:.3}")
            } else {
                format!("which noise may explain: of fewer than {KNOWN_NOISE} pairs, {bound} decides")
            }
        });
        Some(Judged { note, ..Judged::of_ratio(gate, asked, median, met) })
    }
}

impl Compared {
    /// Whether a gate with this bound is not missed beyond noise.
    pub(crate) fn may_keep(&self, bound: f64) -> bool {
        self.ratio.may_keep(self.figure, self.bound(bound))
    }

    fn is_noise_known(&self) -> bool {
        self.ratio.each.len() >= KNOWN_NOISE
    }

    /// The bound that decides. Of few pairs the spread is not known.
    fn bound(&self, asked: f64) -> f64 {
        match self.figure.is_rate() {
            _ if self.is_noise_known() => asked,
            true => asked.min(1.0 / UNKNOWN_NOISE),
            false => asked.max(UNKNOWN_NOISE),
        }
    }
}

impl Ratio {
    /// None without a ratio.
    fn new(each: Vec<f64>, spread: Spread) -> Option<Self> {
        let mut middles = middles(&each);
        middles.sort_unstable_by(f64::total_cmp);
        let last = middles.len().checked_sub(1)?;
        let outside = match spread {
            Spread::Confidence => outside(each.len()).min(last / 2),
            Spread::Extremes => 0,
        };
        let [low, median, high] = [middles[outside], median(&middles), middles[last - outside]].map(f64::exp);
        Some(Self { median, low, high, each })
    }

    /// Whether the bound may be kept, as far as it is known: a gate is missed only beyond noise.
    fn may_keep(&self, figure: Figure, bound: f64) -> bool {
        figure.keeps(if figure.is_rate() { self.high } else { self.low }, bound)
    }
}

/// None if it is known of no pair. A new sample without the figure, because too few of its requests were answered, is
/// infinitely worse.
fn compare(pairs: &[Pair], figure: Figure, requests: Selection, spread: Spread) -> Option<Compared> {
    let worst = if figure.is_rate() { 0.0 } else { f64::INFINITY };
    let (mut olds, mut news, mut each) = (Vec::new(), Vec::new(), Vec::new());
    for Pair { old, new } in pairs {
        let Some(old) = old.figure(figure, requests).filter(|old| *old > 0.0) else { continue };
        let new = match new.figure(figure, requests) {
            Some(new) => new,
            // Of a rare kind there may have been none.
            None if new.requests(requests) == 0 => continue,
            None => worst,
        };
        olds.push(old);
        news.push(new);
        each.push(new / old);
    }
    let ratio = Ratio::new(each, spread)?;
    for figures in [&mut olds, &mut news] {
        figures.sort_unstable_by(f64::total_cmp);
    }
    Some(Compared { figure, requests, old: median(&olds), new: median(&news), ratio })
}

fn error_rate<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let mut all = Series::new(Precision::Fine);
    samples.flat_map(|sample| &sample.by_kind).for_each(|(_, series)| all.add(series));
    all.error_rate()
}

/// Of numbers in order.
fn median(sorted: &[f64]) -> f64 {
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}

/// The logarithms of the ratios in the middle between any two, and of each: twice as much and half as much are equally
/// far from no difference.
fn middles(ratios: &[f64]) -> Vec<f64> {
    let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let with_itself_and_later = |(place, one): (usize, &f64)| {
        let one = *one;
        logarithms[place..].iter().map(move |other| f64::midpoint(one, *other))
    };
    logarithms.iter().enumerate().flat_map(with_itself_and_later).collect()
}

/// How many of the middles of so many ratios lie outside of the interval at either end. This is the interval of Wilcoxon's
/// signed-rank test, in the approximation for large numbers: it takes for granted that ratios are as often above the true
/// one as below, and no more about the noise.
fn outside(ratios: usize) -> usize {
    let ratios = f64::from(u32::try_from(ratios).unwrap_or(u32::MAX));
    let mean = ratios * (ratios + 1.0) / 4.0;
    let deviation = (mean * (2.0 * ratios + 1.0) / 6.0).sqrt();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is cut off at 0")]
    let outside = (mean - DEVIATIONS * deviation).max(0.0) as usize;
    outside
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn name<S: Serializer>(figure: &Figure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(figure.name())
}

fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use rand_distr::{Distribution, Normal};

    use super::{Comparison, Pair, Ratio, Sample, Spread, outside};
    use crate::{
        checks::gates::{Bound, Figure, Gate, Judged, Part},
        measured::{Measured, latencies::Precision, series::Outcome},
        workload::kind::Kind,
    };

    fn sample(millis: u64) -> Sample {
        let mut measured = Measured::new(Precision::Fine);
        for _ in 0..1_000 / millis {
            measured.record(0, Kind::ALL[0], Outcome::Answered, Duration::from_millis(millis), Duration::ZERO);
        }
        Sample::new(&measured, None, Duration::from_secs(1))
    }

    /// Of servers whose answers take so many milliseconds, in each round.
    fn judged(figure: Figure, bound: f64, rounds: &[(u64, u64)]) -> Judged {
        let pairs = rounds.iter().map(|&(old, new)| Pair { old: sample(old), new: sample(new) });
        let gate = Gate { figure, part: Part::default(), bound: Bound::Ratio(bound) };
        Comparison::new("old".to_owned(), pairs.collect(), Spread::Confidence).judge(&gate).unwrap()
    }

    #[test]
    fn the_interval_is_that_of_the_signed_rank_test() {
        // The greatest sums of ranks that are as unlikely as 1 % on two sides, counted out.
        for (ratios, exact) in [(8, 0), (10, 3), (20, 37), (40, 220), (120, 2_650)] {
            assert!(outside(ratios).abs_diff(exact) <= 4, "{ratios}: {}", outside(ratios));
        }
    }

    #[test]
    fn a_gate_is_missed_only_beyond_the_spread() {
        let slower = [(10, 12); 10];
        assert!(!judged(Figure::P99, 1.1, &slower).met && !judged(Figure::Rate, 0.9, &slower).met);
        let noisy =
            [(10, 12), (10, 12), (10, 12), (10, 12), (10, 10), (10, 12), (10, 12), (10, 12), (10, 12), (10, 12)];
        let judged = judged(Figure::P99, 1.1, &noisy);
        assert!(judged.met && judged.note.unwrap().contains("noise"), "one of ten rounds was as fast as before");
    }

    #[test]
    fn of_a_single_run_only_a_large_difference_is_one() {
        for (new, met) in [(15, true), (19, true), (25, false)] {
            assert_eq!(judged(Figure::P50, 1.2, &[(10, new)]).met, met, "{new}");
            assert_eq!(judged(Figure::Rate, 0.9, &[(10, new)]).met, met, "{new}");
        }
        assert!(judged(Figure::P50, 1.2, &[(10, 15)]).note.unwrap().contains("2 decides"));
        assert_eq!(judged(Figure::P50, 1.2, &[(10, 11)]).note, None);
    }

    #[test]
    fn a_server_that_answers_nothing_any_more_is_slower() {
        let mut measured = Measured::new(Precision::Fine);
        measured.record(0, Kind::ALL[0], Outcome::Unanswered, Duration::ZERO, Duration::ZERO);
        let nothing = Sample::new(&measured, None, Duration::from_secs(1));
        let pairs = vec![Pair { old: sample(10), new: nothing }; 10];
        for (figure, bound) in [(Figure::P99, 1e6), (Figure::Rate, 0.001)] {
            let gate = Gate { figure, part: Part::default(), bound: Bound::Ratio(bound) };
            assert!(!Comparison::new("old".to_owned(), pairs.clone(), Spread::Confidence).judge(&gate).unwrap().met);
        }
    }

    #[test]
    fn rounds_without_such_a_request_say_nothing_of_it() {
        let none = Sample { by_kind: Vec::new(), lasted: Duration::from_secs(1) };
        let mut pairs = vec![Pair { old: sample(10), new: none }; 10];
        pairs.extend(vec![Pair { old: sample(10), new: sample(10) }; 5]);
        let gate = Gate { figure: Figure::P99, part: Part::default(), bound: Bound::Ratio(1.05) };
        let judged = Comparison::new("old".to_owned(), pairs, Spread::Confidence).judge(&gate).unwrap();
        assert!(judged.met && judged.measured.unwrap() < 1.01, "{judged:?}");
    }

    #[test]
    fn a_run_is_worse_than_earlier_ones_only_beyond_all_of_them() {
        for (new, met) in [(13, true), (16, false)] {
            let pairs: Vec<Pair> =
                (8..=12).map(|old| Pair { old: sample(old), new: sample(new) }).cycle().take(20).collect();
            let gate = Gate { figure: Figure::P50, part: Part::default(), bound: Bound::Ratio(1.1) };
            let comparison = Comparison::new("old".to_owned(), pairs, Spread::Extremes);
            assert_eq!(comparison.judge(&gate).unwrap().met, met, "{new}");
        }
    }

    #[test]
    fn the_ratio_of_few_is_between_the_smallest_and_the_largest() {
        let Ratio { median, low, high, .. } = Ratio::new(vec![2.0, 0.5, 1.0], Spread::Confidence).unwrap();
        for (figure, expected) in [(median, 1.0), (low, 0.5), (high, 2.0)] {
            assert!((figure - expected).abs() < 1e-9, "{figure} {expected}");
        }
        assert_eq!(Ratio::new(Vec::new(), Spread::Confidence), None);
    }

    proptest! {
        /// With noise of 20 % in each of 120 rounds.
        #[test]
        fn servers_that_are_alike_are_told_from_one_that_is_slower_by_a_fifth(seed: u64) {
            let mut rng = StdRng::seed_from_u64(seed);
            let noise = Normal::<f64>::new(0.0, 0.2).unwrap();
            let mut ratio = |slower: f64| {
                Ratio::new((0..120).map(|_| slower * noise.sample(&mut rng).exp()).collect(), Spread::Confidence).unwrap()
            };
            prop_assert!(ratio(1.0).may_keep(Figure::P50, 1.05));
            prop_assert!(!ratio(1.2).may_keep(Figure::P50, 1.05));
            prop_assert!(!ratio(1.0 / 1.2).may_keep(Figure::Rate, 0.95));
        }
    }
}
