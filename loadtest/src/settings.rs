//! The command line, and how it becomes checked [`Settings`].

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{
    Parser,
    builder::{PossibleValuesParser, TypedValueParser},
};
use client::ServerUrl;
use event_files::{FormatChoice, Host, PageViewRules, Reading};
use model::{BearerTokenParser, GivenToken, wire::MAX_BATCH_EVENTS};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::workload::{kind::Selection, mix::MixSettings, replay::ReplaySettings};

/// Loads a running analyticsd with realistic traffic, and checks whether every acknowledged event was counted, once,
/// and seen by every later read.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 if everything was counted and every gate was met; 1 if not; 2 if there was no run, or its reports could not be \
                  written. Ctrl-C or SIGTERM ends a run early: the requests in flight get up to a minute to finish, and the verdict is on what was \
                  done. A second Ctrl-C ends the run at once, without a verdict, with exit code 1.\n\n\
                  A gate is a number for all requests together, or KIND=NUMBER for some of them: post, get, batch, current, past, or a \
                  combination as in post-past."
)]
pub(crate) struct Args {
    /// Where analyticsd listens: http://HOST:PORT, or with https where a proxy in front of it speaks TLS. A name and a
    /// password in it are for that proxy; --token takes their place.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    host: ServerUrl,

    /// The token for a daemon that requires one, with the scopes write and read. Other users of this machine can see
    /// flags in the process list: prefer the variable.
    #[arg(long, env = "ANALYTICS_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = BearerTokenParser)]
    token: Option<GivenToken>,

    /// The number of simulated users. Each makes its next request when the last one is answered.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: u32,

    /// The longest run time, such as 20s or 5min, up to 24h [default: 20s; a replay: to the end of its file].
    #[arg(long, value_name = "DURATION", value_parser = run_time)]
    run_time: Option<Duration>,

    /// Make requests at this rate per second, whatever the answers take. Latency counts from the time at which a
    /// request was due. If all users are busy, requests are late; a run that made fewer than 99 % of them fails.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "replay")]
    rate: Option<u32>,

    /// Repeat the choices of a run with this seed: with --rate those of each request, otherwise those of each user.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Other clients write to the same hours: check only that no acknowledged event is missing, not that there are no
    /// others.
    #[arg(long)]
    shared: bool,

    /// After one POST in this many, get its hour at once and measure how long it takes until the event is seen; 0 for
    /// never.
    #[arg(long, default_value_t = 100, value_name = "N")]
    freshness_every: u32,

    /// Retry a request up to this many times if its connection broke or the answer was 502, 503 or 504. Events then
    /// have idempotency keys. Only a request that fails in the end is an error, and latency counts from the first
    /// try.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    retries: u32,

    #[command(flatten, next_help_heading = "The mix")]
    mix: MixArgs,

    #[command(flatten, next_help_heading = "Replay of a file")]
    replay: ReplayArgs,

    #[command(flatten, next_help_heading = "Gates and reports")]
    judging: JudgingArgs,
}

#[derive(Debug, clap::Args)]
struct MixArgs {
    /// The share of requests that send events, from 0 to 1. The others get counts.
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", value_parser = share)]
    post_share: f64,

    /// The share of requests with events that are for the current hour.
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = share)]
    post_current: f64,

    /// The share of requests for counts that are for the current hour.
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = share)]
    get_current: f64,

    /// How many hours before the current one the other requests may be for.
    #[arg(long, default_value_t = 72, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    past_hours: u32,

    /// Of two past hours that are this many hours apart, the older one is half as likely.
    #[arg(long, default_value_t = 12.0, value_name = "HOURS", value_parser = half_life)]
    past_half_life: f64,

    /// The share of events that are clicks.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", value_parser = share)]
    click_share: f64,

    /// The number of visitors.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    visitors: u32,

    /// How unequally often visitors come: the exponent of Zipf's law; with 0 all come equally often.
    #[arg(long, default_value_t = 1.0, value_name = "EXPONENT", value_parser = skew)]
    zipf: f64,

    /// The share of requests with events that send a batch.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    batch_share: f64,

    /// The number of events in a batch.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH_EVENTS as i64))]
    batch_size: u32,
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// Send the events of this file instead of a mix, each when it is due. Their times are shifted so that the last
    /// one is now.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,

    /// The format of the file, as for `analytics-cli import`.
    #[arg(long, value_name = "FORMAT", default_value = "auto", requires = "replay",
          value_parser = PossibleValuesParser::new(FormatChoice::NAMES).try_map(|name| name.parse::<FormatChoice>()))]
    replay_format: FormatChoice,

    /// For logs: a host, without a leading www., whose pages lead to clicks. May be given several times.
    #[arg(long = "own-host", value_name = "HOST", requires = "replay")]
    own_hosts: Vec<Host>,

    /// How many seconds of the file are replayed in a second.
    #[arg(long, default_value_t = 3_600.0, value_name = "FACTOR", value_parser = speed_up, requires = "replay")]
    speed_up: f64,
}

#[derive(Debug, clap::Args)]
struct JudgingArgs {
    /// The highest p99 latency in milliseconds. A request without an answer counts as slower than all others, a
    /// refused one does not count. May be given several times.
    #[arg(long, value_name = "[KIND=]MS")]
    max_p99_ms: Vec<Gate>,

    /// The lowest rate of answered requests per second. May be given several times.
    #[arg(long, value_name = "[KIND=]N")]
    min_rps: Vec<Gate>,

    /// The highest share of requests, from 0 to 1, that are refused or not answered. May be given several times.
    #[arg(long, value_name = "[KIND=]SHARE")]
    max_error_rate: Vec<Gate>,

    /// Write report.json, throughput.svg, latency.svg and goose's own report, goose.html, to this folder. It is made
    /// if it does not exist.
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gate {
    pub(crate) selection: Selection,
    pub(crate) bound: f64,
}

#[derive(Debug, Error)]
#[error("accepted is a number from 0 up, or KIND=NUMBER such as get=10 or post-past=50")]
pub(crate) struct InvalidGate;

impl FromStr for Gate {
    type Err = InvalidGate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (selection, bound) = match text.split_once('=') {
            Some((kind, bound)) => (kind.parse().map_err(|_| InvalidGate)?, bound),
            None => (Selection::default(), text),
        };
        let bound: f64 = bound.parse().map_err(|_| InvalidGate)?;
        if bound.is_finite() && bound >= 0.0 { Ok(Self { selection, bound }) } else { Err(InvalidGate) }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    /// Without a slash at the end, and without name and password.
    pub(crate) host: String,
    /// The value of the header.
    #[serde(skip)]
    pub(crate) authorization: Option<String>,
    pub(crate) users: u32,
    #[serde(rename = "run_time_seconds", serialize_with = "seconds")]
    pub(crate) run_time: Option<Duration>,
    /// Requests a second.
    pub(crate) rate: Option<u32>,
    pub(crate) seed: u64,
    pub(crate) shared: bool,
    /// One POST in this many is followed by a GET; 0: none.
    pub(crate) freshness_every: u32,
    pub(crate) retries: u32,
    pub(crate) mix: MixSettings,
    pub(crate) replay: Option<ReplaySettings>,
    #[serde(skip)]
    pub(crate) gates: Gates,
    #[serde(skip)]
    pub(crate) report_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Gates {
    /// Milliseconds.
    pub(crate) max_p99_ms: Vec<Gate>,
    /// Answers a second.
    pub(crate) min_rps: Vec<Gate>,
    /// Share of requests.
    pub(crate) max_error_rate: Vec<Gate>,
}

impl Args {
    pub(crate) fn into_settings(self) -> Settings {
        let Self { host, token, users, run_time, rate, seed, shared, freshness_every, retries, mix, replay, judging } =
            self;
        let ReplayArgs { replay, replay_format, own_hosts, speed_up } = replay;
        let rules = PageViewRules { own_hosts, ..PageViewRules::default() };
        let reading = Reading { format: replay_format, rules, ..Reading::default() };
        let (host, of_host) = host.split();
        let JudgingArgs { max_p99_ms, min_rps, max_error_rate, report_dir } = judging;
        Settings {
            host: host.to_string(),
            authorization: token.and_then(|given| given.0).map(|token| token.authorization()).or(of_host),
            users,
            run_time,
            rate,
            seed: seed.unwrap_or_else(rand::random),
            shared,
            freshness_every,
            retries,
            mix: MixSettings {
                post_share: mix.post_share,
                post_current: mix.post_current,
                get_current: mix.get_current,
                past_hours: mix.past_hours,
                past_half_life_hours: mix.past_half_life,
                click_share: mix.click_share,
                visitors: mix.visitors,
                zipf: mix.zipf,
                batch_share: mix.batch_share,
                batch_size: mix.batch_size as usize,
            },
            replay: replay.map(|file| ReplaySettings { file, reading, speed_up }),
            gates: Gates { max_p99_ms, min_rps, max_error_rate },
            report_dir,
        }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

fn number(text: &str, accepted: &'static str, is_accepted: impl Fn(f64) -> bool) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && is_accepted(*number));
    number.ok_or_else(|| format!("accepted is {accepted}"))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 1", |share| (0.0..=1.0).contains(&share))
}

fn half_life(text: &str) -> Result<f64, String> {
    number(text, "a number of hours from 0.01 up", |hours| hours >= 0.01)
}

fn skew(text: &str) -> Result<f64, String> {
    number(text, "a number from 0 to 10", |skew| (0.0..=10.0).contains(&skew))
}

fn speed_up(text: &str) -> Result<f64, String> {
    number(text, "a number from 0.001 up", |factor| factor >= 0.001)
}

fn run_time(text: &str) -> Result<Duration, String> {
    let accepted = || "accepted is a duration from 1s to 24h, such as 20s or 5min".to_owned();
    let duration = humantime::parse_duration(text).map_err(|_| accepted())?;
    let bounds = Duration::from_secs(1)..=Duration::from_hours(24);
    if bounds.contains(&duration) { Ok(duration) } else { Err(accepted()) }
}

/// The default mix.
#[cfg(test)]
pub(crate) fn contract_mix() -> MixSettings {
    Args::parse_from(["loadtest"]).into_settings().mix
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Args;
    use crate::workload::kind::Kind;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_default_mix_is_the_contract_s() {
        let mix = super::contract_mix();
        assert_eq!((mix.post_share.to_bits(), mix.post_current.to_bits()), (0.5_f64.to_bits(), 0.95_f64.to_bits()));
        assert_eq!(mix.get_current.to_bits(), 0.95_f64.to_bits());
    }

    #[test]
    fn a_gate_is_a_number_or_a_kind_with_a_number() {
        let arguments = ["loadtest", "--max-p99-ms", "15", "--max-p99-ms", "post-past=50"];
        let gates = Args::parse_from(arguments).into_settings().gates.max_p99_ms;
        let bounds: Vec<(usize, f64)> = gates
            .iter()
            .map(|gate| (Kind::ALL.into_iter().filter(|&kind| gate.selection.holds(kind)).count(), gate.bound))
            .collect();
        assert_eq!(format!("{bounds:?}"), "[(6, 15.0), (1, 50.0)]");
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_what_is_accepted() {
        let table = [
            (["--post-share", "1.5"], "a number from 0 to 1"),
            (["--run-time", "0s"], "a duration from 1s to 24h"),
            (["--max-p99-ms", "put=3"], "KIND=NUMBER"),
            (["--max-error-rate=-1", "--shared"], "KIND=NUMBER"),
            (["--rate", "0"], "1..=1000000"),
            (["--speed-up", "2"], "--replay"),
            (["--replay=x", "--speed-up=1e-300"], "a number from 0.001 up"),
        ];
        for (arguments, expected) in table {
            let error = Args::try_parse_from(["loadtest"].iter().chain(&arguments)).unwrap_err().to_string();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
