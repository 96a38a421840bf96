//! Asks the daemon outside of the load: what it counted before, and what it counts in the end.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use model::{EventKind, Hour, HourCounts, Problem, SiteName, Timestamp};
use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::{
    checks::{
        bounds::Strangers,
        ledger::{Answer, Ledger},
    },
    requests::Requests,
    workload::{
        mix::PlannedEvent,
        sites::{Site, SiteHour},
    },
};

/// How long the daemon may fail to answer after a load.
const PATIENCE: Duration = Duration::from_secs(15);
/// A daemon knows within a second of a site that was just made elsewhere.
const UNTIL_KNOWN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Hours that are asked for at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug, Error)]
pub(crate) enum AskError {
    #[error("{url} does not answer: {cause}")]
    NoAnswer { url: String, cause: String },
    #[error("no TLS connection to {url}: {cause}")]
    Tls { url: String, cause: String },
    #[error("{url} answered {answer} instead of the counts of an hour")]
    NoCounts { url: String, answer: String },
    #[error("{url}: {detail}")]
    NoSite { url: String, detail: String },
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

    /// A ledger that begins with what these hours count. Makes the sites that the daemon does not know, each by an event.
    pub(crate) async fn begin(
        &self,
        requests: &Requests,
        hours: Vec<SiteHour>,
        strangers: Strangers,
        shared: bool,
    ) -> Result<Ledger, AskError> {
        let mut before = HashMap::with_capacity(hours.len());
        let mut unknown = BTreeSet::new();
        let mut counts = Box::pin(self.counts_of(requests, hours, false));
        while let Some((hour, counts)) = counts.next().await {
            match counts {
                Ok(counts) => drop(before.insert(hour, counts)),
                Err(AskError::NoSite { .. }) => drop(unknown.insert(hour.site)),
                Err(error) => return Err(error),
            }
        }
        let ledger = Ledger::new(before, strangers, shared);
        for site in unknown {
            self.make(site, requests, &ledger).await?;
        }
        Ok(ledger)
    }

    /// Makes a site by an event, and returns once it can be read.
    async fn make(&self, site: Site, requests: &Requests, ledger: &Ledger) -> Result<(), AskError> {
        let event = self.send_one(site, requests, ledger).await?;
        self.patiently(requests, event.hour()).await.map(|_| ())
    }

    async fn send_one(&self, site: Site, requests: &Requests, ledger: &Ledger) -> Result<PlannedEvent, AskError> {
        let event = PlannedEvent { site, at: Timestamp::now(), visitor: 0, kind: EventKind::Impression };
        let url = format!("{}{}", self.host, requests.event(&event));
        ledger.open(&[event]);
        let began = Instant::now();
        loop {
            match self.exchange(self.http.post(&url), &url).await? {
                (StatusCode::NO_CONTENT, _) => break,
                _ if began.elapsed() < UNTIL_KNOWN => sleep(PAUSE).await,
                (status, body) => return Err(AskError::unexpected(url, status, &body)),
            }
        }
        ledger.close(&[event], Answer::Acknowledged);
        Ok(event)
    }

    /// Whether the other daemon counts in the same database: sends an event to this one, and asks the other one for it.
    /// Nobody else may send events meanwhile.
    pub(crate) async fn counts_with(
        &self,
        other: &Self,
        requests: &Requests,
        ledger: &Ledger,
    ) -> Result<bool, AskError> {
        let site = requests.sites.all().next().unwrap_or_default();
        let mut before = HashMap::new();
        let now = Hour::containing(Timestamp::now());
        // The event may be the first of the next hour.
        for hour in std::iter::once(now).chain(now.next()).map(|hour| SiteHour { site, hour }) {
            match other.counts(requests, hour).await {
                Ok(counts) => drop(before.insert(hour, counts)),
                Err(AskError::NoSite { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let hour = self.send_one(site, requests, ledger).await?.hour();
        Ok(before.get(&hour) != Some(&other.counts(requests, hour).await?))
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

    async fn counts(&self, requests: &Requests, hour: SiteHour) -> Result<HourCounts, AskError> {
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
        match serde_json::from_str::<Problem>(body) {
            Ok(problem) if problem.parameter.as_deref() == Some(SiteName::PARAMETER) => {
                Self::NoSite { url, detail: problem.detail }
            }
            _ => {
                let excerpt: String = body.chars().take(120).collect();
                Self::NoCounts { url, answer: format!("{status} and {excerpt:?}") }
            }
        }
    }
}

/// The last cause of an error, which reqwest's own text leaves out.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
