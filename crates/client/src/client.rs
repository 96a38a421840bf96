use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{
    BearerToken, Event, EventKind, Hour, HourCounts, HourRow, HoursPage, IdempotencyKey, Problem, SiteName, SourceList,
    SourceName, SourcePosition, TimeUnit, Timestamp, UserName, wire,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect, retry,
};
use serde::de::DeserializeOwned;

use crate::{ClientError, LiveStream, ServerUrl};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the daemon's own limits, so that it answers first.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
const LONGEST_STREAM: Duration = Duration::from_hours(24);
/// A connection that was idle for longer is not used again. The daemon closes idle connections too, and a request
/// that is written into one while it is being closed would leave its sender not knowing whether it arrived.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// What analyticsd did with the events that it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// They are committed, some of them before this request.
    Stored(Repeated),
    /// The database is away; they are on the daemon's disk, and will be stored when it is back.
    Spooled,
}

/// The events of a request that were stored before it, and not again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeated {
    pub clicks: u64,
    pub impressions: u64,
    /// Where the source of the request stands, if that is behind the request's end.
    pub stands_at: Option<u64>,
}

impl Repeated {
    /// Of the header, whose numbers are 0 where it does not name them.
    fn of(headers: &HeaderMap) -> Self {
        let header = headers.get(wire::REPEATED_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let members = header.split(',').filter_map(|member| member.trim().split_once('='));
        members.fold(Self::default(), |repeated, (name, value)| match (name, value.parse().ok()) {
            ("clicks", clicks) => Self { clicks: clicks.unwrap_or_default(), ..repeated },
            ("impressions", impressions) => Self { impressions: impressions.unwrap_or_default(), ..repeated },
            ("position", stands_at) => Self { stands_at, ..repeated },
            _ => repeated,
        })
    }
}

/// The part of a source that a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub source: SourceName,
    pub from: SourcePosition,
    pub to: SourcePosition,
}

impl Step {
    fn parameters(&self) -> String {
        let Self { source, from, to } = self;
        let check = |parameter: &str, at: &SourcePosition| {
            at.check.as_ref().map(|check| format!("&{parameter}={check}")).unwrap_or_default()
        };
        format!(
            "&{}={}&from={}&to={}{}{}",
            SourceName::PARAMETER,
            utf8_percent_encode(source.as_str(), NON_ALPHANUMERIC),
            from.position,
            to.position,
            check("from_check", from),
            check("check", to),
        )
    }
}

/// Any answer, and what is known about when it was given.
#[derive(Debug)]
pub struct Probe {
    pub status: StatusCode,
    pub body: String,
    /// The server's clock, to the second.
    pub date: Option<DateTime<Utc>>,
    /// This machine's clock before the request was sent.
    pub asked: DateTime<Utc>,
    /// This machine's clock when the head of the answer had arrived.
    pub answered: DateTime<Utc>,
}

/// One analyticsd, and the connections to it. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    url: ServerUrl,
    http: reqwest::Client,
    site: Option<SiteName>,
}

impl Client {
    /// Opens nothing yet.
    pub fn new(url: ServerUrl, token: Option<&BearerToken>) -> Self {
        let headers = token.map(|token| {
            let authorization = HeaderValue::try_from(token.authorization());
            let mut authorization = authorization.expect("a token is visible ASCII");
            authorization.set_sensitive(true);
            HeaderMap::from_iter([(AUTHORIZATION, authorization)])
        });
        let http = reqwest::Client::builder()
            .default_headers(headers.unwrap_or_default())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            // An event that is sent twice is counted twice, so this client never sends a request again by itself.
            .retry(retry::never())
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client with constant settings can be built");
        Self { url, http, site: None }
    }

    /// The same client, for what a site counts. Without one, the token decides.
    #[must_use]
    pub fn at_site(self, site: Option<SiteName>) -> Self {
        Self { site, ..self }
    }

    /// The address, to be shown.
    pub fn url(&self) -> ServerUrl {
        self.url.masked()
    }

    /// The page that shows a range to people, whoever they are.
    pub fn page(&self, first: Hour, last: Hour) -> String {
        let (url, _) = self.url.split();
        format!("{url}/?from={first}&to={last}{}", self.site_parameter('&'))
    }

    pub async fn send(&self, event: &Event, key: Option<&IdempotencyKey>) -> Result<Delivery, ClientError> {
        let user = utf8_percent_encode(event.user.as_str(), NON_ALPHANUMERIC);
        let (user_name, kind_name) = (UserName::PARAMETER, EventKind::PARAMETER);
        let site = self.site_parameter('&');
        let url = format!("{}&{user_name}={user}&{kind_name}={}{site}", self.analytics(event.at), event.kind);
        let request = self.http.post(url);
        self.delivery_of(match key {
            Some(key) => request.header(IdempotencyKey::HEADER, key.as_str()),
            None => request,
        })
        .await
    }

    /// Sends many events, written as newline-delimited JSON. They are stored together or not at all. A line that names a
    /// site is for that one. A part of a source is stored if the source stands at its beginning.
    pub async fn send_batch(&self, lines: &[u8], step: Option<&Step>) -> Result<Delivery, ClientError> {
        // Without the unit, the server would refuse what looks like seconds.
        let (unit, site) = (TimeUnit::PARAMETER, self.site_parameter('&'));
        let step = step.map(Step::parameters).unwrap_or_default();
        let url = format!("{}{}?{unit}=ms{site}{step}", self.url, wire::BATCH_PATH);
        let request = self.http.post(url);
        self.delivery_of(request.header(CONTENT_TYPE, wire::NDJSON).body(lines.to_vec())).await
    }

    /// Where the sources stand whose names begin so; not all of them if the list is not whole.
    pub async fn sources(&self, prefix: &SourceName) -> Result<SourceList, ClientError> {
        let prefix = utf8_percent_encode(prefix.as_str(), NON_ALPHANUMERIC);
        let url = format!("{}{}?prefix={prefix}{}", self.url, wire::SOURCES_PATH, self.site_parameter('&'));
        let (status, body) = self.text_of(self.http.get(url)).await?;
        serde_json::from_str(&body).map_err(|_| ClientError::foreign(&self.url, status, &body))
    }

    pub async fn counts(&self, hour: Hour) -> Result<HourCounts, ClientError> {
        let (status, body) =
            self.text_of(self.http.get(self.analytics(hour.start()) + &self.site_parameter('&'))).await?;
        body.parse().map_err(|_| ClientError::foreign(&self.url, status, &body))
    }

    /// Every hour of a range, both ends included.
    pub async fn hours(&self, first: Hour, last: Hour) -> Result<Vec<HourRow>, ClientError> {
        let mut hours = Vec::new();
        let site = self.site_parameter('&');
        let mut next = Some(format!("{}?from={first}&to={last}&format=json{site}", wire::HOURS_PATH));
        while let Some(path) = next {
            let page: HoursPage = self.page_at(&path, |page: &HoursPage| page.hours.is_empty()).await?;
            hours.extend(page.hours);
            next = page.next;
        }
        Ok(hours)
    }

    /// A page of an answer. An empty one would let a server that is not analyticsd keep this client busy for ever.
    pub(crate) async fn page_at<P: DeserializeOwned>(
        &self,
        path: &str,
        is_empty: impl FnOnce(&P) -> bool,
    ) -> Result<P, ClientError> {
        let (status, body) = self.text_of(self.http.get(format!("{}{path}", self.url))).await?;
        let page = serde_json::from_str(&body).ok().filter(|page| !is_empty(page));
        page.ok_or_else(|| ClientError::foreign(&self.url, status, &body))
    }

    /// Reads the counts of the current hour as they change.
    pub async fn live(&self) -> Result<LiveStream, ClientError> {
        let url = format!("{}{}{}", self.url, wire::STREAM_PATH, self.site_parameter('?'));
        let request = self.http.get(url).timeout(LONGEST_STREAM);
        let response = self.answer_of(request, &[StatusCode::OK]).await?;
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // Any other answer would end at once, and the caller would ask again and again.
        if media_type.starts_with("text/event-stream") {
            Ok(LiveStream::new(self.url.clone(), response))
        } else {
            Err(ClientError::foreign(&self.url, response.status(), media_type))
        }
    }

    /// Gets a path and accepts any answer that arrives within the limit.
    pub async fn probe(&self, path: &str, limit: Duration) -> Result<Probe, ClientError> {
        let request = self.http.get(format!("{}{path}", self.url)).timeout(limit);
        let asked = Utc::now();
        let response = request.send().await.map_err(|error| ClientError::no_answer(&self.url, error))?;
        let answered = Utc::now();
        let date = response.headers().get(DATE).and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
        let (status, date) = (response.status(), date.map(|date| date.to_utc()));
        let body = response.text().await.map_err(|error| ClientError::no_answer(&self.url, error))?;
        Ok(Probe { status, body, date, asked, answered })
    }

    fn analytics(&self, at: Timestamp) -> String {
        format!("{}{}?{}={}", self.url, wire::ANALYTICS_PATH, Timestamp::PARAMETER, at.millis())
    }

    /// Behind the character that begins it; nothing without a site.
    pub(crate) fn site_parameter(&self, begin: char) -> String {
        // No character of a name means anything in a URL.
        self.site.as_ref().map(|site| format!("{begin}{}={site}", SiteName::PARAMETER)).unwrap_or_default()
    }

    async fn delivery_of(&self, request: RequestBuilder) -> Result<Delivery, ClientError> {
        let response = self.answer_of(request, &[StatusCode::NO_CONTENT, StatusCode::ACCEPTED]).await?;
        let is_spooled = response.status() == StatusCode::ACCEPTED;
        Ok(if is_spooled { Delivery::Spooled } else { Delivery::Stored(Repeated::of(response.headers())) })
    }

    async fn text_of(&self, request: RequestBuilder) -> Result<(StatusCode, String), ClientError> {
        let response = self.answer_of(request, &[StatusCode::OK]).await?;
        let status = response.status();
        let body = response.text().await.map_err(|error| ClientError::no_answer(&self.url, error))?;
        Ok((status, body))
    }

    async fn answer_of(&self, request: RequestBuilder, expected: &[StatusCode]) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| ClientError::no_answer(&self.url, error))?;
        let status = response.status();
        if expected.contains(&status) {
            return Ok(response);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let body = response.text().await.map_err(|error| ClientError::no_answer(&self.url, error))?;
        // Only a problem document of analyticsd promises anything; a proxy may answer 504 to a request that arrived.
        match serde_json::from_str::<Problem>(&body) {
            Ok(problem) if problem.status == status.as_u16() && !status.is_success() => Err(ClientError::Refused {
                problem: Box::new(problem),
                retry_after: retry_after.map(Duration::from_secs),
            }),
            _ => Err(ClientError::foreign(&self.url, status, &body)),
        }
    }
}
