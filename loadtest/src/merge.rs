//! Judges runs together that were made at the same time, such as from several machines.

use std::path::PathBuf;

use thiserror::Error;

use crate::{
    baseline::{Baseline, BaselineError},
    checks::daemon::{Daemon, causes},
    logging,
    record::{NotMerged, ReadError, Record, reports_in},
    report::{self, Report, Unwritable},
    requests::Requests,
    settings::MergeSettings,
    trust::{Trust, TrustError},
    workload::visitors::Names,
};

#[derive(Debug, Error)]
pub(crate) enum MergeError {
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("there are fewer than two reports; give the report.json of each run, or a folder with the folders of all")]
    One,
    #[error("{0} cannot be merged with {1}: {2}")]
    NotMerged(PathBuf, PathBuf, #[source] NotMerged),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("cannot make HTTP requests: {cause}", cause = causes(.0))]
    Client(#[from] reqwest::Error),
}

pub(crate) async fn merge(settings: MergeSettings) -> Result<Report, MergeError> {
    let MergeSettings { reports, hosts, ca_file, judging } = settings;
    let trust = Trust::read(ca_file.as_deref())?;
    report::prepare(&judging)?;
    let baseline = judging.baseline.as_deref().map(Baseline::read).transpose()?;
    let mut all = Vec::new();
    for path in reports {
        all.extend(reports_in(&path).map_err(|error| ReadError::Unreadable(path, error))?);
    }
    let mut reports = all.into_iter();
    let Some(first) = reports.next().filter(|_| reports.len() > 0) else { return Err(MergeError::One) };
    let mut record = Record::read(&first)?;
    for path in reports {
        let other = Record::read(&path)?;
        record.merge(&other).map_err(|error| MergeError::NotMerged(path.clone(), first.clone(), error))?;
    }
    record.ledger.conclude(record.runs.len());
    if !hosts.is_empty() {
        let (sites, sent) = record.ledger.sent();
        let requests = Requests { names: Names::Own(String::new()), sites };
        record.ledger.read_again();
        for host in &hosts {
            logging::message(&format!("reading the counts of {} hours at {}", sent.len(), host.url));
            let name = (hosts.len() > 1).then_some(&*host.url);
            record.ledger.check(&Daemon::new(host, &trust)?, name, &requests, &sent).await;
        }
    }
    Ok(Report::new(judging, record, baseline.as_ref(), None))
}
