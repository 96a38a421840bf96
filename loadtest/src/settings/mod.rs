//! The command line, and how it becomes checked [`Settings`]: `values` reads numbers and times, the others what their
//! names say.

mod capacity;
mod comparing;
mod dashboard;
mod gates;
mod judging;
mod merging;
mod mix;
mod outputs;
mod pipeline;
mod replay;
mod sending;
mod sites;
mod stages;
mod target;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
use serde::{Serialize, Serializer};

#[cfg(test)]
pub(crate) use self::mix::contract_mix;
use self::{
    capacity::CapacityArgs,
    comparing::ComparingArgs,
    dashboard::DashboardArgs,
    gates::Unless,
    judging::JudgingArgs,
    merging::MergeArgs,
    mix::MixArgs,
    replay::ReplayArgs,
    stages::{Stage, steps},
    target::TargetArgs,
    values::run_time,
};
pub(crate) use self::{
    comparing::Comparing,
    judging::Judging,
    merging::MergeSettings,
    pipeline::Pipeline,
    sending::{PublicKey, Sending},
};
use crate::{
    checks::gates::{Figure, Gate, Gates},
    hosts::Host,
    run::CapacitySettings,
    workload::{
        kind::{Kind, Method},
        mix::MixSettings,
        plan::{Load, Step},
        replay::ReplaySettings,
    },
};

const EXAMPLES: &str = "Examples:
  loadtest --users 8 --run-time 20s --max-p99-ms 100 --max-error-rate 0
  loadtest --stages 30s:500,2m:2000,30s:0 --report-dir report
  loadtest --find-capacity --max-p99-ms 100
  loadtest --host http://new:8080 --compare-host http://old:8080 --max-p99-ratio 1.1
  loadtest --replay access.log --own-host www.example.org";

const MORE: &str = "--help says more about each option, about gates and about exit codes.";

const EXIT_CODES: &str = "Exit codes: 0 if everything was counted and every gate was met; 1 if not; 2 if there was no run, or its reports could not be \
                  written. Ctrl-C or SIGTERM ends a run early: the requests in flight get up to a minute to finish, and the verdict is on what was \
                  done. A second Ctrl-C ends the run at once, without a verdict, with exit code 1.\n\n\
                  A gate is a number for all requests together, or KIND=NUMBER for some of them: post, get, batch, source, pixel, script, current, past, or a \
                  combination as in post-past. @STEP=NUMBER or KIND@STEP=NUMBER is for a step of --stages.";

/// Loads a running analyticsd with realistic traffic, and checks whether every acknowledged event was counted, once,
/// and seen by every later read.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = format!("{EXAMPLES}\n\n{MORE}"),
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}")
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    target: TargetArgs,

    /// The number of simulated users [default: 64; 500 with --find-capacity].
    ///
    /// Each makes its next request when the last one is answered.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: Option<u32>,

    /// The longest run time, such as 20s or 5min, up to 24h [default: 20s; a replay: to the end of its file;
    /// --find-capacity: 30min].
    #[arg(long, value_name = "DURATION", value_parser = run_time)]
    run_time: Option<Duration>,

    /// Make requests at this rate per second, whatever the answers take.
    ///
    /// Latency counts from the time at which a request was due. If all users are busy, requests are late; a run that
    /// made fewer than 99 % of them fails.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "replay")]
    rate: Option<u32>,

    /// Change the rate in stages, each DURATION:RATE: within this time from the rate before to this one, evenly, which
    /// is 0 at the beginning.
    ///
    /// 30s:500,2m:2000,30s:0 goes up to 500 a second, on to 2,000, and down again.
    #[arg(long, value_name = "STAGES", value_delimiter = ',', conflicts_with_all = ["rate", "run_time", "replay"])]
    stages: Vec<Stage>,

    /// The same for users: each stage is DURATION:USERS.
    ///
    /// --users does not count then.
    #[arg(long, value_name = "STAGES", value_delimiter = ',', conflicts_with_all = ["stages", "rate", "run_time", "replay", "users"])]
    user_stages: Vec<Stage>,

    /// Repeat the choices of a run with this seed: with --rate those of each request, otherwise those of each user.
    ///
    /// Whether an event is a click depends on the time alone.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Other clients write to the same hours: check only that no acknowledged event is missing, not that there are no
    /// others.
    #[arg(long)]
    shared: bool,

    /// Other runs send events at the same time, such as from other machines.
    ///
    /// Each must have this flag, and `loadtest merge` judges their reports together: alone, a run cannot know whether
    /// there are too many events.
    #[arg(long, requires = "report_dir", conflicts_with_all = ["find_capacity", "compare_host"])]
    part: bool,

    /// After one POST in this many, and after each for a past hour, get the hour at once and measure how long it takes
    /// until the event is seen; 0 for never.
    #[arg(long, default_value_t = 100, value_name = "N")]
    freshness_every: u32,

    /// Retry a request up to this many times if its connection broke or the answer was 502, 503 or 504.
    ///
    /// Events then have idempotency keys. Only a request that fails in the end is an error, and latency counts from the
    /// first try.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    retries: u32,

    #[command(flatten)]
    dashboard: DashboardArgs,

    #[command(flatten, next_help_heading = "The mix")]
    mix: MixArgs,

    #[command(flatten, next_help_heading = "How events are sent")]
    sending: Sending,

    #[command(flatten, next_help_heading = "Replay of a file")]
    replay: ReplayArgs,

    #[command(flatten, next_help_heading = "Capacity")]
    capacity: CapacityArgs,

    #[command(flatten, next_help_heading = "Another run to compare with")]
    comparing: ComparingArgs,

    #[command(flatten)]
    judging: JudgingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Merge(MergeArgs),
}

/// What this program is asked to do.
#[derive(Debug)]
pub(crate) enum Asked {
    Run(Box<Settings>),
    Merge(Box<MergeSettings>),
}

impl Asked {
    pub(crate) fn judging(&self) -> &Judging {
        match self {
            Self::Run(settings) => &settings.judging,
            Self::Merge(settings) => &settings.judging,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) hosts: Vec<Host>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) users: u32,
    #[serde(rename = "run_time_seconds", serialize_with = "seconds")]
    pub(crate) run_time: Option<Duration>,
    /// Requests a second.
    pub(crate) rate: Option<u32>,
    #[serde(skip)]
    pub(crate) stages: Vec<Step>,
    #[serde(skip)]
    are_stages_given: bool,
    pub(crate) seed: u64,
    pub(crate) shared: bool,
    pub(crate) part: bool,
    /// One POST in this many is followed by a GET; 0: none.
    pub(crate) freshness_every: u32,
    pub(crate) retries: u32,
    pub(crate) sending: Sending,
    pub(crate) mix: MixSettings,
    pub(crate) replay: Option<ReplaySettings>,
    pub(crate) capacity: Option<CapacitySettings>,
    pub(crate) comparing: Option<Comparing>,
    /// Where the dashboard listens. None without one.
    #[serde(skip)]
    pub(crate) dashboard: Option<SocketAddr>,
    #[serde(skip)]
    pub(crate) judging: Judging,
}

impl Settings {
    /// What no single flag says: a run that cannot be made or cannot pass is refused before it begins.
    fn check(&self) -> Result<(), String> {
        let Gates { all, .. } = &self.judging.gates;
        let last_step = match (&self.capacity, &self.comparing) {
            (None, None) => self.stages.len().max(1),
            _ => 0,
        };
        if let Some(gate) = all.iter().find(|gate| gate.part.step.is_some_and(|step| step >= last_step)) {
            return Err(format!(
                "there is no such step as in the gate on {gate}; accepted are the steps of --stages and --user-stages, from 1 on"
            ));
        }
        if self.are_stages_given && self.stages.is_empty() {
            return Err(
                "no stage lasts; accepted are stages of which one has a duration, such as 0s:500,30s:500".to_owned()
            );
        }
        let MixSettings { sites, site_shares, .. } = &self.mix;
        if !site_shares.is_empty() && site_shares.len() != sites.len() {
            return Err(format!(
                "there are {} numbers in --site-shares for {} sites; give one for each of the sites, in their order",
                site_shares.len(),
                sites.len()
            ));
        }
        if self.freshness_every == 0 && all.iter().any(|gate| gate.figure == Figure::SeenP99) {
            return Err(
                "--max-seen-p99-ms needs reads right after writes; give another number than 0 as --freshness-every"
                    .to_owned(),
            );
        }
        let sends = |gate: &&Gate| {
            Kind::ALL.into_iter().any(|kind| kind.method != Method::Get && gate.part.selection.holds(kind))
        };
        if let Some(gate) = all.iter().filter(|gate| gate.figure == Figure::SeenP99).find(|gate| !sends(gate)) {
            return Err(format!(
                "{} have no event to be seen, as the gate on {gate} needs; accepted are kinds that send events",
                gate.part
            ));
        }
        if let Some(capacity) = &self.capacity {
            let lowest = all.iter().filter_map(Gate::latency_bound_ms).reduce(f64::min);
            let shortest = lowest.map_or(0.0, |lowest| lowest / 1_000.0 / capacity.precision);
            if capacity.step.as_secs_f64() < shortest {
                return Err(format!(
                    "within {} s a growing queue does not show that a bound of {} ms is exceeded; give {shortest:.0}s or more as \
                     --capacity-step, or a higher --capacity-precision",
                    capacity.step.as_secs_f64(),
                    lowest.unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    /// The hosts, in words.
    pub(crate) fn told_hosts(&self) -> String {
        let hosts = self.hosts.iter().map(|host| &*host.url).collect::<Vec<_>>().join(" and ");
        let beside = self.comparing.iter().map(|comparing| format!(", in turn with {}", comparing.host.url));
        std::iter::once(hosts).chain(beside).collect()
    }
}

impl Args {
    pub(crate) fn into_asked(mut self) -> Result<Asked, clap::Error> {
        let merging = self.command.take();
        let asked = self.target.check().and_then(|()| match merging {
            Some(Command::Merge(merging)) => merging.into_settings().map(Box::new).map(Asked::Merge),
            None => {
                let settings = self.into_settings();
                settings.check().map(|()| Asked::Run(Box::new(settings)))
            }
        });
        asked.map_err(|fault| Self::command().error(ErrorKind::ValueValidation, fault))
    }

    pub(crate) fn into_settings(self) -> Settings {
        let most_of_stages = self.user_stages.iter().map(|stage| stage.to).max();
        let users = most_of_stages.or(self.users).unwrap_or(if self.capacity.find_capacity { 500 } else { 64 });
        let mut stages = steps(&self.stages, |from, to| Load::Rate { from, to });
        stages.extend(steps(&self.user_stages, |from, to| Load::Users { from, to }));
        let unless = match (self.capacity.find_capacity, &self.comparing.compare_host) {
            (true, _) => Some(Unless::Capacity),
            (false, Some(_)) => Some(Unless::ComparedHost),
            (false, None) => None,
        };
        let mut judging = self.judging.into_settings(unless);
        judging.gates.min_capacity = self.capacity.min_capacity;
        let comparing = self.comparing.into_settings(|url| self.target.host(url));
        Settings {
            hosts: self.target.hosts(),
            ca_file: self.target.ca_file,
            users: users.max(1),
            are_stages_given: !self.stages.is_empty() || !self.user_stages.is_empty(),
            stages,
            run_time: self.run_time,
            rate: self.rate,
            dashboard: self.dashboard.dashboard,
            seed: self.seed.unwrap_or_else(rand::random),
            shared: self.shared,
            part: self.part,
            freshness_every: self.freshness_every,
            retries: self.retries,
            sending: self.sending,
            mix: self.mix.into(),
            replay: self.replay.into_settings(),
            comparing,
            capacity: self.capacity.into_settings(),
            judging,
        }
    }
}

pub(crate) fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Args;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_cannot_pass_is_refused_before_it_is_run() {
        let table: [(&[&str], &str); 6] = [
            (&["--max-p99-ms=@2=3"], "no such step"),
            (&["--stages=1s:1,1s:1", "--max-p99-ms=@3=3"], "no such step"),
            (&["--find-capacity", "--max-p99-ms=@1=3"], "no such step"),
            (&["--stages=0s:5"], "no stage lasts"),
            (&["--freshness-every=0", "--max-seen-p99-ms=3"], "--freshness-every"),
            (&["--find-capacity", "--capacity-step=1s", "--max-p99-ms=400"], "give 8s or more"),
        ];
        for (arguments, expected) in table {
            let arguments = ["loadtest"].iter().chain(arguments);
            let fault = Args::parse_from(arguments).into_settings().check().unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
        for arguments in [&["--find-capacity"][..], &["--stages=1s:1,1s:1", "--max-p99-ms=@2=3"], &[]] {
            let arguments = ["loadtest"].iter().chain(arguments);
            Args::parse_from(arguments).into_settings().check().unwrap();
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_what_is_accepted() {
        let table = [
            (["--post-share", "1.5"], "a number from 0 to 1"),
            (["--run-time", "0s"], "a duration from 1s to 24h"),
            (["--max-p99-ms", "put=3"], "KIND=NUMBER"),
            (["--max-error-rate=-1", "--shared"], "a share from 0 to 1"),
            (["--max-error-rate=5", "--shared"], "a share from 0 to 1"),
            (["--rate", "0"], "1..=1000000"),
            (["--speed-up", "2"], "--replay"),
            (["--dashboard=8080", "--shared"], "IP-ADDRESS:PORT, such as 127.0.0.1:8090"),
            (["--dashboard=localhost:8080", "--shared"], "IP-ADDRESS:PORT"),
            (["--replay=x", "--speed-up=1e-300"], "a number from 0.001 up"),
        ];
        for (arguments, expected) in table {
            let error = Args::try_parse_from(["loadtest"].iter().chain(&arguments)).unwrap_err().to_string();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
