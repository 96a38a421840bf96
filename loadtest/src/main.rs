//! Loads a running analyticsd the way its users do: half of the requests send events and half ask for counts, and of either
//! 95 % are for the current hour and 5 % for past hours. Host, users, duration and reports are goose's own flags.
//!
//! - `mix` chooses what is asked, and knows nothing of HTTP;
//! - `requests` asks it and judges the answers.
//!
//! Exit codes: 0 if every request was answered as it should be, 1 if one was not or a `--threshold` was missed, 2 if there
//! was no run.

mod mix;
mod requests;

use std::process::ExitCode;

use goose::prelude::*;

const DEFAULT_HOST: &str = "http://127.0.0.1:8080";

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(attack()).await {
        Ok(metrics) if metrics.duration > 0 && metrics.requests.is_empty() => {
            eprintln!("nothing was measured, so nothing can be judged; leave out --no-metrics, or run for longer");
            ExitCode::from(2)
        }
        Ok(metrics) => match failures(&metrics) {
            0 => ExitCode::SUCCESS,
            failures => {
                eprintln!("{failures} requests failed; the table of errors says why");
                ExitCode::from(1)
            }
        },
        Err(error @ GooseError::ThresholdsFailed { .. }) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("the load test could not run: {error}; `loadtest --help` lists what is accepted");
            ExitCode::from(2)
        }
    }
}

async fn attack() -> Result<GooseMetrics, GooseError> {
    let attack = GooseAttack::initialize()?
        .set_default(GooseDefault::Host, DEFAULT_HOST)?
        // Nobody steers these runs from outside, and fixed ports would keep two of them from running at a time.
        .set_default(GooseDefault::NoTelnet, true)?
        .set_default(GooseDefault::NoWebSocket, true)?;
    Box::pin(requests::register(*attack).execute()).await
}

fn failures(metrics: &GooseMetrics) -> usize {
    metrics.requests.values().map(|request| request.fail_count).sum()
}
