//! Lets goose make the requests, and looks after it.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use goose::{config::GooseConfiguration, prelude::*};
use tokio::task::JoinHandle;

use super::{
    Capacity, RunError, capacity,
    dashboard::{self, Dashboard},
    ending, looks,
    prepare::steady,
    rounds,
};
use crate::{
    generator::{Generator, Watch},
    logging, progress, report,
    settings::Settings,
    traffic::{Traffic, scenario},
    trust::Trust,
    workload::schedule::Done,
};

/// What came of it, besides what the traffic knows.
pub(super) struct Driven {
    pub(super) began_at: DateTime<Utc>,
    /// Why.
    pub(super) ended_early: Option<String>,
    /// How long requests were made.
    pub(super) lasted: Duration,
    pub(super) plan: Vec<Done>,
    pub(super) generator: Generator,
    /// If it was looked for.
    pub(super) capacity: Option<Capacity>,
    /// Why goose failed at its end.
    pub(super) failed: Option<RunError>,
}

pub(super) async fn drive(
    settings: &Settings,
    traffic: &Arc<Traffic>,
    trust: &Trust,
    run_time: Duration,
) -> Result<Driven, RunError> {
    logging::message(&format!(
        "{} users on {} for at most {} s; seed {}",
        settings.users,
        settings.told_hosts(),
        run_time.as_secs(),
        settings.seed
    ));
    let mut configuration = configuration(settings, run_time.saturating_add(traffic.schedule.launch()));
    let dashboard = settings.dashboard.map(Dashboard::new).transpose()?;
    if let Some(dashboard) = &dashboard {
        dashboard.configure(&mut configuration);
        logging::message(&format!("dashboard: {}", dashboard.link()));
    }
    let attack = GooseAttack::initialize_with_config(configuration).map_err(Box::new)?;
    let began_at = Utc::now();
    let gates = &settings.judging.gates;
    let mut meanwhile = vec![
        tokio::spawn(ending::by_a_signal(Arc::clone(traffic))),
        tokio::spawn(ending::if_hopeless(Arc::clone(traffic), gates.clone())),
        tokio::spawn(progress::show(Arc::clone(traffic), run_time)),
    ];
    if settings.part {
        meanwhile.push(tokio::spawn(looks::look(Arc::clone(traffic), looks::daemons(traffic, trust)?)));
    }
    if dashboard.is_some() {
        meanwhile.push(tokio::spawn(dashboard::end_without_waiting(Arc::clone(traffic), run_time)));
    }
    if let Some(comparing) = settings.comparing.clone() {
        let round = steady(settings, comparing.round);
        meanwhile.push(tokio::spawn(rounds::take_turns(Arc::clone(traffic), comparing, round, gates.clone())));
    }
    let search = settings
        .capacity
        .clone()
        .map(|capacity| tokio::spawn(capacity::find(Arc::clone(traffic), capacity, gates.clone())));
    let watch = Watch::begin();
    let apart = logging::StandardOutputApart::begin();
    let outcome = Box::pin(attack.register_scenario(scenario(traffic, trust)).execute()).await;
    traffic.schedule.end();
    let lasted = traffic.schedule.elapsed().min(run_time);
    let plan = traffic.schedule.done();
    let generator = watch.end().await;
    let capacity = match search {
        Some(search) => search.await.ok(),
        None => None,
    };
    meanwhile.iter().for_each(JoinHandle::abort);
    drop(apart);
    progress::clear();
    let failed = match outcome.map_err(Box::new) {
        Ok(_) => None,
        Err(error) if traffic.schedule.has_begun() => Some(RunError::GooseEnd(error)),
        Err(error) => return Err(error.into()),
    };
    let ended_early = traffic.schedule.ended_early().map(str::to_owned);
    Ok(Driven { began_at, ended_early, lasted, plan, generator, capacity, failed })
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
