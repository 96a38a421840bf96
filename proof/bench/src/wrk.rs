//! The load generator, and what it prints.

use std::{
    io::{ErrorKind, Write},
    num::NonZero,
    process::{Command as BlockingCommand, Stdio},
    thread,
};

use anyhow::{Context, anyhow, bail};
use model::{Hour, SiteName};
use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::measure::{Latency, Sample};

const SCRIPT: &str = include_str!("load.lua");
/// A slow answer is a figure, not an error: longer than any answer takes.
const TIMEOUT: &str = "30s";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// The share of requests that POST an event, from 0 to 1. The others GET the counts of an hour.
    post_share: f64,
    /// The hour of most requests.
    current: Hour,
    /// The other requests are spread over these hours evenly.
    past: PastHours,
    /// Of requests for past hours, from 0 to 1.
    past_share: f64,
    /// The number of users, user0 and following, drawn evenly.
    users: u32,
    /// The number of sites, site1 and following, drawn evenly; 0: requests name none.
    sites: u32,
}

/// The name of a site of a load, counted from 1.
pub(crate) fn site_name(number: u32) -> SiteName {
    SiteName::new(format!("site{number}")).expect("letters and digits are a name")
}

/// Consecutive hours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PastHours {
    pub(crate) first: Hour,
    pub(crate) count: u32,
}

impl PastHours {
    pub(crate) fn iter(self) -> impl Iterator<Item = Hour> {
        std::iter::successors(Some(self.first), |hour| hour.next()).take(self.count as usize)
    }
}

impl Traffic {
    /// Only GETs, of one hour.
    pub(crate) fn gets(hour: Hour) -> Self {
        let past = PastHours { first: hour, count: 0 };
        Self { post_share: 0.0, current: hour, past, past_share: 0.0, users: 1, sites: 0 }
    }

    /// Only POSTs, for one hour.
    pub(crate) fn posts(hour: Hour, users: u32) -> Self {
        Self { post_share: 1.0, users, ..Self::gets(hour) }
    }

    /// The same, but every request is for one of so many sites.
    pub(crate) fn for_sites(self, sites: u32) -> Self {
        Self { sites, ..self }
    }

    pub(crate) fn sites(&self) -> u32 {
        self.sites
    }

    /// The same, but every request is for one of the hours given.
    pub(crate) fn spread_over(self, past: PastHours) -> Self {
        Self { past, past_share: 1.0, ..self }
    }

    /// Half POSTs and half GETs, 95 % of either for one hour and 5 % for the others.
    pub(crate) fn mix(current: Hour, past: PastHours, users: u32) -> Self {
        Self { post_share: 0.5, current, past, past_share: 0.05, users, sites: 0 }
    }

    pub(crate) fn has_posts(&self) -> bool {
        self.post_share > 0.0
    }

    /// Every hour that a request may be for.
    pub(crate) fn hours(&self) -> impl Iterator<Item = Hour> {
        std::iter::once(self.current).chain(self.past.iter())
    }

    fn arguments(&self, seed: u32) -> Vec<String> {
        let Self { post_share, current, past, past_share, users, sites } = self;
        vec![
            format!("current={}", current.start().millis()),
            format!("past_first={}", past.first.start().millis()),
            format!("past_hours={}", past.count),
            format!("past_share={past_share}"),
            format!("post_share={post_share}"),
            format!("users={users}"),
            format!("sites={sites}"),
            format!("seed={seed}"),
        ]
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) traffic: Traffic,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    /// Chooses the users and hours. Two loads with the same seed choose the same.
    pub(crate) seed: u32,
}

/// The generator's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) sample: Sample,
    pub(crate) posts: Posts,
}

/// The events of a load. At its end each connection is cut, perhaps between a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Posts {
    /// At least this many were acknowledged.
    pub(crate) acknowledged: u64,
    /// At most this many were sent.
    pub(crate) sent: u64,
}

/// wrk, with the script that makes requests.
pub(crate) struct Wrk {
    script: NamedTempFile,
    version: String,
    /// As many threads as there are cores make the ceiling highest.
    threads: u32,
}

impl Wrk {
    /// Fails if wrk is not installed.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // `wrk --version` ends with an error.
        let output = BlockingCommand::new("wrk").arg("--version").output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("wrk is not installed; on Debian: apt-get install wrk")
            }
            _ => anyhow!("wrk cannot be run: {error}"),
        })?;
        let mut script = NamedTempFile::with_suffix(".lua").context("cannot write wrk's script")?;
        script.write_all(SCRIPT.as_bytes()).context("cannot write wrk's script")?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            script,
            version: version(&String::from_utf8_lossy(&output.stdout)),
            threads: u32::try_from(cores).unwrap_or(u32::MAX),
        })
    }

    pub(crate) fn description(&self) -> String {
        format!("wrk {} with {} threads", self.version, self.threads)
    }

    /// Fails if a single request fails.
    pub(crate) async fn run(&self, url: &str, token: Option<&str>, load: &Load) -> anyhow::Result<Outcome> {
        let output = Command::new("wrk")
            .args(["--threads", &self.threads.min(load.connections).to_string()])
            .args(["--connections", &load.connections.to_string()])
            .args(["--duration", &format!("{}s", load.seconds)])
            .args(["--timeout", TIMEOUT])
            .args(token.into_iter().flat_map(|token| ["--header".to_owned(), format!("Authorization: Bearer {token}")]))
            .arg("--script")
            .arg(self.script.path())
            .arg(url)
            .args(load.traffic.arguments(load.seed))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run wrk")?;
        if !output.status.success() {
            bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        parse(&String::from_utf8_lossy(&output.stdout))?.outcome(load)
    }
}

/// The second word of `wrk debian/4.1.0-3+b2 [epoll] Copyright …`.
fn version(output: &str) -> String {
    output.split_whitespace().nth(1).unwrap_or("of unknown version").to_owned()
}

/// The output of the script.
#[derive(Debug, Deserialize, PartialEq)]
struct Figures {
    requests: u64,
    duration_us: f64,
    posts: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    refused: u64,
    broken: u64,
    timed_out: u64,
}

fn parse(output: &str) -> anyhow::Result<Figures> {
    let line = output.lines().rfind(|line| line.starts_with('{'));
    line.and_then(|line| serde_json::from_str(line).ok())
        .with_context(|| format!("cannot read the output of wrk:\n{output}"))
}

impl Figures {
    /// A load with failures has no meaningful figures.
    fn outcome(&self, load: &Load) -> anyhow::Result<Outcome> {
        let Self { requests, refused, broken, timed_out, .. } = *self;
        if refused + broken + timed_out > 0 {
            bail!(
                "requests failed: {refused} were refused, {broken} connections broke, {timed_out} had no answer within {TIMEOUT}"
            );
        }
        if requests == 0 {
            bail!("no request was answered in time");
        }
        let sample = Sample {
            count: requests,
            #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
            per_second: requests as f64 * 1e6 / self.duration_us,
            latency: Some(Latency {
                p50_ms: self.p50_us / 1e3,
                p99_ms: self.p99_us / 1e3,
                p999_ms: self.p999_us / 1e3,
            }),
            cpu: None,
        };
        Ok(Outcome { sample, posts: self.posts(load) })
    }

    fn posts(&self, load: &Load) -> Posts {
        if load.traffic.post_share >= 1.0 {
            return Posts { acknowledged: self.requests, sent: self.posts };
        }
        // The script counts the requests that it makes. wrk makes one more than it sends, to see whether they vary.
        let unanswered = u64::from(load.connections) + 1;
        Posts { acknowledged: self.posts.saturating_sub(unanswered), sent: self.posts }
    }
}

#[cfg(test)]
mod tests {
    use model::{Hour, Timestamp};

    use super::{Load, PastHours, Posts, Traffic, parse, version};

    const HEAD: &str = "\
Running 3s test @ http://127.0.0.1:39221/analytics
  2 threads and 4 connections
  224496 requests in 3.00s, 9.21MB read
Requests/sec:  74767.70
Transfer/sec:      3.07MB

";
    const FIGURES: &str = r#"{"requests":224496,"duration_us":3000000,"posts":224500,"p50_us":25,"p99_us":4080,"p999_us":12345,"refused":0,"broken":0,"timed_out":0}"#;

    fn hour() -> Hour {
        Hour::containing(Timestamp::from_millis(1_577_836_800_000).unwrap())
    }

    fn load(traffic: Traffic) -> Load {
        Load { traffic, connections: 4, seconds: 3, seed: 1 }
    }

    fn error(figures: &str) -> String {
        let figures = parse(figures).and_then(|figures| figures.outcome(&load(Traffic::gets(hour()))));
        figures.unwrap_err().to_string()
    }

    #[test]
    fn the_figures_are_read_from_the_line_that_the_script_prints() {
        let outcome = parse(&format!("{HEAD}{FIGURES}\n")).unwrap().outcome(&load(Traffic::posts(hour(), 9))).unwrap();
        let latency = outcome.sample.latency.unwrap();
        assert_eq!(outcome.sample.count, 224_496);
        assert_eq!(outcome.sample.per_second.to_string(), "74832");
        assert_eq!(format!("{} {} {}", latency.p50_ms, latency.p99_ms, latency.p999_ms), "0.025 4.08 12.345");
        assert_eq!(outcome.posts, Posts { acknowledged: 224_496, sent: 224_500 });
    }

    #[test]
    fn of_a_mix_the_posts_without_an_answer_are_not_known_to_be_acknowledged() {
        let traffic = Traffic::mix(hour(), PastHours { first: hour(), count: 2 }, 9);
        let figures = parse(&FIGURES.replace("\"posts\":224500", "\"posts\":1000")).unwrap();
        assert_eq!(figures.outcome(&load(traffic)).unwrap().posts, Posts { acknowledged: 995, sent: 1_000 });
    }

    #[test]
    fn a_load_with_a_failure_has_no_figures() {
        let refused = error(&FIGURES.replace("\"refused\":0", "\"refused\":7"));
        assert_eq!(refused, "requests failed: 7 were refused, 0 connections broke, 0 had no answer within 30s");
        let broken = error(&FIGURES.replace("\"broken\":0", "\"broken\":8"));
        assert_eq!(broken, "requests failed: 0 were refused, 8 connections broke, 0 had no answer within 30s");
    }

    #[test]
    fn a_load_without_an_answer_has_no_figures() {
        assert_eq!(error(&FIGURES.replace("224496", "0")), "no request was answered in time");
        assert!(error("unable to connect").starts_with("cannot read the output of wrk:\nunable to connect"));
    }

    #[test]
    fn traffic_is_for_the_hours_that_it_says() {
        let past = PastHours { first: hour(), count: 3 };
        let current = hour().previous().unwrap();
        let hours: Vec<String> = Traffic::mix(current, past, 1).hours().map(|hour| hour.to_string()).collect();
        assert_eq!(hours[0], "2019-12-31T23:00:00Z");
        assert_eq!(hours[1..], ["2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z", "2020-01-01T02:00:00Z"]);
        assert_eq!(Traffic::gets(current).hours().count(), 1);
    }

    #[test]
    fn the_version_is_the_second_word() {
        assert_eq!(version("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer"), "debian/4.1.0-3+b2");
        assert_eq!(version(""), "of unknown version");
    }
}
