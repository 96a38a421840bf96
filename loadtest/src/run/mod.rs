mod capacity;
mod dashboard;
mod ending;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use chrono::Utc;
use goose::{config::GooseConfiguration, prelude::*};
use model::{Hour, Timestamp};
use thiserror::Error;
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) use self::capacity::{Capacity, CapacitySettings};
use self::dashboard::{Dashboard, DashboardError};
use crate::{
    baseline::{Baseline, BaselineError},
    checks::{
        before::Begin,
        bounds::{Rules, Strangers},
        daemon::{AskError, Daemon, causes},
        ledger::Ledger,
        verdict::Verdict,
    },
    generator::Watch,
    hosts::{Host, Hosts},
    logging, progress,
    record::{Record, RunSettings},
    recorder::Recorder,
    report::{self, Report},
    requests::Requests,
    settings::Settings,
    traffic::{Choices, Counter, Counters, Messages, Retries, Source, Sources, Traffic, scenario},
    trust::{Trust, TrustError},
    workload::{
        mix::{Mix, PlannedEvent},
        plan::{Load, Side, Step},
        replay::{Replay, ReplayError},
        schedule::Schedule,
        sites::{SiteHour, Sites},
        visitors::Names,
    },
};

const DEFAULT_RUN_TIME: Duration = Duration::from_secs(20);
const DEFAULT_COMPARISON_TIME: Duration = Duration::from_mins(2);
/// The longest search of a capacity.
const DEFAULT_SEARCH_TIME: Duration = Duration::from_mins(30);
/// How long a replay continues after its last event is due.
const AFTER_THE_LAST: Duration = Duration::from_secs(1);

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
        AskError::NoAnswer { .. } | AskError::NoCounts { .. } => {
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
    let Prepared { source, requests, plan, hours } = prepare(&settings)?;
    let schedule = Schedule::new(plan);
    let run_time =
        if settings.capacity.is_some() { settings.run_time.unwrap_or(DEFAULT_SEARCH_TIME) } else { schedule.lasts() };
    let longest = run_time.saturating_add(schedule.launch());
    let strangers = if matches!(requests.names, Names::Own(_)) { Strangers::All } else { Strangers::Perhaps };
    let rules = Rules { strangers, shared: settings.shared, part: settings.part };
    let begin = Begin { requests: &requests, rules };
    let counters = counters(&begin, &settings, &trust, hours).await?;
    let traffic = Arc::new(Traffic {
        source,
        messages: Messages::new(&settings.sending, settings.retries > 0),
        retries: Retries::new(settings.retries),
        sources: Sources::new(settings.users),
        requests,
        schedule,
        counters,
        recorder: Recorder::new(run_time),
        freshness_every: settings.freshness_every,
        posts: AtomicU32::new(0),
        choices: Choices::new(settings.seed, settings.users),
    });

    logging::message(&format!(
        "{} users on {} for at most {} s; seed {}",
        settings.users,
        settings.told_hosts(),
        run_time.as_secs(),
        settings.seed
    ));
    let mut configuration = configuration(&settings, longest);
    let dashboard = settings.dashboard.map(Dashboard::new).transpose()?;
    if let Some(dashboard) = &dashboard {
        dashboard.configure(&mut configuration);
        logging::message(&format!("dashboard: {}", dashboard.link()));
    }
    let began_at = Utc::now();
    let ending = tokio::spawn(ending::as_by_interrupt());
    let (early, ended_early) = oneshot::channel();
    let looking_ahead = tokio::spawn(ending::if_hopeless(Arc::clone(&traffic), settings.judging.gates.clone(), early));
    let showing = tokio::spawn(progress::show(Arc::clone(&traffic), run_time));
    let attack = GooseAttack::initialize_with_config(configuration).map_err(Box::new)?;
    let search = settings
        .capacity
        .clone()
        .map(|capacity| tokio::spawn(capacity::find(Arc::clone(&traffic), capacity, settings.judging.gates.clone())));
    let closing =
        dashboard.is_some().then(|| tokio::spawn(dashboard::end_without_waiting(Arc::clone(&traffic), run_time)));
    let watch = Watch::begin();
    let apart = logging::StandardOutputApart::begin();
    let outcome = Box::pin(attack.register_scenario(scenario(&traffic, &trust)).execute()).await;
    let lasted = traffic.schedule.elapsed().min(run_time);
    let plan = traffic.schedule.done();
    let generator = watch.end().await;
    traffic.schedule.end();
    let capacity = match search {
        Some(search) => search.await.ok(),
        None => None,
    };
    showing.abort();
    ending.abort();
    looking_ahead.abort();
    closing.iter().for_each(JoinHandle::abort);
    drop(apart);
    progress::clear();
    let goose_failed = match outcome.map_err(Box::new) {
        Ok(_) => None,
        Err(error) if traffic.schedule.has_begun() => Some(RunError::GooseEnd(error)),
        Err(error) => return Err(error.into()),
    };

    let mut ledger = Verdict::of(rules, traffic.counters.ledgers());
    let hosts: Vec<(&Host, &Ledger)> = traffic.counters.hosts().collect();
    for (host, of_its_counter) in &hosts {
        let name = (hosts.len() > 1).then_some(&*host.url);
        ledger.check(&Daemon::new(host, &trust)?, name, &traffic.requests, &of_its_counter.all_sent()).await;
    }
    let record = Record {
        runs: vec![RunSettings::new(&settings)],
        began_at,
        ended_early: ended_early.await.ok(),
        lasted_seconds: lasted.as_secs_f64(),
        plan,
        measured: traffic.recorder.lock().clone(),
        retries_made: traffic.retries.made(),
        ledger,
        generator,
        capacity,
    };
    let comparison = settings.compare_host.as_ref().map(|host| record.compare_sides(&host.url));
    let report = Report::new(settings.judging, record, baseline.as_ref(), comparison);
    Ok(Judged { report, failed: goose_failed })
}

/// Makes a ledger of each counter.
async fn counters(
    begin: &Begin<'_>,
    settings: &Settings,
    trust: &Trust,
    hours: Vec<SiteHour>,
) -> Result<Counters, RunError> {
    let new = daemons(&settings.hosts, trust)?;
    let ledger = Arc::new(begin.ledger(&new, hours.clone()).await?);
    let counter = |hosts, ledger| Counter { hosts: Hosts::new(hosts), ledger };
    let mut counters = Counters { new: counter(settings.hosts.clone(), Arc::clone(&ledger)), old: None };
    if let Some(host) = &settings.compare_host {
        let old = daemons(std::slice::from_ref(host), trust)?;
        // What others write is no sign. Each of two ledgers without an upper bound is right whatever the other does.
        let is_one = !settings.shared && begin.is_one_counter(&new[0], &old[0], &ledger).await?;
        let ledger = if is_one { ledger } else { Arc::new(begin.ledger(&old, hours).await?) };
        counters.old = Some(counter(vec![host.clone()], ledger));
    }
    Ok(counters)
}

fn daemons(hosts: &[Host], trust: &Trust) -> Result<Vec<Daemon>, RunError> {
    Ok(hosts.iter().map(|host| Daemon::new(host, trust)).collect::<Result<_, _>>()?)
}

struct Prepared {
    source: Source,
    requests: Requests,
    plan: Vec<Step>,
    hours: Vec<SiteHour>,
}

fn prepare(settings: &Settings) -> Result<Prepared, RunError> {
    let now = Timestamp::now();
    if let Some(replay) = &settings.replay {
        let Replay { events, times, names, sites, skipped } = Replay::read(replay, now)?;
        let span = times.last().copied().unwrap_or_default();
        logging::message(&format!(
            "replaying {} events within {} s; skipped {skipped} lines without an event",
            events.len(),
            span.as_secs()
        ));
        let mut hours: Vec<SiteHour> = events.iter().map(PlannedEvent::hour).collect();
        hours.sort_unstable();
        hours.dedup();
        return Ok(Prepared {
            source: Source::Events(events),
            requests: Requests { names, sites },
            plan: vec![Step {
                lasts: settings.run_time.unwrap_or(span + AFTER_THE_LAST),
                load: Load::Times { after: times },
                side: Side::New,
            }],
            hours,
        });
    }
    let plan = plan(settings);
    let run_time = plan.iter().map(|step| step.lasts).sum();
    // Names that only this run uses make the number of users exact.
    let names = Names::Own(format!("load-{:016x}", rand::random::<u64>()));
    let mut sites: Vec<_> = settings.mix.sites.iter().cloned().map(Some).collect();
    if sites.is_empty() {
        sites.push(None);
    }
    let sites = Sites::new(sites);
    let hours = around(Hour::containing(now), settings.mix.past_hours, run_time);
    let of_site = |site| hours.iter().map(move |&hour| SiteHour { site, hour });
    Ok(Prepared {
        hours: sites.all().flat_map(of_site).collect(),
        source: Source::Mix(Mix::new(settings.mix.clone())),
        requests: Requests { names, sites },
        plan,
    })
}

/// Empty if steps are added while the run goes on.
fn plan(settings: &Settings) -> Vec<Step> {
    if settings.capacity.is_some() {
        return Vec::new();
    }
    if !settings.stages.is_empty() {
        return settings.stages.clone();
    }
    if settings.compare_host.is_some() {
        return rounds(settings);
    }
    let run_time = settings.run_time.unwrap_or(DEFAULT_RUN_TIME);
    vec![steady(settings, run_time)]
}

/// The two hosts take turns. Each pair of rounds begins with the other one, so that neither is always first.
fn rounds(settings: &Settings) -> Vec<Step> {
    let lasts = settings.run_time.unwrap_or(DEFAULT_COMPARISON_TIME) / (2 * settings.rounds);
    let round = |side| Step { side, ..steady(settings, lasts) };
    let pair = |number: u32| if number.is_multiple_of(2) { [Side::Old, Side::New] } else { [Side::New, Side::Old] };
    (0..settings.rounds).flat_map(pair).map(round).collect()
}

fn steady(settings: &Settings, lasts: Duration) -> Step {
    settings.rate.map_or_else(|| Step::of_users(lasts, settings.users), |rate| Step::of_rate(lasts, rate))
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
    let report = settings.judging.outputs.report_dir.as_ref().map(|dir| dir.join(report::GOOSE).display().to_string());
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(settings.hosts[0].url.clone());
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
