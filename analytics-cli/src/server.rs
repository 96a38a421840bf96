use std::{ffi::OsStr, fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};
use db::{describe, mask_password};
use model::{
    BearerToken, Event, EventKind, Hour, HourCounts, HourRow, HoursPage, IdempotencyKey, Problem, Timestamp, UserName,
    wire,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect, retry,
};
use thiserror::Error;

use crate::settings::{Setting, Source};

/// The longest that opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a request may take. The daemon gives up and says so well before.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// The longest that a stream may go on until it is asked for anew.
const LONGEST_STREAM: Duration = Duration::from_hours(24);
/// A connection that was idle for longer is not used again. The daemon closes idle connections too, and a request that is
/// written into one while it is being closed would leave its sender not knowing whether it arrived.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The address of analyticsd, or of the proxy before it that speaks TLS: `http://HOST:PORT` or `https://HOST`, without a path at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

/// A text that is no address of analyticsd.
#[derive(Debug, Error)]
#[error(
    "this is no address of analyticsd; accepted is http://HOST:PORT or https://HOST (analyticsd itself does not speak TLS, a proxy in front may)"
)]
pub(crate) struct InvalidServerUrl;

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: Url = text.parse().map_err(|_| InvalidServerUrl)?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none();
        if usable { Ok(Self(text.trim_end_matches('/').to_owned())) } else { Err(InvalidServerUrl) }
    }
}

/// Reads an address that is given with a flag or by the environment. Other parsers repeat in their errors what was given, with its password.
#[derive(Debug, Clone)]
pub(crate) struct ServerUrlParser;

impl TypedValueParser for ServerUrlParser {
    type Value = ServerUrl;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<ServerUrl, clap::Error> {
        let text = value.to_string_lossy();
        text.parse().map_err(|error: InvalidServerUrl| {
            let (flag, masked) = (flag.map(Arg::to_string).unwrap_or_default(), mask_password(&text));
            let message = format!("invalid value '{masked}' for '{flag}': {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

impl ServerUrl {
    /// The same to be shown: what stands in between may ask for a password.
    pub(crate) fn masked(&self) -> Self {
        Self(mask_password(&self.0))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request that did not bring what was asked for.
#[derive(Debug, Error)]
pub(crate) enum ServerError {
    /// No connection could be opened, so nothing was sent.
    #[error(
        "cannot reach {url}: {cause}; is analyticsd running? Start it with `analyticsd --embedded`, or point {setting} at it"
    )]
    Unreachable {
        /// Where it should be.
        url: ServerUrl,
        /// Which setting says so.
        setting: String,
        /// What the system said.
        cause: String,
    },
    /// The connection broke, or too much time went by, after something was sent.
    #[error("{url} took the request, but no answer came: {cause}")]
    NoAnswer {
        /// Where the request went.
        url: ServerUrl,
        /// What the system said.
        cause: String,
    },
    /// The daemon said no. It promises that nothing of the request is stored.
    #[error("the server refused with {}", describe_problem(problem))]
    Refused {
        /// What the daemon said.
        problem: Box<Problem>,
        /// How long it asked to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// An answer that the daemon never gives, so something else is there or stands in between.
    #[error("{url} answered with {status} and {excerpt:?}, which analyticsd never does; is {setting} right?")]
    Foreign {
        /// Where the request went.
        url: ServerUrl,
        /// Which setting says so.
        setting: String,
        /// The status of the answer.
        status: StatusCode,
        /// The beginning of its body.
        excerpt: String,
    },
}

impl ServerError {
    /// Whether an answer came, and was a no.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Foreign { status, .. } => status.is_client_error() || status.is_server_error(),
            Self::Unreachable { .. } | Self::NoAnswer { .. } => false,
        }
    }

    /// Whether what was sent may be stored all the same.
    pub(crate) fn leaves_fate_unknown(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Foreign { .. })
    }
}

/// What the daemon did with events that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// They are committed.
    Stored,
    /// The database is away; they are on the daemon's disk, and will be stored when it is back.
    Spooled,
}

/// Any answer, and what is known about when it was given.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its body.
    pub(crate) body: String,
    /// What the server's clock said, to the second.
    pub(crate) date: Option<DateTime<Utc>>,
    /// This machine's clock before the request was sent.
    pub(crate) asked: DateTime<Utc>,
    /// The same when the answer had begun to come.
    pub(crate) answered: DateTime<Utc>,
}

/// Which server, and what opens it.
#[derive(Debug)]
pub(crate) struct Access {
    /// Where it is.
    pub(crate) server: Setting<ServerUrl>,
    /// What opens it, if anything does.
    pub(crate) token: Option<Setting<BearerToken>>,
}

/// One analyticsd, and the connections to it. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Server {
    url: ServerUrl,
    /// What to look at if the address is not right.
    setting: String,
    http: Client,
}

impl Server {
    /// Prepares to connect; nothing is opened yet.
    pub(crate) fn new(Access { server: Setting { value: url, source }, token }: Access) -> Self {
        let setting = match source {
            Source::Profile { .. } => format!("server of {source}"),
            _ => "--server".to_owned(),
        };
        let headers = token.map(|Setting { value: token, .. }| {
            let authorization = HeaderValue::try_from(token.authorization());
            let mut authorization = authorization.expect("a token is visible ASCII");
            authorization.set_sensitive(true);
            HeaderMap::from_iter([(AUTHORIZATION, authorization)])
        });
        let http = Client::builder()
            .default_headers(headers.unwrap_or_default())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            // An event that is sent twice is counted twice, so nothing is ever sent again behind our back.
            .retry(retry::never())
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client with constant settings can be built");
        Self { url, setting, http }
    }

    /// Sends one event, under an idempotency key if one is given.
    pub(crate) async fn send(&self, event: &Event, key: Option<&IdempotencyKey>) -> Result<Delivery, ServerError> {
        let user = utf8_percent_encode(event.user.as_str(), NON_ALPHANUMERIC);
        let url = format!(
            "{}&{}={user}&{}={}",
            self.analytics(event.at),
            UserName::PARAMETER,
            EventKind::PARAMETER,
            event.kind
        );
        let request = self.http.post(url);
        self.delivery_of(match key {
            Some(key) => request.header(IdempotencyKey::HEADER, key.as_str()),
            None => request,
        })
        .await
    }

    /// Asks for the counts of an hour.
    pub(crate) async fn counts(&self, hour: Hour) -> Result<HourCounts, ServerError> {
        let response = self.answer_of(self.http.get(self.analytics(hour.start())), &[StatusCode::OK]).await?;
        let status = response.status();
        let body = response.text().await.map_err(|error| self.no_answer(error))?;
        body.parse().map_err(|_| self.foreign(status, &body))
    }

    /// Every hour of a range, both ends included.
    pub(crate) async fn hours(&self, first: Hour, last: Hour) -> Result<Vec<HourRow>, ServerError> {
        let mut hours = Vec::new();
        let mut next = Some(format!("{}?from={first}&to={last}&format=json", wire::HOURS_PATH));
        while let Some(path) = next {
            let response = self.answer_of(self.http.get(format!("{}{path}", self.url)), &[StatusCode::OK]).await?;
            let status = response.status();
            let body = response.text().await.map_err(|error| self.no_answer(error))?;
            let page: HoursPage = serde_json::from_str(&body).map_err(|_| self.foreign(status, &body))?;
            // Without this a server that is none of ours could keep us asking for ever.
            if page.hours.is_empty() {
                return Err(self.foreign(status, &body));
            }
            hours.extend(page.hours);
            next = page.next;
        }
        Ok(hours)
    }

    /// Listens to the current hour. What comes are server-sent events.
    pub(crate) async fn listen(&self) -> Result<Response, ServerError> {
        // It goes on for as long as anybody listens; whoever reads it bounds how long it may be silent.
        let request = self.http.get(format!("{}{}", self.url, wire::STREAM_PATH)).timeout(LONGEST_STREAM);
        let response = self.answer_of(request, &[StatusCode::OK]).await?;
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // What is no stream would end at once, and be listened to again and again.
        if media_type.starts_with("text/event-stream") {
            Ok(response)
        } else {
            Err(self.foreign(response.status(), media_type))
        }
    }

    /// Asks for a path and takes any answer, whatever it is, if it comes in time.
    pub(crate) async fn probe(&self, path: &str, limit: Duration) -> Result<Probe, ServerError> {
        let request = self.http.get(format!("{}{path}", self.url)).timeout(limit);
        let asked = Utc::now();
        let response = request.send().await.map_err(|error| self.no_answer(error))?;
        let answered = Utc::now();
        let date = response.headers().get(DATE).and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
        let (status, date) = (response.status(), date.map(|date| date.to_utc()));
        let body = response.text().await.map_err(|error| self.no_answer(error))?;
        Ok(Probe { status, body, date, asked, answered })
    }

    /// Where it is, to be shown.
    pub(crate) fn url(&self) -> ServerUrl {
        self.url.masked()
    }

    /// What to look at if that is not right.
    pub(crate) fn setting(&self) -> &str {
        &self.setting
    }

    /// Sends many events, written as newline-delimited JSON. They are stored together or not at all.
    pub(crate) async fn send_batch(&self, lines: &[u8]) -> Result<Delivery, ServerError> {
        let url = format!("{}{}", self.url, wire::BATCH_PATH);
        let request = self.http.post(url).header(CONTENT_TYPE, wire::NDJSON).body(lines.to_vec());
        self.delivery_of(request).await
    }

    async fn delivery_of(&self, request: RequestBuilder) -> Result<Delivery, ServerError> {
        let response = self.answer_of(request, &[StatusCode::NO_CONTENT, StatusCode::ACCEPTED]).await?;
        Ok(if response.status() == StatusCode::ACCEPTED { Delivery::Spooled } else { Delivery::Stored })
    }

    fn analytics(&self, at: Timestamp) -> String {
        format!("{}{}?{}={}", self.url, wire::ANALYTICS_PATH, Timestamp::PARAMETER, at.millis())
    }

    async fn answer_of(&self, request: RequestBuilder, expected: &[StatusCode]) -> Result<Response, ServerError> {
        let response = request.send().await.map_err(|error| self.no_answer(error))?;
        let status = response.status();
        if expected.contains(&status) {
            return Ok(response);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let body = response.text().await.map_err(|error| self.no_answer(error))?;
        // Only the daemon's own word is a promise; what stands in between may answer 504 for a request that arrived.
        match serde_json::from_str::<Problem>(&body) {
            Ok(problem) if problem.status == status.as_u16() && !status.is_success() => Err(ServerError::Refused {
                problem: Box::new(problem),
                retry_after: retry_after.map(Duration::from_secs),
            }),
            _ => Err(self.foreign(status, &body)),
        }
    }

    pub(crate) fn no_answer(&self, error: reqwest::Error) -> ServerError {
        let (url, connecting) = (self.url.masked(), error.is_connect());
        let cause = describe(&error.without_url());
        if connecting {
            ServerError::Unreachable { url, setting: self.setting.clone(), cause }
        } else {
            ServerError::NoAnswer { url, cause }
        }
    }

    fn foreign(&self, status: StatusCode, body: &str) -> ServerError {
        let (url, setting) = (self.url.masked(), self.setting.clone());
        ServerError::Foreign { url, setting, status, excerpt: body.chars().take(100).collect() }
    }
}

fn describe_problem(problem: &Problem) -> String {
    let Problem { status, title, detail, accepted, .. } = problem;
    let story = format!("{status} ({title}): {detail}");
    match accepted {
        Some(accepted) if !detail.contains(accepted.as_str()) => format!("{story} Accepted is {accepted}."),
        _ => story,
    }
}

#[cfg(test)]
mod tests {
    use model::{InvalidInput, Problem};

    use super::{ServerUrl, describe_problem};

    #[test]
    fn a_server_is_an_http_address_without_a_query() {
        for (text, accepted) in [
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("http://counter/", Some("http://counter")),
            ("http://[::1]:8080/prefix/", Some("http://[::1]:8080/prefix")),
            ("https://counter/", Some("https://counter")),
            ("ftp://counter", None),
            ("counter:8080", None),
            ("127.0.0.1:8080", None),
            ("http://", None),
            ("http://counter/?a=b", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<ServerUrl>().ok().map(|url| url.to_string()).as_deref(), accepted, "{text:?}");
        }
    }

    #[test]
    fn a_password_of_a_server_is_not_shown() {
        let url: ServerUrl = "http://ann:secret@counter:8080".parse().unwrap();
        assert_eq!(url.masked().to_string(), "http://ann:***@counter:8080");
    }

    #[test]
    fn what_a_refusal_accepts_is_said_once() {
        let invalid = InvalidInput { parameter: "user", fault: "is empty".to_owned(), accepted: "a name" };
        let full = Problem::invalid_parameter(&invalid);
        assert_eq!(describe_problem(&full), "400 (Invalid parameter): user is empty; accepted is a name.");
        let terse = Problem { detail: "user is empty.".to_owned(), ..full };
        assert_eq!(describe_problem(&terse), "400 (Invalid parameter): user is empty. Accepted is a name.");
    }
}
