//! Whether a run is worse than the stored one. Only ratios are compared: figures themselves differ from machine to
//! machine and from hour to hour.
//!
//! The rule: a ratio, the median over the rounds, may be worse than the stored one by the noise of the two, which is
//! the larger of their spreads between rounds, (largest - smallest) / median; but always by 15 %, and never by more
//! than 50 %.

use std::fmt;

use anyhow::{Context, ensure};

use crate::{
    numbers::figure,
    ratios::{self, Ratio},
    report::Report,
};

/// Between two runs of the same programs on a quiet machine, most ratios differ by less.
const ALWAYS_ALLOWED: f64 = 0.15;
/// Half the speed is a regression on any machine.
const NEVER_ALLOWED: f64 = 0.5;

#[derive(Debug, PartialEq)]
pub(crate) struct Compared {
    name: String,
    stored: f64,
    now: f64,
    /// The part of the stored ratio by which this one may be worse.
    allowed: f64,
}

#[derive(Debug)]
pub(crate) struct Check {
    compared: Vec<Compared>,
    /// The environments of the runs, if they differ.
    grounds: Option<[String; 2]>,
}

impl Check {
    /// The runs must have a ratio in common.
    pub(crate) fn of(stored: &Report, now: &Report) -> anyhow::Result<Self> {
        let grounds = [stored, now].map(Report::grounds);
        let grounds = (grounds[0] != grounds[1]).then_some(grounds);
        let stored = ratios::all(&stored.measurements);
        let compared: Vec<Compared> = ratios::all(&now.measurements)
            .iter()
            .filter_map(|now| Compared::of(stored.iter().find(|stored| stored.name == now.name)?, now))
            .collect();
        ensure!(
            !compared.is_empty(),
            "the stored run has no measurement in common with this one; store a run of the same parts"
        );
        Ok(Self { compared, grounds })
    }

    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let worse: Vec<&str> = self.compared.iter().filter(|one| one.is_worse()).map(|one| one.name.as_str()).collect();
        ensure!(worse.is_empty(), "worse than the stored run, beyond noise: {}", worse.join("; "));
        Ok(())
    }
}

impl Compared {
    fn of(stored: &Ratio, now: &Ratio) -> Option<Self> {
        let noise = spread(stored)?.max(spread(now)?);
        Some(Self {
            name: now.name.clone(),
            stored: stored.value()?,
            now: now.value()?,
            allowed: noise.clamp(ALWAYS_ALLOWED, NEVER_ALLOWED),
        })
    }

    fn is_worse(&self) -> bool {
        self.now < self.stored * (1.0 - self.allowed)
    }
}

/// The spread of the rounds, as a share of their median.
fn spread(ratio: &Ratio) -> Option<f64> {
    let largest = ratio.rounds.iter().copied().reduce(f64::max)?;
    let smallest = ratio.rounds.iter().copied().reduce(f64::min)?;
    Some((largest - smallest) / ratio.value()?)
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n### Compared with the stored run\n")?;
        if let Some([stored, now]) = &self.grounds {
            writeln!(f, "Ratios may differ because what they were taken on does: then {stored}; now {now}.\n")?;
        }
        writeln!(f, "| ratio | stored | now | may be less by | |\n| --- | ---: | ---: | ---: | --- |")?;
        for one in &self.compared {
            let Compared { name, stored, now, allowed } = one;
            let verdict = if one.is_worse() { "**worse**" } else { "as good" };
            let [stored, now, allowed] = [*stored, *now, 100.0 * allowed].map(figure);
            writeln!(f, "| {name} | {stored} | {now} | {allowed} % | {verdict} |")?;
        }
        Ok(())
    }
}

/// Reads the JSON of a run.
pub(crate) fn read(json: &[u8]) -> anyhow::Result<Report> {
    serde_json::from_slice(json).context("the file is not a run of this version; store a new one with `make bench`")
}

#[cfg(test)]
mod tests {
    use super::{Check, Compared, read};
    use crate::{
        measure::{Contender, Measurement},
        ratios::Ratio,
        report::Report,
    };

    fn ratio(rounds: &[f64]) -> Ratio {
        Ratio { name: "POST".to_owned(), rounds: rounds.to_vec() }
    }

    fn is_worse(stored: &[f64], now: &[f64]) -> bool {
        Compared::of(&ratio(stored), &ratio(now)).unwrap().is_worse()
    }

    #[test]
    fn a_quiet_machine_may_be_worse_by_fifteen_percent() {
        assert!(!is_worse(&[1.0, 1.0, 1.0], &[0.86, 0.86, 0.86]));
        assert!(is_worse(&[1.0, 1.0, 1.0], &[0.84, 0.84, 0.84]));
        assert!(!is_worse(&[1.0, 1.0, 1.0], &[9.0, 9.0, 9.0]));
    }

    #[test]
    fn a_noisy_one_by_as_much_as_its_rounds_are_apart_in_either_run() {
        assert!(!is_worse(&[0.9, 1.0, 1.2], &[0.71, 0.71, 0.71]));
        assert!(is_worse(&[0.9, 1.0, 1.2], &[0.69, 0.69, 0.69]));
        assert!(!is_worse(&[1.0, 1.0, 1.0], &[0.6, 0.71, 0.83]));
    }

    #[test]
    fn half_as_fast_is_worse_however_noisy_it_is() {
        assert!(is_worse(&[0.1, 1.0, 5.0], &[0.1, 0.49, 5.0]));
        assert!(!is_worse(&[0.1, 1.0, 5.0], &[0.1, 0.51, 5.0]));
    }

    #[test]
    fn the_verdict_names_what_is_worse() {
        let compared = |name: &str, now: &[f64]| Compared {
            name: name.to_owned(),
            ..Compared::of(&ratio(&[1.0, 1.0]), &ratio(now)).unwrap()
        };
        let of = |compared| Check { compared, grounds: None };
        let check = of(vec![compared("GET", &[0.9, 0.9]), compared("POST", &[0.5, 0.5]), compared("mix", &[0.2, 0.2])]);
        assert_eq!(check.verdict().unwrap_err().to_string(), "worse than the stored run, beyond noise: POST; mix");
        assert!(check.to_string().contains("| POST | 1.00 | 0.50 | 15.0 % | **worse** |\n"));
        assert!(check.to_string().contains("| GET | 1.00 | 0.90 | 15.0 % | as good |\n"));
        assert!(of(vec![compared("GET", &[0.9, 0.9])]).verdict().is_ok());
    }

    fn stored() -> Report {
        read(include_bytes!("../../../docs/performance.json")).unwrap()
    }

    #[test]
    fn the_stored_run_is_as_good_as_itself_and_better_than_one_whose_daemon_is_half_as_fast() {
        assert!(Check::of(&stored(), &stored()).unwrap().verdict().is_ok());
        let mut slow = stored();
        let of_daemon = |measurement: &&mut Measurement| measurement.contender == Contender::Daemon;
        for sample in slow.measurements.iter_mut().filter(of_daemon).flat_map(|measurement| &mut measurement.rounds) {
            sample.per_second *= 0.49;
        }
        let error = Check::of(&stored(), &slow).unwrap().verdict().unwrap_err().to_string();
        assert!(error.contains("POST, 64 connections: analyticsd to warp that does nothing"), "{error}");
    }

    #[test]
    fn runs_on_different_grounds_are_compared_and_the_grounds_named() {
        assert!(!Check::of(&stored(), &stored()).unwrap().to_string().contains("Ratios may differ"));
        let mut other = stored();
        other.machine.cores += 1;
        let text = Check::of(&stored(), &other).unwrap().to_string();
        let [then, now] = [stored().machine.cores, other.machine.cores];
        assert!(
            text.contains(&format!("then {then} cores ")) && text.contains(&format!("; now {now} cores ")),
            "{text}"
        );
        let mut other = stored();
        other.database.timescaledb = Some("0.1".to_owned());
        let text = Check::of(&stored(), &other).unwrap().to_string();
        assert!(text.contains("with TimescaleDB 0.1"), "{text}");
    }
}
