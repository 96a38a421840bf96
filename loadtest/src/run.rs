use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use chrono::Utc;
use goose::{config::GooseConfiguration, prelude::*};
use model::{Hour, Timestamp};
use reqwest::header::HeaderValue;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    checks::{
        ledger::{Ledger, Strangers},
        verdict::{AskError, Daemon},
    },
    logging, progress,
    recorder::Recorder,
    report::{self, Report},
    settings::Settings,
    traffic::{Choices, Retries, Source, Traffic, scenario},
    workload::{
        mix::{Mix, PlannedEvent},
        replay::{Replay, ReplayError},
        schedule::{Pace, Schedule},
        visitors::Names,
    },
};

const DEFAULT_RUN_TIME: Duration = Duration::from_secs(20);
/// How long a replay continues after its last event is due.
const AFTER_THE_LAST: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("{error}{advice}", error = .0, advice = advice(.0))]
    NoDaemon(#[from] AskError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("cannot write to {0}: {1}; give a writable folder as --report-dir")]
    ReportDir(PathBuf, #[source] std::io::Error),
    #[error("the load generator could not start: {0:?}")]
    Goose(#[from] Box<GooseError>),
    /// It had made requests by then.
    #[error("the load generator failed at its end: {0:?}")]
    GooseEnd(Box<GooseError>),
    #[error("cannot make HTTP requests: {0}")]
    Client(#[from] reqwest::Error),
}

fn advice(error: &AskError) -> &'static str {
    match error {
        AskError::Tls { .. } => {
            "; https:// is for a server with a certificate that this machine trusts and that names this host; analyticsd \
             itself speaks http://"
        }
        AskError::NoAnswer { .. } | AskError::NoCounts { .. } => {
            "; is analyticsd running? Start it with `analyticsd --embedded`, or point --host at it"
        }
    }
}

pub(crate) struct Judged {
    pub(crate) report: Report,
    /// Why a report could not be written. The verdict holds all the same.
    pub(crate) unwritten: Option<RunError>,
}

pub(crate) async fn run(settings: Settings) -> Result<Judged, RunError> {
    if let Some(dir) = &settings.outputs.report_dir {
        report::prepare(dir).map_err(|error| RunError::ReportDir(dir.clone(), error))?;
    }
    let authorization = settings.authorization.as_deref().map(authorization);
    let daemon = Daemon::new(&settings.host, authorization.clone())?;
    let Prepared { source, names, pace, run_time, hours } = prepare(&settings)?;
    let longest = run_time.saturating_add(pace.launch());
    let strangers = if matches!(names, Names::Own(_)) { Strangers::All } else { Strangers::Perhaps };
    let traffic = Arc::new(Traffic {
        source,
        retries: Retries::new(settings.retries, authorization),
        names,
        schedule: Schedule::new(pace, run_time),
        ledger: Ledger::new(daemon.counts_of(&hours).await?, strangers, settings.shared),
        recorder: Recorder::new(run_time),
        freshness_every: settings.freshness_every,
        posts: AtomicU32::new(0),
        choices: Choices::new(settings.seed, settings.users),
    });

    logging::message(&format!(
        "{} users on {} for at most {} s; seed {}",
        settings.users,
        settings.host,
        run_time.as_secs(),
        settings.seed
    ));
    let began_at = Utc::now();
    let ending = tokio::spawn(end_as_by_interrupt());
    let showing = tokio::spawn(progress::show(Arc::clone(&traffic), run_time));
    let attack = GooseAttack::initialize_with_config(configuration(&settings, longest)).map_err(Box::new)?;
    let apart = logging::StandardOutputApart::begin();
    let outcome = Box::pin(attack.register_scenario(scenario(&traffic)).execute()).await;
    let lasted = traffic.schedule.elapsed().min(run_time);
    showing.abort();
    ending.abort();
    drop(apart);
    progress::clear();
    let goose_failed = match outcome.map_err(Box::new) {
        Ok(_) => None,
        Err(error) if traffic.schedule.has_begun() => Some(RunError::GooseEnd(error)),
        Err(error) => return Err(error.into()),
    };

    let ledger = daemon.verify(&traffic.ledger).await;
    let report = Report::new(settings, &traffic, ledger, began_at, lasted);
    let write = |dir: &Path| report.write(dir).map_err(|error| RunError::ReportDir(dir.to_owned(), error)).err();
    let unwritten = goose_failed.or(report.dir().and_then(write));
    Ok(Judged { report, unwritten })
}

/// A service manager and CI end a program by SIGTERM. Goose knows only Ctrl-C, so one becomes the other.
async fn end_as_by_interrupt() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    while terminate.recv().await.is_some() {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT);
    }
}

fn authorization(value: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(value).expect("a token, and Base64, are visible ASCII");
    value.set_sensitive(true);
    value
}

struct Prepared {
    source: Source,
    names: Names,
    pace: Pace,
    run_time: Duration,
    hours: Vec<Hour>,
}

fn prepare(settings: &Settings) -> Result<Prepared, RunError> {
    let now = Timestamp::now();
    if let Some(replay) = &settings.replay {
        let Replay { events, times, names, skipped } = Replay::read(replay, now)?;
        let span = times.last().copied().unwrap_or_default();
        logging::message(&format!(
            "replaying {} events within {} s; skipped {skipped} lines without an event",
            events.len(),
            span.as_secs()
        ));
        let mut hours: Vec<Hour> = events.iter().map(PlannedEvent::hour).collect();
        hours.dedup();
        return Ok(Prepared {
            source: Source::Events(events),
            names,
            pace: Pace::Times(times),
            run_time: settings.run_time.unwrap_or(span + AFTER_THE_LAST),
            hours,
        });
    }
    let run_time = settings.run_time.unwrap_or(DEFAULT_RUN_TIME);
    // Names that only this run uses make the number of users exact.
    let names = Names::Own(format!("load-{:016x}", rand::random::<u64>()));
    Ok(Prepared {
        source: Source::Mix(Mix::new(settings.mix.clone())),
        names,
        pace: settings.rate.map_or(Pace::Closed, Pace::Rate),
        run_time,
        hours: around(Hour::containing(now), settings.mix.past_hours, run_time),
    })
}

/// The past hours of a mix, the current one, and those that may begin before the run ends.
fn around(current: Hour, past: u32, run_time: Duration) -> Vec<Hour> {
    let later = usize::try_from(run_time.as_secs() / 3_600).unwrap_or_default() + 1;
    let before = std::iter::successors(current.previous(), |hour| hour.previous()).take(past as usize);
    let after = std::iter::successors(Some(current), |hour| hour.next()).take(1 + later);
    before.chain(after).collect()
}

/// Goose's own settings; this program's flags decide the rest.
fn configuration(settings: &Settings, longest: Duration) -> GooseConfiguration {
    let report = settings.outputs.report_dir.as_ref().map(|dir| dir.join(report::GOOSE).display().to_string());
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(settings.host.clone());
    configuration.users = Some(settings.users as usize);
    // All users within a second.
    configuration.increase_rate = Some(settings.users.to_string());
    // The schedule ends the run; goose, which counts whole seconds from when all users are there, must not end it
    // before.
    configuration.run_time = Some(format!("{}s", longest.as_secs_f64().ceil()));
    configuration.report_file = report.into_iter().collect();
    // Goose would listen on a fixed port, so that only one run at a time could work.
    configuration.no_telnet = true;
    configuration.no_reset_metrics = true;
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.quiet = 2;
    configuration
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Hour, Timestamp};

    use super::around;

    #[test]
    fn the_hours_of_a_mix_reach_from_the_oldest_past_one_to_those_that_begin_during_the_run() {
        let current = Hour::containing(Timestamp::from_millis(100 * 3_600_000).unwrap());
        let back = |hour: &Hour| (current.start().millis() - hour.start().millis()) / 3_600_000;
        let mut hours: Vec<i64> = around(current, 3, Duration::from_hours(2)).iter().map(back).collect();
        hours.sort_unstable();
        assert_eq!(hours, [-3, -2, -1, 0, 1, 2, 3]);
    }
}
