//! Asks a daemon outside of the load.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use model::{HourCounts, Problem, SiteName};
use reqwest::{Client, RequestBuilder, StatusCode, header::AUTHORIZATION};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::{
    hosts::Host,
    requests::Requests,
    trust::Trust,
    workload::{mix::PlannedEvent, sites::SiteHour},
};

/// How long the daemon may fail to answer after a load.
const PATIENCE: Duration = Duration::from_secs(15);
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Hours that are asked for at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error("{url} does not answer: {cause}")]
    NoAnswer { url: String, cause: String },
    #[error("no TLS connection to {url}: {cause}")]
    Tls { url: String, cause: String },
    /// It says in a problem document what was wrong. Neither ends with a period, so that advice can follow.
    #[error("{url} answered {status}: {title}: {detail}")]
    Refused { url: String, status: StatusCode, title: String, detail: String },
    #[error("{url} answered {status} and {excerpt:?}, which is not what analyticsd answers")]
    Foreign { url: String, status: StatusCode, excerpt: String },
    #[error("{url}: {detail}")]
    NoSite { url: String, detail: String },
}

/// One host.
pub(crate) struct Daemon {
    host: String,
    http: Client,
}

impl Daemon {
    pub(crate) fn new(Host { url, authorization }: &Host, trust: &Trust) -> Result<Self, reqwest::Error> {
        let headers = authorization.iter().map(|value| (AUTHORIZATION, value.clone())).collect();
        let http = trust.client().default_headers(headers).timeout(REQUEST_TIMEOUT).no_proxy().build()?;
        Ok(Self { host: url.clone(), http })
    }

    /// Records an event that must be acknowledged.
    pub(crate) async fn record(&self, requests: &Requests, event: &PlannedEvent) -> Result<(), AskError> {
        let url = format!("{}{}", self.host, requests.event(event));
        match self.exchange(self.http.post(&url), &url).await? {
            (StatusCode::NO_CONTENT, _) => Ok(()),
            (status, body) => Err(AskError::unexpected(url, status, &body)),
        }
    }

    /// What these hours count, in their order.
    pub(crate) fn counts_of<'a>(
        &'a self,
        requests: &'a Requests,
        hours: Vec<SiteHour>,
        patiently: bool,
    ) -> impl Stream<Item = (SiteHour, Result<HourCounts, AskError>)> + 'a {
        let ask = move |hour| async move {
            let counts =
                if patiently { self.patiently(requests, hour).await } else { self.counts(requests, hour).await };
            (hour, counts)
        };
        stream::iter(hours).map(ask).buffered(AT_ONCE)
    }

    async fn patiently(&self, requests: &Requests, hour: SiteHour) -> Result<HourCounts, AskError> {
        let began = Instant::now();
        loop {
            match self.counts(requests, hour).await {
                Err(_) if began.elapsed() < PATIENCE => sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
    }

    pub(crate) async fn counts(&self, requests: &Requests, hour: SiteHour) -> Result<HourCounts, AskError> {
        let url = format!("{}{}", self.host, requests.counts(hour));
        let (status, body) = self.exchange(self.http.get(&url), &url).await?;
        match body.parse() {
            Ok(counts) if status.is_success() => Ok(counts),
            _ => Err(AskError::unexpected(url, status, &body)),
        }
    }

    async fn exchange(&self, request: RequestBuilder, url: &str) -> Result<(StatusCode, String), AskError> {
        let no_answer = |error: reqwest::Error| {
            let (url, cause) = (url.to_owned(), causes(&error));
            if client::is_of_tls(&error) { AskError::Tls { url, cause } } else { AskError::NoAnswer { url, cause } }
        };
        let response = request.send().await.map_err(no_answer)?;
        Ok((response.status(), response.text().await.map_err(no_answer)?))
    }
}

impl AskError {
    fn unexpected(url: String, status: StatusCode, body: &str) -> Self {
        let Ok(Problem { title, detail, parameter, .. }) = serde_json::from_str(body) else {
            return Self::Foreign { url, status, excerpt: body.chars().take(120).collect() };
        };
        let detail = detail.trim_end_matches('.').to_owned();
        match parameter.as_deref() {
            Some(SiteName::PARAMETER) => Self::NoSite { url, detail },
            _ => Self::Refused { url, status, title, detail },
        }
    }
}

/// The last cause of an error, which reqwest's own text leaves out.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
