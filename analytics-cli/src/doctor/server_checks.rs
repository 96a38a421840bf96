use std::time::Duration;

use chrono::TimeDelta;
use model::Problem;
use reqwest::StatusCode;
use serde::Deserialize;

use super::{clock::Skew, finding::Finding, report::Report};
use crate::{
    failure::Failure,
    server::{Probe, Server, ServerError},
};

const LIVES: &str = "server";
const READY: &str = "server ready";
const VERSION: &str = "server version";
const CLOCK: &str = "server clock";

/// The version of this program.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Looks at the server, and returns how far its clock is ahead of this machine's, if it says.
pub(crate) async fn run(server: &Server, limit: Duration, report: &mut Report) -> Result<Option<Skew>, Failure> {
    let lives = match server.probe("/healthz", limit).await {
        Ok(probe) => probe,
        Err(error) => {
            report.add(unreachable(&error, server))?;
            for check in [READY, VERSION, CLOCK] {
                report.add(Finding::skipped(check, "the server does not answer", "mend that first"))?;
            }
            return Ok(None);
        }
    };
    report.add(judge_life(&lives, server))?;
    let ready = server.probe("/readyz", limit).await;
    report.add(judge_readiness(&ready))?;
    let description = server.probe("/openapi.json", limit).await;
    report.add(judge_version(&description, OWN_VERSION))?;
    let clock = [Ok(lives), ready, description].iter().filter_map(skew).reduce(Skew::and);
    report.add(match clock {
        Some(clock) => clock.judge(CLOCK, "its clock", "this machine's"),
        None => Finding::skipped(
            CLOCK,
            "its answers have no header Date",
            "let what stands in between leave the header alone",
        ),
    })?;
    Ok(clock)
}

/// A header tells the second, cut off.
fn skew(probe: &Result<Probe, ServerError>) -> Option<Skew> {
    let probe = probe.as_ref().ok()?;
    Some(Skew::new(probe.asked, probe.date?, TimeDelta::seconds(1), probe.answered))
}

fn unreachable(error: &ServerError, server: &Server) -> Finding {
    let setting = server.setting();
    match error {
        ServerError::Unreachable { url, cause, .. } => Finding::problem(
            LIVES,
            format!("cannot reach {url}: {cause}"),
            format!("start it with `analyticsd --embedded`, or point {setting} at it"),
        ),
        other => {
            let advice = format!("see the log of analyticsd, try a longer --timeout, or point {setting} at it");
            Finding::problem(LIVES, other.to_string(), advice)
        }
    }
}

fn judge_life(probe: &Probe, server: &Server) -> Finding {
    let url = server.url();
    if probe.status == StatusCode::OK && probe.body.trim() == "ok" {
        return Finding::ok(LIVES, format!("{url} answers"));
    }
    let begins: String = probe.body.chars().take(100).collect();
    let seen = format!("{url} answered with {} and {begins:?}, which analyticsd never does", probe.status);
    Finding::problem(LIVES, seen, format!("point {} at analyticsd", server.setting()))
}

fn judge_readiness(probe: &Result<Probe, ServerError>) -> Finding {
    const ADVICE: &str = "see what is found about its database below, and the log of analyticsd";
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

/// What matters here of the description of the server's interface.
#[derive(Deserialize)]
struct Description {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    version: String,
}

fn judge_version(probe: &Result<Probe, ServerError>, own: &str) -> Finding {
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
        Err(_) => Finding::warning(VERSION, "it does not say", advice),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use reqwest::StatusCode;

    use super::{judge_readiness, judge_version};
    use crate::{doctor::finding::Health, server::Probe};

    fn probe(status: u16, body: &str) -> Probe {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_owned());
        Probe { status, body, date: None, asked: Utc::now(), answered: Utc::now() }
    }

    #[test]
    fn another_version_is_warned_of() {
        for (body, health) in [
            (r#"{"openapi":"3.1.0","info":{"title":"x","version":"1.2.3"}}"#, Health::Ok),
            (r#"{"info":{"version":"1.2.4"}}"#, Health::Warning),
            ("<html>", Health::Warning),
        ] {
            assert_eq!(judge_version(&Ok(probe(200, body)), "1.2.3").health, health, "{body}");
        }
    }

    #[test]
    fn a_server_that_is_not_ready_says_why() {
        let said = r#"{"status":503,"title":"Not ready","detail":"The schema lacks 2 migration(s)."}"#;
        let finding = judge_readiness(&Ok(probe(503, said)));
        assert_eq!((finding.health, finding.seen.as_str()), (Health::Problem, "The schema lacks 2 migration(s)"));
        assert_eq!(judge_readiness(&Ok(probe(200, "ready\n"))).health, Health::Ok);
        assert_eq!(judge_readiness(&Ok(probe(502, "nginx"))).seen, "it answered with 502 Bad Gateway");
    }
}
