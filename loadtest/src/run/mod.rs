//! Makes a run: `prepare` asks the daemon what it counts, `drive` lets goose make the requests, and what came of it is
//! judged. Meanwhile `capacity` or `rounds` decide what comes next, and `ending` whether it ends.

mod capacity;
mod dashboard;
mod drive;
mod ending;
mod looks;
mod prepare;
mod rounds;

use std::sync::Arc;

use goose::prelude::*;
use reqwest::StatusCode;
use thiserror::Error;

pub(crate) use self::capacity::{Capacity, CapacitySettings};
use self::{
    dashboard::DashboardError,
    drive::{Driven, drive},
    prepare::prepare,
};
use crate::{
    baseline::{Baseline, BaselineError},
    checks::{
        daemon::{AskError, Daemon, causes},
        verdict::Verdict,
    },
    record::{Record, RunSettings},
    report::{self, Report},
    settings::Settings,
    trust::{Trust, TrustError},
    workload::replay::ReplayError,
};

#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("{error}{advice}", error = .0, advice = advice(.0))]
    NoDaemon(#[from] AskError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    #[error(transparent)]
    Unwritable(#[from] report::Unwritable),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    #[error("a signal ended the run before its first request")]
    Ended,
    #[error("the load generator could not start: {0:?}")]
    Goose(#[from] Box<GooseError>),
    /// It had made requests by then.
    #[error("the load generator failed at its end: {0:?}")]
    GooseEnd(Box<GooseError>),
    #[error("cannot make HTTP requests: {cause}", cause = causes(.0))]
    Client(#[from] reqwest::Error),
}

fn advice(error: &AskError) -> &'static str {
    match error {
        AskError::Tls { .. } => {
            "; https:// is for a server with a certificate that names this host, and that this machine trusts or an \
             authority in --ca-file vouches for; analyticsd itself speaks http://"
        }
        AskError::NoSite { .. } => {
            ". Or start the daemon with --new-sites, and give a token that may write to all sites: then events make them"
        }
        AskError::Refused { status, .. } | AskError::Foreign { status, .. }
            if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(status) =>
        {
            "; give --token or ANALYTICS_TOKEN, with the scopes write and read"
        }
        AskError::Refused { status, .. } | AskError::Foreign { status, .. } if *status == StatusCode::NOT_FOUND => {
            "; the path in --host is wrong, or another server listens there"
        }
        AskError::Refused { .. } => "",
        AskError::NoAnswer { .. } | AskError::Foreign { .. } => {
            "; is analyticsd running? Start it with `analyticsd --embedded`, or point --host at it"
        }
    }
}

pub(crate) struct Judged {
    pub(crate) report: Report,
    /// What failed after the run. The verdict holds all the same.
    pub(crate) failed: Option<RunError>,
}

impl From<Report> for Judged {
    fn from(report: Report) -> Self {
        Self { report, failed: None }
    }
}

pub(crate) async fn run(settings: Settings) -> Result<Judged, RunError> {
    report::prepare(&settings.judging)?;
    let baseline = settings.judging.baseline.as_deref().map(Baseline::read).transpose()?;
    let trust = Trust::read(settings.ca_file.as_deref())?;
    let prepared = tokio::select! {
        prepared = prepare(&settings, &trust) => prepared?,
        () = ending::terminated() => return Err(RunError::Ended),
    };
    let traffic = Arc::new(prepared.traffic);
    let Driven { began_at, ended_early, lasted, plan, generator, capacity, failed } =
        drive(&settings, &traffic, &trust, prepared.run_time).await?;

    if ended_early.is_some() && plan.iter().all(|step| step.begun == 0) {
        return Err(RunError::Ended);
    }
    let mut ledger = Verdict::of(prepared.rules, traffic.counters.ledgers());
    let hosts: Vec<_> = traffic.counters.hosts().collect();
    for (host, of_its_counter) in &hosts {
        let name = (hosts.len() > 1).then_some(&*host.url);
        ledger.check(&Daemon::new(host, &trust)?, name, &traffic.requests, &of_its_counter.all_sent()).await;
    }
    let record = Record {
        runs: vec![RunSettings::new(&settings)],
        began_at,
        ended_early,
        lasted_seconds: lasted.as_secs_f64(),
        plan,
        measured: traffic.recorder.lock().clone(),
        retries_made: traffic.retries.made(),
        ledger,
        generator,
        capacity,
    };
    let comparison = settings.comparing.as_ref().map(|other| record.compare_sides(&other.host.url));
    let report = Report::new(settings.judging, record, baseline.as_ref(), comparison);
    Ok(Judged { report, failed })
}
