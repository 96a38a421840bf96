//! Whether this run is worse than the earlier commit that it measured beside the present one.
//!
//! The noise of a ratio is the spread of its rounds, (largest - smallest) / median, but at least 15 % and at most 50 %.
//! With one round it is unknown, and taken for 50 %.
//! A rate may be less than the earlier one by the noise of their ratio. A promise that the earlier commit keeps may be
//! missed by the noise of what was measured of either.

use std::fmt;

use anyhow::ensure;

use crate::{
    numbers::figure,
    ratios::{Baseline, Ratio, compare, spread},
    report::Report,
    targets::{self, Target},
};

/// On a quiet machine, most ratios of the same programs differ by less.
const ALWAYS_ALLOWED: f64 = 0.15;
/// Half the speed is a regression on any machine.
const NEVER_ALLOWED: f64 = 0.5;

#[derive(Debug)]
pub(crate) struct Check {
    commit: String,
    rates: Vec<Rate>,
    promises: Vec<Promise>,
}

/// A rate by that of the earlier commit.
#[derive(Debug)]
struct Rate {
    name: String,
    ratio: f64,
    /// The ratio may be less than 1 by this.
    allowed: f64,
}

/// A promise that was measured of both commits.
#[derive(Debug)]
struct Promise {
    earlier: Target,
    now: Target,
    /// The part of the bound by which it may be missed.
    allowed: f64,
}

impl Check {
    /// Fails if nothing of the earlier commit was measured.
    pub(crate) fn of(report: &Report, commit: &str) -> anyhow::Result<Self> {
        let all = &report.measurements;
        let noise = |spread: f64| if report.plan.rounds == 1 { NEVER_ALLOWED } else { spread };
        let rates: Vec<Rate> =
            all.iter().filter_map(|now| Rate::of(compare(now, all, Baseline::Earlier)?, noise)).collect();
        ensure!(!rates.is_empty(), "no part of this run measures {commit} too");
        let earlier = targets::evaluate_earlier(all, &report.memory);
        let promises = report.targets.iter().filter_map(|now| {
            let earlier = earlier.iter().find(|earlier| earlier.name == now.name)?;
            Some(Promise::of(earlier.clone(), now.clone(), noise))
        });
        Ok(Self { commit: commit.to_owned(), promises: promises.collect(), rates })
    }

    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let slower = self.rates.iter().filter(|rate| rate.is_worse()).map(|rate| &rate.name);
        let broken = self.promises.iter().filter(|promise| promise.is_broken()).map(|promise| &promise.now.name);
        let worse: Vec<&str> = slower.chain(broken).map(String::as_str).collect();
        ensure!(worse.is_empty(), "worse than {}, beyond noise: {}", self.commit, worse.join("; "));
        Ok(())
    }
}

impl Rate {
    fn of(ratio: Ratio, noise: impl Fn(f64) -> f64) -> Option<Self> {
        Some(Self { ratio: ratio.value()?, allowed: allowed(noise(spread(&ratio.rounds)?)), name: ratio.name })
    }

    fn is_worse(&self) -> bool {
        self.ratio < 1.0 - self.allowed
    }
}

impl Promise {
    fn of(earlier: Target, now: Target, noise: impl Fn(f64) -> f64) -> Self {
        Self { allowed: allowed(noise(earlier.spread.max(now.spread))), earlier, now }
    }

    fn is_broken(&self) -> bool {
        self.earlier.met && !self.now.bound.widened(self.allowed).holds(self.now.value)
    }
}

fn allowed(noise: f64) -> f64 {
    noise.clamp(ALWAYS_ALLOWED, NEVER_ALLOWED)
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commit, rates, promises } = self;
        writeln!(f, "\n### Compared with {commit}\n\n| rate | × | may be less by | |\n| --- | ---: | ---: | --- |")?;
        for rate in rates {
            let verdict = if rate.is_worse() { "**worse**" } else { "as good" };
            let [ratio, allowed] = [rate.ratio, 100.0 * rate.allowed].map(figure);
            writeln!(f, "| {} | {ratio} | {allowed} % | {verdict} |", rate.name)?;
        }
        writeln!(f, "\n| promise | {commit} | now | promised | may be missed by | |")?;
        writeln!(f, "| --- | ---: | ---: | --- | ---: | --- |")?;
        for promise in promises {
            let Promise { earlier, now: Target { name, value, bound, met, .. }, allowed } = promise;
            let verdict = match (met, promise.is_broken()) {
                (true, _) => "met",
                (false, true) => "**no longer met**",
                (false, false) if earlier.met => "missed within noise",
                (false, false) => "not met by either",
            };
            let [before, now, allowed] = [earlier.value, *value, 100.0 * allowed].map(figure);
            writeln!(f, "| {name} | {before} | {now} | {bound} | {allowed} % | {verdict} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::identity;

    use super::{Check, Promise, Rate};
    use crate::{
        measure::{Contender, Measurement},
        ratios::Ratio,
        report::{Report, stored},
        targets::{Bound, Target},
    };

    fn is_worse(rounds: &[f64]) -> bool {
        Rate::of(Ratio { name: "POST".to_owned(), rounds: rounds.to_vec() }, identity).unwrap().is_worse()
    }

    #[test]
    fn a_quiet_machine_may_be_slower_by_fifteen_percent() {
        assert!(!is_worse(&[0.86, 0.86, 0.86]));
        assert!(is_worse(&[0.84, 0.84, 0.84]));
        assert!(!is_worse(&[9.0, 9.0, 9.0]));
    }

    #[test]
    fn a_noisy_one_by_as_much_as_its_rounds_are_apart() {
        assert!(!is_worse(&[0.70, 0.80, 0.95]));
        assert!(is_worse(&[0.60, 0.68, 0.80]));
    }

    #[test]
    fn half_as_fast_is_worse_however_noisy_it_is() {
        assert!(is_worse(&[0.1, 0.49, 5.0]));
        assert!(!is_worse(&[0.1, 0.51, 5.0]));
    }

    fn is_broken(bound: Bound, [earlier, now]: [f64; 2], spread: f64) -> bool {
        let target = |value| Target { name: "GET".to_owned(), value, bound, met: bound.holds(value), spread };
        Promise::of(target(earlier), target(now), identity).is_broken()
    }

    #[test]
    fn a_promise_is_broken_if_only_the_earlier_commit_keeps_it_and_noise_does_not_tell_why() {
        let least = Bound::AtLeast(1.0);
        assert!(is_broken(least, [1.1, 0.84], 0.0));
        assert!(!is_broken(least, [1.1, 0.86], 0.0));
        assert!(!is_broken(least, [1.1, 0.71], 0.3));
        assert!(!is_broken(least, [0.9, 0.1], 0.0));
        let most = Bound::AtMost(10.0);
        assert!(is_broken(most, [9.0, 11.6], 0.0));
        assert!(!is_broken(most, [9.0, 11.4], 0.0));
        assert!(!is_broken(most, [10.5, 99.0], 0.0));
    }

    /// The stored run, with an earlier commit beside that was as fast as this makes it.
    fn beside_earlier(speed: f64) -> Report {
        let mut report = stored();
        let earlier = |measurement: &Measurement| {
            let contender = match measurement.contender {
                Contender::Daemon => Contender::Earlier,
                Contender::Import => Contender::EarlierImport,
                _ => return None,
            };
            let mut earlier = Measurement { contender, ..measurement.clone() };
            earlier.rounds.iter_mut().for_each(|sample| sample.per_second *= speed);
            Some(earlier)
        };
        let earlier: Vec<Measurement> = report.measurements.iter().filter_map(earlier).collect();
        report.measurements.extend(earlier);
        report
    }

    #[test]
    fn a_run_is_as_good_as_itself_and_worse_than_one_of_twice_the_speed() {
        let same = Check::of(&beside_earlier(1.0), "abc").unwrap();
        assert!(same.verdict().is_ok(), "{same}");
        assert!(same.to_string().contains("\n### Compared with abc\n"), "{same}");
        assert!(
            same.to_string()
                .contains("| POST, 64 connections: analyticsd to the earlier | 1.00 | 15.0 % | as good |\n")
        );
        let worse = Check::of(&beside_earlier(2.1), "abc").unwrap();
        let error = worse.verdict().unwrap_err().to_string();
        assert!(error.starts_with("worse than abc, beyond noise: "), "{error}");
        assert!(error.contains("POST, 64 connections: analyticsd to the earlier; "), "{error}");
        assert!(worse.to_string().contains("| **worse** |\n"), "{worse}");
    }

    #[test]
    fn one_round_does_not_tell_noise_from_a_slower_program() {
        let mut report = beside_earlier(1.6);
        report.plan.rounds = 1;
        assert!(Check::of(&report, "abc").unwrap().verdict().is_ok());
        report.plan.rounds = 2;
        assert!(Check::of(&report, "abc").unwrap().verdict().is_err());
    }

    #[test]
    fn a_run_without_the_earlier_commit_cannot_be_checked() {
        let error = Check::of(&stored(), "abc").unwrap_err().to_string();
        assert_eq!(error, "no part of this run measures abc too");
    }
}
