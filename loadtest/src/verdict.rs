//! Asks the daemon before and after the run, and compares.

use std::{collections::HashMap, time::Duration};

use model::{Hour, HourCounts, Timestamp, wire::ANALYTICS_PATH};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Serialize;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::ledger::{Bounds, Fault, Ledger};

/// How long the daemon may take to come round after a load, before its counts are taken for not to be had.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts that could not be had.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// There was no answer.
    #[error("{url} does not answer: {cause}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why.
        cause: String,
    },
    /// The answer was none of analyticsd's.
    #[error("{url} answered {answer}, where analyticsd answers with the counts of an hour")]
    NoCounts {
        /// What was asked.
        url: String,
        /// What came.
        answer: String,
    },
}

/// A daemon that is asked for counts.
pub(crate) struct Daemon {
    host: String,
    http: Client,
}

impl Daemon {
    /// Prepares to ask.
    pub(crate) fn new(host: &str, authorization: Option<HeaderValue>) -> Result<Self, reqwest::Error> {
        let headers = authorization.map(|value| (AUTHORIZATION, value)).into_iter().collect();
        let http = Client::builder().default_headers(headers).timeout(REQUEST_TIMEOUT).no_proxy().build()?;
        Ok(Self { host: host.to_owned(), http })
    }

    /// The counts of each of these hours.
    pub(crate) async fn counts_of(&self, hours: &[Hour]) -> Result<HashMap<Hour, HourCounts>, AskError> {
        let mut counts = HashMap::with_capacity(hours.len());
        for &hour in hours {
            counts.insert(hour, self.counts(hour).await?);
        }
        Ok(counts)
    }

    async fn counts(&self, hour: Hour) -> Result<HourCounts, AskError> {
        let url = format!("{}{ANALYTICS_PATH}?{}={}", self.host, Timestamp::PARAMETER, hour.start().millis());
        let no_answer = |error: reqwest::Error| AskError::NoAnswer { url: url.clone(), cause: causes(&error) };
        let response = self.http.get(&url).send().await.map_err(no_answer)?;
        let status = response.status();
        let body = response.text().await.map_err(no_answer)?;
        match body.parse() {
            Ok(counts) if status.is_success() => Ok(counts),
            _ => {
                let excerpt: String = body.chars().take(120).collect();
                Err(AskError::NoCounts { url, answer: format!("{status} and {excerpt:?}") })
            }
        }
    }

    async fn patiently(&self, hour: Hour) -> Result<HourCounts, AskError> {
        let began = Instant::now();
        loop {
            match self.counts(hour).await {
                Err(_) if began.elapsed() < PATIENCE => sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
    }

    /// Compares what every hour counts now with what it must and may.
    pub(crate) async fn verify(&self, ledger: &Ledger) -> Verdict {
        let (acknowledged, open) = ledger.totals();
        let mut verdict = Verdict { acknowledged, open, hours: Vec::new(), unverified: None };
        for hour in ledger.touched() {
            match self.patiently(hour).await {
                Ok(counts) => {
                    let bounds = ledger.bounds(hour);
                    let faults = bounds.faults(counts);
                    verdict.hours.push(HourVerdict { hour: hour.to_string(), counts, bounds, faults });
                }
                Err(error) => {
                    verdict.unverified = Some(error.to_string());
                    break;
                }
            }
        }
        verdict
    }
}

/// Whether every acknowledged event is counted.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Events of which nobody knows whether they are stored.
    pub(crate) open: u64,
    /// Every hour that events were sent for.
    pub(crate) hours: Vec<HourVerdict>,
    /// Why it could not be found out, if so.
    pub(crate) unverified: Option<String>,
}

/// What an hour counts, and what is wrong with it.
#[derive(Debug, Serialize)]
pub(crate) struct HourVerdict {
    /// The hour.
    pub(crate) hour: String,
    /// As the daemon tells them.
    pub(crate) counts: HourCounts,
    /// Between which they must be.
    #[serde(flatten)]
    pub(crate) bounds: Bounds,
    /// Nothing, if all is well.
    pub(crate) faults: Vec<Fault>,
}

impl Verdict {
    /// Whether it was found out, and all is well.
    pub(crate) fn is_right(&self) -> bool {
        self.unverified.is_none() && self.hours.iter().all(|hour| hour.faults.is_empty())
    }
}

/// An error with all that it says about its causes: reqwest's own text leaves out what is of use.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
