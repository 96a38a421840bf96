//! The reports of earlier runs, to compare with.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    checks::{
        comparison::{Comparison, Pair, Sample},
        gates::Judged,
    },
    measured::Measured,
    record::Record,
    report,
    workload::kind::Selection,
};

/// Of a folder with more of them, the newest so many are read.
const MOST: usize = 20;

/// One run or several.
#[derive(Debug)]
pub(crate) struct Baseline {
    path: PathBuf,
    samples: Vec<Sample>,
    /// The highest share of requests that were refused or not answered.
    error_rate: f64,
}

#[derive(Debug, Error)]
pub(crate) enum BaselineError {
    #[error("cannot read {0}: {1}; give a report.json, or a folder of them, as --baseline")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{0} is no report of loadtest: {1}; give a report.json as --baseline")]
    NoReport(PathBuf, #[source] serde_json::Error),
    #[error("{0} has format {1}, and this version reads {reads}; make the report anew", reads = report::FORMAT)]
    OtherFormat(PathBuf, u32),
    #[error("{0} has no report: neither NAME.json nor NAME/{report}; give a report.json as --baseline", report = report::JSON)]
    Empty(PathBuf),
}

#[derive(Debug, Deserialize)]
struct Kept {
    began_at: DateTime<Utc>,
    lasted_seconds: f64,
    measured: Measured,
}

#[derive(Debug, Deserialize)]
struct Format {
    format: u32,
}

impl Baseline {
    /// Reads a report or a folder of reports.
    pub(crate) fn read(path: &Path) -> Result<Self, BaselineError> {
        let unreadable = |error| BaselineError::Unreadable(path.to_owned(), error);
        let mut kept = Vec::new();
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            for entry in fs::read_dir(path).map_err(unreadable)? {
                let inside = entry.map_err(unreadable)?.path();
                let of_a_run = inside.join(report::JSON);
                if of_a_run.is_file() {
                    kept.push(read(&of_a_run)?);
                } else if inside.extension().is_some_and(|extension| extension == "json") {
                    kept.push(read(&inside)?);
                }
            }
        } else {
            kept.push(read(path)?);
        }
        kept.sort_by_key(|report| std::cmp::Reverse(report.began_at));
        kept.truncate(MOST);
        let error_rates = kept.iter().map(|report| report.measured.of(None, Selection::default()).error_rate());
        let error_rate = error_rates.reduce(f64::max).ok_or_else(|| BaselineError::Empty(path.to_owned()))?;
        let sample = |report: &Kept| {
            let lasted = Duration::try_from_secs_f64(report.lasted_seconds).unwrap_or_default();
            Sample::new(&report.measured, None, lasted)
        };
        Ok(Self { path: path.to_owned(), samples: kept.iter().map(sample).collect(), error_rate })
    }

    pub(crate) fn compare(&self, record: &Record) -> Comparison {
        let new = Sample::new(&record.measured, None, record.lasted());
        let pairs = self.samples.iter().map(|old| Pair { old: old.clone(), new: new.clone() });
        let path = self.path.display();
        let with = match self.samples.len() {
            1 => path.to_string(),
            runs => format!("{runs} runs in {path}"),
        };
        Comparison::new(with, pairs.collect())
    }

    /// A run has no more errors than the earlier ones had.
    pub(crate) fn judge_errors(&self, measured: &Measured) -> Judged {
        let error_rate = measured.of(None, Selection::default()).error_rate();
        let met = error_rate <= self.error_rate;
        Judged::new("error rate, against that of the earlier runs,".to_owned(), self.error_rate, Some(error_rate), met)
    }
}

fn read(path: &Path) -> Result<Kept, BaselineError> {
    let bytes = fs::read(path).map_err(|error| BaselineError::Unreadable(path.to_owned(), error))?;
    let no_report = |error| BaselineError::NoReport(path.to_owned(), error);
    let Format { format } = serde_json::from_slice(&bytes).map_err(no_report)?;
    if format != report::FORMAT {
        return Err(BaselineError::OtherFormat(path.to_owned(), format));
    }
    serde_json::from_slice(&bytes).map_err(no_report)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{Baseline, BaselineError};
    use crate::measured::Measured;

    fn report(format: u32) -> String {
        let measured = serde_json::to_string(&Measured::new(Duration::from_secs(1))).unwrap();
        format!(r#"{{"format":{format},"began_at":"2026-01-01T00:00:00Z","lasted_seconds":1.0,"measured":{measured}}}"#)
    }

    #[test]
    fn a_report_and_a_folder_of_reports_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        fs::write(dir.path().join("run/report.json"), report(crate::report::FORMAT)).unwrap();
        fs::write(dir.path().join("yesterday.json"), report(crate::report::FORMAT)).unwrap();
        fs::write(dir.path().join("latency.svg"), "<svg/>").unwrap();
        assert_eq!(Baseline::read(dir.path()).unwrap().samples.len(), 2);
        assert_eq!(Baseline::read(&dir.path().join("yesterday.json")).unwrap().samples.len(), 1);
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Baseline::read(dir.path()), Err(BaselineError::Empty(_))));
        let path = dir.path().join("report.json");
        assert!(matches!(Baseline::read(&path), Err(BaselineError::Unreadable(..))));
        for (content, expected) in [("{", "is no report"), ("{}", "is no report"), (report(2).as_str(), "has format 2")]
        {
            fs::write(&path, content).unwrap();
            let error = Baseline::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("report.json"), "{error}");
        }
    }
}
