//! What a run needs before its first request: what it sends, when, and what the daemon counts already.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use model::{Hour, Timestamp};

use super::{RunError, capacity, rounds};
use crate::{
    checks::{
        before::Begin,
        bounds::{Rules, Strangers},
        daemon::Daemon,
    },
    hosts::{Host, Hosts},
    logging,
    measured::latencies::Precision,
    recorder::Recorder,
    requests::Requests,
    settings::{Comparing, Settings},
    traffic::{Choices, Counter, Counters, Messages, Retries, Source, Sources, Traffic},
    trust::Trust,
    workload::{
        mix::{Mix, PlannedEvent},
        plan::{Load, Side, Step},
        replay::Replay,
        schedule::Schedule,
        sites::{SiteHour, Sites},
        visitors::Names,
    },
};

const DEFAULT_RUN_TIME: Duration = Duration::from_secs(20);
/// How long a replay continues after its last event is due.
const AFTER_THE_LAST: Duration = Duration::from_secs(1);

pub(super) struct Prepared {
    pub(super) traffic: Traffic,
    /// The longest.
    pub(super) run_time: Duration,
    pub(super) rules: Rules,
}

pub(super) async fn prepare(settings: &Settings, trust: &Trust) -> Result<Prepared, RunError> {
    let Sending { source, requests, plan, hours } = what_to_send(settings)?;
    let schedule = Schedule::new(plan);
    // A plan to which steps are added while the run goes on has no end of its own.
    let longest = match (&settings.capacity, &settings.comparing) {
        (Some(_), _) => Some(capacity::LONGEST),
        (None, Some(_)) => Some(rounds::LONGEST),
        (None, None) => None,
    };
    let run_time = longest.map_or_else(|| schedule.lasts(), |longest| settings.run_time.unwrap_or(longest));
    let strangers = if matches!(requests.names, Names::Own(_)) { Strangers::All } else { Strangers::Perhaps };
    let rules = Rules { strangers, shared: settings.shared, part: settings.part };
    let counters = counters(&Begin { requests: &requests, rules }, settings, trust, hours).await?;
    // A comparison has many steps, and takes medians of them.
    let precision = if settings.comparing.is_some() { Precision::Coarse } else { Precision::Fine };
    let traffic = Traffic {
        source,
        messages: Messages::new(&settings.sending, settings.retries > 0),
        retries: Retries::new(settings.retries),
        sources: Sources::new(settings.users),
        requests,
        schedule,
        counters,
        recorder: Recorder::new(precision),
        freshness_every: settings.freshness_every,
        posts: AtomicU32::new(0),
        choices: Choices::new(settings.seed, settings.users),
    };
    Ok(Prepared { traffic, run_time, rules })
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
    if let Some(Comparing { host, .. }) = &settings.comparing {
        let old = daemons(std::slice::from_ref(host), trust)?;
        let is_one = begin.is_one_counter(&new[0], &old[0], &ledger).await?;
        let ledger = if is_one { ledger } else { Arc::new(begin.ledger(&old, hours).await?) };
        counters.old = Some(counter(vec![host.clone()], ledger));
    }
    Ok(counters)
}

fn daemons(hosts: &[Host], trust: &Trust) -> Result<Vec<Daemon>, RunError> {
    Ok(hosts.iter().map(|host| Daemon::new(host, trust)).collect::<Result<_, _>>()?)
}

struct Sending {
    source: Source,
    requests: Requests,
    plan: Vec<Step>,
    hours: Vec<SiteHour>,
}

fn what_to_send(settings: &Settings) -> Result<Sending, RunError> {
    let now = Timestamp::now();
    if let Some(replay) = &settings.replay {
        let Replay { events, times, names, sites, skipped } = Replay::read(replay, now)?;
        let span = times.last().copied().unwrap_or_default();
        logging::message(&format!(
            "replaying {} events within {} s; skipped {skipped} lines without an event",
            events.len(),
            span.as_secs()
        ));
        let mut hours: Vec<SiteHour> = events.iter().map(PlannedEvent::hour).flat_map(with_neighbours).collect();
        hours.sort_unstable();
        hours.dedup();
        return Ok(Sending {
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
    let names = Names::of_a_run();
    let mut sites: Vec<_> = settings.mix.sites.iter().cloned().map(Some).collect();
    if sites.is_empty() {
        sites.push(None);
    }
    let sites = Sites::new(sites);
    let hours = around(Hour::containing(now), settings.mix.past_hours, run_time);
    let of_site = |site| hours.iter().map(move |&hour| SiteHour { site, hour });
    Ok(Sending {
        hours: sites.all().flat_map(of_site).collect(),
        source: Source::Mix(Box::new(Mix::new(settings.mix.clone()))),
        requests: Requests { names, sites },
        plan,
    })
}

/// An event in the hour before or after would be in the wrong one.
fn with_neighbours(SiteHour { site, hour }: SiteHour) -> impl Iterator<Item = SiteHour> {
    let hours = hour.previous().into_iter().chain([hour]).chain(hour.next());
    hours.map(move |hour| SiteHour { site, hour })
}

/// Empty if steps are added while the run goes on.
fn plan(settings: &Settings) -> Vec<Step> {
    if settings.capacity.is_some() || settings.comparing.is_some() {
        return Vec::new();
    }
    if !settings.stages.is_empty() {
        return settings.stages.clone();
    }
    let run_time = settings.run_time.unwrap_or(DEFAULT_RUN_TIME);
    vec![steady(settings, run_time)]
}

pub(super) fn steady(settings: &Settings, lasts: Duration) -> Step {
    settings.rate.map_or_else(|| Step::of_users(lasts, settings.users), |rate| Step::of_rate(lasts, rate))
}

/// The past hours of a mix, the current one, and those that may begin before the run ends.
fn around(current: Hour, past: u32, run_time: Duration) -> Vec<Hour> {
    let later = usize::try_from(run_time.as_secs() / 3_600).unwrap_or_default() + 1;
    let before = std::iter::successors(current.previous(), |hour| hour.previous()).take(past as usize);
    let after = std::iter::successors(Some(current), |hour| hour.next()).take(1 + later);
    before.chain(after).collect()
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
