use std::{collections::HashMap, time::Duration};

use model::{Hour, HourCounts, Timestamp, wire::ANALYTICS_PATH};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Serialize;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::checks::ledger::{Bounds, Fault, Ledger};

/// How long the daemon may fail to answer after a load.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error("{url} does not answer: {cause}")]
    NoAnswer { url: String, cause: String },
    #[error("no TLS connection to {url}: {cause}")]
    Tls { url: String, cause: String },
    #[error("{url} answered {answer} instead of the counts of an hour")]
    NoCounts { url: String, answer: String },
}

pub(crate) struct Daemon {
    host: String,
    http: Client,
}

impl Daemon {
    pub(crate) fn new(host: &str, authorization: Option<HeaderValue>) -> Result<Self, reqwest::Error> {
        let headers = authorization.map(|value| (AUTHORIZATION, value)).into_iter().collect();
        let http = Client::builder().default_headers(headers).timeout(REQUEST_TIMEOUT).no_proxy().build()?;
        Ok(Self { host: host.to_owned(), http })
    }

    pub(crate) async fn counts_of(&self, hours: &[Hour]) -> Result<HashMap<Hour, HourCounts>, AskError> {
        let mut counts = HashMap::with_capacity(hours.len());
        for &hour in hours {
            counts.insert(hour, self.counts(hour).await?);
        }
        Ok(counts)
    }

    async fn counts(&self, hour: Hour) -> Result<HourCounts, AskError> {
        let url = format!("{}{ANALYTICS_PATH}?{}={}", self.host, Timestamp::PARAMETER, hour.start().millis());
        let no_answer = |error: reqwest::Error| {
            let (url, cause) = (url.clone(), causes(&error));
            if client::is_of_tls(&error) { AskError::Tls { url, cause } } else { AskError::NoAnswer { url, cause } }
        };
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

    /// Compares the counts of every hour with the ledger.
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

#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: u64,
    /// Events that were not answered, which may be stored or not.
    pub(crate) open: u64,
    pub(crate) hours: Vec<HourVerdict>,
    /// Why not all hours could be checked.
    pub(crate) unverified: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HourVerdict {
    pub(crate) hour: String,
    pub(crate) counts: HourCounts,
    #[serde(flatten)]
    pub(crate) bounds: Bounds,
    pub(crate) faults: Vec<Fault>,
}

impl Verdict {
    pub(crate) fn is_right(&self) -> bool {
        self.unverified.is_none() && self.hours.iter().all(|hour| hour.faults.is_empty())
    }
}

/// The last cause of an error, which reqwest's own text leaves out.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
