//! The reports of earlier runs, to compare with.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use thiserror::Error;

use crate::{
    checks::{
        comparison::{Comparison, Pair, Sample, Spread},
        gates::{Judged, Limit},
    },
    measured::Measured,
    record::{ReadError, Record, reports_in},
    report,
    workload::kind::Selection,
};

/// The settings that say what is sent, besides the plan.
const OF_THE_LOAD: [&str; 6] = ["freshness_every", "retries", "sending", "mix", "replay", "capacity"];

/// Of a folder with more of them, the newest so many are read.
const MOST: usize = 20;

/// One run or several.
#[derive(Debug)]
pub(crate) struct Baseline {
    path: PathBuf,
    samples: Vec<Sample>,
    /// Of the newest.
    load: BTreeMap<String, String>,
    /// The highest share of requests that were refused or not answered.
    error_rate: f64,
}

#[derive(Debug, Error)]
pub(crate) enum BaselineError {
    #[error("--baseline: {0}")]
    Report(#[from] ReadError),
    #[error("cannot read {0}: {1}; give a report.json, or a folder of them, as --baseline")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{0} has no report: neither NAME.json nor NAME/{report}; give a report.json as --baseline", report = report::JSON)]
    Empty(PathBuf),
}

impl Baseline {
    /// Reads a report or a folder of reports.
    pub(crate) fn read(path: &Path) -> Result<Self, BaselineError> {
        let unreadable = |error| BaselineError::Unreadable(path.to_owned(), error);
        let reports = reports_in(path).map_err(unreadable)?;
        let mut kept = reports.iter().map(|report| Record::read(report)).collect::<Result<Vec<_>, _>>()?;
        kept.sort_by_key(|report| std::cmp::Reverse(report.began_at));
        kept.truncate(MOST);
        let error_rates = kept.iter().map(|report| report.measured.of(None, Selection::default()).error_rate());
        let error_rate = error_rates.reduce(f64::max).ok_or_else(|| BaselineError::Empty(path.to_owned()))?;
        let sample = |report: &Record| Sample::new(&report.measured, None, report.lasted());
        let load = kept.first().map(load_of).unwrap_or_default();
        Ok(Self { path: path.to_owned(), samples: kept.iter().map(sample).collect(), load, error_rate })
    }

    pub(crate) fn compare(&self, record: &Record) -> Comparison {
        let new = Sample::new(&record.measured, None, record.lasted());
        let pairs = self.samples.iter().map(|old| Pair { old: old.clone(), new: new.clone() });
        let path = self.path.display();
        let with = match self.samples.len() {
            1 => path.to_string(),
            runs => format!("{runs} runs in {path}"),
        };
        let mut comparison = Comparison::new(with, pairs.collect(), Spread::Extremes);
        comparison.unlike = unlike_of(&self.load, &load_of(record));
        comparison
    }

    /// A run has no more errors than the earlier ones had.
    pub(crate) fn judge_errors(&self, measured: &Measured) -> Judged {
        let error_rate = measured.of(None, Selection::default()).error_rate();
        let met = error_rate <= self.error_rate;
        Judged::new(
            "error rate, as in the earlier runs,".to_owned(),
            Limit::Upper,
            self.error_rate,
            Some(error_rate),
            met,
        )
    }
}

/// What was another load, in words. An earlier version may know fewer settings.
fn unlike_of(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> Vec<String> {
    let in_both = was.iter().filter_map(|(name, was)| Some((name, was, is.get(name)?)));
    in_both.filter(|(_, was, is)| was != is).map(|(name, was, is)| format!("{name} was {was} and is {is}")).collect()
}

/// What was sent, by the names that report.json has.
fn load_of(record: &Record) -> BTreeMap<String, String> {
    let mut load = BTreeMap::from([("generators".to_owned(), record.runs.len().to_string())]);
    let settings = record.runs.first().map(|run| &run.settings).and_then(Value::as_object);
    for (name, value) in settings.into_iter().flatten().filter(|(name, _)| OF_THE_LOAD.contains(&name.as_str())) {
        flatten(name, value, &mut load);
    }
    // The rates of a search are its result.
    if record.capacity.is_none() {
        let loads = record.plan.iter().map(|step| serde_json::to_value(&step.step.load).unwrap_or_default());
        flatten("plan", &loads.collect(), &mut load);
    }
    load
}

/// Numbers and words by their paths; also which fields there are, and how many parts.
fn flatten(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    let told = match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| flatten(&format!("{path}.{name}"), field, flat));
            // The kind of a load is the name of its only field.
            fields.keys().next().filter(|_| fields.len() == 1).map_or_else(|| "given".to_owned(), Clone::clone)
        }
        Value::Array(parts) => {
            (1..).zip(parts).for_each(|(place, part)| flatten(&format!("{path}.{place}"), part, flat));
            parts.len().to_string()
        }
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    flat.insert(path.to_owned(), told);
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use serde_json::json;

    use super::{Baseline, BaselineError, flatten, unlike_of};
    use crate::record::tests::report_file;

    #[test]
    fn another_load_is_told_by_what_both_reports_have() {
        let load = |value| {
            let mut flat = BTreeMap::new();
            flatten("load", &value, &mut flat);
            flat
        };
        for (was, is, unlike) in [
            (json!({"rate": {"from": 1}}), json!({"users": {"from": 1}}), "load was rate and is users"),
            (json!([]), json!(["shop"]), "load was 0 and is 1"),
            (json!({"rate": null, "seed": 1}), json!({"rate": 5, "seed": 1}), "load.rate was none and is 5"),
            (json!({"rate": 5, "seed": 1}), json!({"rate": 5, "seed": 1, "new": 1}), ""),
        ] {
            assert_eq!(unlike_of(&load(was), &load(is)).join(", "), unlike);
        }
    }

    #[test]
    fn a_report_and_a_folder_of_reports_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        fs::write(dir.path().join("run/report.json"), report_file(crate::report::FORMAT)).unwrap();
        fs::write(dir.path().join("yesterday.json"), report_file(crate::report::FORMAT)).unwrap();
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
        for (content, expected) in
            [("{", "is no report"), ("{}", "is no report"), (report_file(2).as_str(), "in format 2")]
        {
            fs::write(&path, content).unwrap();
            let error = Baseline::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("report.json"), "{error}");
        }
    }
}
