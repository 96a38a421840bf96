use std::time::Duration;

use chrono::TimeDelta;
use client::{Client, ClientError, Probe, StatusCode};
use model::Problem;
use serde::Deserialize;

use super::{clock::Skew, finding::Finding, report::Report};
use crate::output::Unwritten;

const LIVES: &str = "server";
const READY: &str = "server ready";
const VERSION: &str = "server version";
const CLOCK: &str = "server clock";

const CORRECT_THE_ADDRESS: &str = "correct the address: `analytics-cli config` shows where it comes from";
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns how far the server's clock is ahead of this machine's, if that is known.
pub(crate) async fn run(client: &Client, limit: Duration, report: &mut Report) -> Result<Option<Skew>, Unwritten> {
    let lives = match client.probe("/healthz", limit).await {
        Ok(probe) => probe,
        Err(error) => {
            report.add(judge_silence(&error))?;
            for check in [READY, VERSION, CLOCK] {
                report.add(Finding::skipped(check, "the server does not answer", "correct that first"))?;
            }
            return Ok(None);
        }
    };
    report.add(judge_life(&lives, client))?;
    let ready = client.probe("/readyz", limit).await;
    report.add(judge_readiness(&ready))?;
    let description = client.probe("/openapi.json", limit).await;
    report.add(judge_version(&description, OWN_VERSION))?;
    let clock = [Ok(lives), ready, description].iter().filter_map(skew).reduce(Skew::and);
    report.add(match clock {
        Some(clock) => clock.judge(CLOCK, "its clock", "this machine's"),
        None => {
            Finding::skipped(CLOCK, "its answers have no Date header", "configure the proxy not to remove the header")
        }
    })?;
    Ok(clock)
}

/// The Date header has whole seconds, rounded down.
fn skew(probe: &Result<Probe, ClientError>) -> Option<Skew> {
    let probe = probe.as_ref().ok()?;
    Some(Skew::new(probe.asked, probe.date?, TimeDelta::seconds(1), probe.answered))
}

fn judge_silence(error: &ClientError) -> Finding {
    let advice = match error {
        ClientError::Unreachable { .. } => format!("start it with `analyticsd --embedded`, or {CORRECT_THE_ADDRESS}"),
        ClientError::Tls { .. } => {
            format!(
                "see the certificate of the proxy in front of analyticsd, which itself speaks http://, or {CORRECT_THE_ADDRESS}"
            )
        }
        ClientError::Plain { .. } => CORRECT_THE_ADDRESS.to_owned(),
        _ => format!("see the log of analyticsd, try a longer --timeout, or {CORRECT_THE_ADDRESS}"),
    };
    Finding::problem(LIVES, error.to_string(), advice)
}

fn judge_life(probe: &Probe, client: &Client) -> Finding {
    let url = client.url();
    if probe.status == StatusCode::OK && probe.body.trim() == "ok" {
        return Finding::ok(LIVES, format!("{url} answers"));
    }
    let begins: String = probe.body.chars().take(100).collect();
    let seen = format!("{url} answered {} with {begins:?}, which is no answer of analyticsd", probe.status);
    Finding::problem(LIVES, seen, CORRECT_THE_ADDRESS)
}

fn judge_readiness(probe: &Result<Probe, ClientError>) -> Finding {
    const ADVICE: &str = "see the checks of its database below, and the log of analyticsd";
    match probe {
        Ok(probe) if probe.status == StatusCode::OK => {
            Finding::ok(READY, "its database answers, and the schema is current")
        }
        Ok(probe) => {
            let problem = serde_json::from_str::<Problem>(&probe.body);
            let seen = problem.map_or_else(|_| format!("it answered with {}", probe.status), |problem| problem.detail);
            Finding::problem(READY, seen.trim_end_matches('.'), ADVICE)
        }
        Err(error) => Finding::problem(READY, error.to_string(), ADVICE),
    }
}

/// The part of openapi.json that is used here.
#[derive(Deserialize)]
struct Description {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    version: String,
}

fn judge_version(probe: &Result<Probe, ClientError>, own: &str) -> Finding {
    let advice = format!("install the same version of both; this program is {own}");
    let probe = match probe {
        Ok(probe) => probe,
        Err(error) => return Finding::warning(VERSION, error.to_string(), advice),
    };
    match serde_json::from_str::<Description>(&probe.body) {
        Ok(Description { info: Info { version } }) if version == own => {
            Finding::ok(VERSION, format!("{version}, as this program"))
        }
        Ok(Description { info: Info { version } }) => Finding::warning(VERSION, version, advice),
        Err(_) => Finding::warning(VERSION, "the server does not report its version", advice),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use client::{Probe, StatusCode};

    use super::{judge_readiness, judge_version};
    use crate::doctor::finding::Health;

    fn probe(status: u16, body: &str) -> Probe {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_owned());
        Probe { status, body, date: None, asked: Utc::now(), answered: Utc::now() }
    }

    #[test]
    fn another_version_is_a_warning() {
        for (body, health) in [
            (r#"{"openapi":"3.1.0","info":{"title":"x","version":"1.2.3"}}"#, Health::Ok),
            (r#"{"info":{"version":"1.2.4"}}"#, Health::Warning),
            ("<html>", Health::Warning),
        ] {
            assert_eq!(judge_version(&Ok(probe(200, body)), "1.2.3").health, health, "{body}");
        }
    }

    #[test]
    fn a_server_that_is_not_ready_is_a_problem_with_its_reason() {
        let body = r#"{"status":503,"title":"Not ready","detail":"The schema lacks 2 migration(s)."}"#;
        let finding = judge_readiness(&Ok(probe(503, body)));
        assert_eq!((finding.health, finding.seen.as_str()), (Health::Problem, "The schema lacks 2 migration(s)"));
        assert_eq!(judge_readiness(&Ok(probe(200, "ready\n"))).health, Health::Ok);
        assert_eq!(judge_readiness(&Ok(probe(502, "nginx"))).seen, "it answered with 502 Bad Gateway");
    }
}
