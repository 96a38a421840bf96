//! Every way in which a request can fail, and the one place that maps it to an answer: status, problem document (RFC
//! 9457), headers, and the reason in metrics and log. An answer contains nothing internal.

mod denied;
pub(crate) mod page;

use std::time::Duration;

use model::{
    IdempotencyKey, InvalidInput, Problem, SiteName, SourceName, SourcePosition, SourceStanding, Timestamp,
    wire::InvalidLine,
};
use thiserror::Error;
use warp::{
    Reply,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::{
    auth::{Denial, Limit, RateLimited, Refusal, SiteRefusal},
    batches::LineFault,
    http::body_coding::BodyCoding,
    ingest::{
        expired::Expired,
        job::IngestError,
        limits::age::{OutOfRange, rfc3339},
    },
    query::counts::ReadError,
    telemetry::metrics::{Listener, Reason},
};

/// When to try again, in seconds. A full queue drains faster; a database that restarts takes a little longer.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// Why a request is not served.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// An HTTP/1.1 request without exactly one `Host`.
    Host,
    /// A body of unknown length that is not only chunked.
    TransferCoding,
    /// A batch that is compressed.
    ContentCoding,
    /// The parameters stand in the body, as those of a form.
    FormBody,
    /// A body that no handler would read. `limit` is in bytes.
    IgnoredBody {
        limit: u64,
    },
    QueryTooLong {
        limit: usize,
    },
    /// The tokens are not known, or the request's credentials are not sufficient.
    Denied(Denial),
    RateLimited(RateLimited),
    /// The request cannot use the site.
    Site(SiteRefusal),
    NotFound {
        listener: Listener,
        path: String,
    },
    MethodNotAllowed {
        allowed: String,
    },
    Invalid(InvalidInput),
    OutOfRange(OutOfRange),
    NotAnEvent(InvalidLine),
    /// The body of a batch begins as an array, and does not go on or end as one.
    BrokenArray(serde_json::Error),
    /// A fault in a line of a batch, counted from 1.
    Line(u32, Box<ApiError>),
    BodyEndedEarly,
    /// The body is not of the coding that its header names, or ends within it.
    BodyNotDecoded(BodyCoding),
    BodyTimeout(Duration),
    /// `limit` says how much a batch may hold.
    BatchTooLarge {
        limit: String,
    },
    /// The body budget is used up.
    BodyMemory,
    Ingest(IngestError),
    Read(ReadError),
    TooManyListeners,
    NotReady(String),
    /// All connections of a listener are taken.
    Connections,
    /// One address has as many connections as the limit for each allows.
    ConnectionsOfAddress,
}

/// Marks an answer that must not be sent. The connection is closed instead, because any status would claim to know
/// whether the events are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HangUp;

/// The answer that must not be sent: see [`HangUp`].
#[derive(Debug, Error)]
#[error("the outcome of the request is not known, so the connection is closed without an answer")]
pub(crate) struct NoAnswer;

/// The answer to a failed request.
pub(crate) struct Answer {
    pub(crate) problem: Problem,
    reason: Reason,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Answer {
    fn new(reason: Reason, status: u16, title: &str, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(status, title, detail), reason, header: None }
    }

    fn invalid(invalid: &InvalidInput) -> Self {
        Self { problem: Problem::invalid_parameter(invalid), reason: Reason::Invalid, header: None }
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Names the parameter at fault, and what it accepts.
    fn of_parameter(mut self, parameter: &str, accepted: Option<String>) -> Self {
        self.problem.parameter = Some(parameter.to_owned());
        self.problem.accepted = accepted;
        self
    }
}

impl ApiError {
    /// A path of the public listener without a file.
    pub(crate) fn no_file(path: &str) -> Self {
        Self::NotFound { listener: Listener::Public, path: path.to_owned() }
    }

    /// The answer for the client; `None` if the connection is closed without one.
    #[expect(clippy::too_many_lines, reason = "one exhaustive match maps every failure")]
    pub(crate) fn answer(self) -> Option<Answer> {
        Some(match self {
            Self::Host => Answer::new(
                Reason::Invalid,
                400,
                "Invalid request",
                "A request of HTTP/1.1 must have exactly one header Host; one of HTTP/1.0 may have one.",
            ),
            Self::TransferCoding => Answer::new(
                Reason::Invalid,
                400,
                "Invalid request",
                "A body needs its length in Content-Length, or one header Transfer-Encoding: chunked. Nothing was \
                 stored.",
            ),
            Self::ContentCoding => Answer::new(
                Reason::Invalid,
                415,
                "Content coding not supported",
                "A batch may be compressed by gzip or zstd, once: send it with one of these in Content-Encoding, or without \
                 it. Nothing was stored.",
            )
            // RFC 9110, section 15.5.16: the answer names the codings that are accepted.
            .with(ACCEPT_ENCODING, HeaderValue::from_static(BodyCoding::ACCEPTED)),
            Self::FormBody => Answer::new(
                Reason::Invalid,
                400,
                "Parameters in the body",
                "The parameters stand in the body, as those of a form. They belong in the query of the URL: \
                 /analytics?timestamp=MILLISECONDS&user=NAME&event=click. Nothing was stored.",
            ),
            Self::IgnoredBody { limit } => Answer::new(
                Reason::TooLarge,
                413,
                "Content too large",
                format!(
                    "A body of more than {limit} bytes is not accepted here. An event is in the query string; to send \
                     many at once, POST them to /analytics/batch."
                ),
            ),
            Self::QueryTooLong { limit } => Answer::new(
                Reason::TooLarge,
                414,
                "URI too long",
                format!("The query string may have at most {limit} bytes."),
            ),
            Self::Denied(denial) => denied::answer(denial),
            Self::RateLimited(limited) => rate_limited(limited),
            Self::Site(refusal) => answer_site(refusal),
            Self::NotFound { listener, path } => {
                let shown: String = path.chars().take(200).collect();
                let what_is_there = match listener {
                    Listener::Public => "Events and counts are at /analytics.",
                    Listener::Admin => {
                        "This listener has only the daemon's metrics, at /metrics; events and counts are on another \
                         listener."
                    }
                };
                let detail = format!("There is nothing at {shown}. {what_is_there}");
                Answer::new(Reason::NotFound, 404, "Not found", detail)
            }
            Self::MethodNotAllowed { allowed } => {
                let detail = format!("This path accepts {allowed}.");
                let allowed = HeaderValue::try_from(allowed).expect("names of methods are a value");
                Answer::new(Reason::MethodNotAllowed, 405, "Method not allowed", detail).with(ALLOW, allowed)
            }
            Self::Invalid(invalid) => Answer::invalid(&invalid),
            Self::OutOfRange(out_of_range) => {
                Answer::new(Reason::Invalid, 400, "Timestamp not accepted", format!("{out_of_range}."))
                    .of_parameter(Timestamp::PARAMETER, Some(out_of_range.accepted()))
            }
            Self::NotAnEvent(invalid) => {
                Answer::new(Reason::Invalid, 400, "Invalid line", format!("the line {invalid}."))
            }
            Self::BrokenArray(error) => {
                let detail = format!(
                    "The body begins as a JSON array and is not a whole one: {error}. Accepted is one JSON array of events, or one \
                     JSON object a line. Nothing of the batch was stored."
                );
                Answer::new(Reason::Invalid, 400, "Broken JSON array", detail)
            }
            Self::Line(number, fault) => {
                let mut answer = fault.answer()?;
                answer.problem = answer.problem.at_line(number.into());
                answer.problem.detail.push_str(" Nothing of the batch was stored.");
                answer
            }
            Self::BodyEndedEarly => {
                Answer::new(Reason::Invalid, 400, "Incomplete body", "The body ended early. Nothing was stored.")
            }
            Self::BodyNotDecoded(coding) => Answer::new(
                Reason::Invalid,
                400,
                "Body not decodable",
                format!("The body is not {}, as its Content-Encoding says, or is not whole. Nothing was stored.", coding.name()),
            ),
            Self::BodyTimeout(limit) => {
                let limit = humantime::format_duration(limit);
                let detail = format!("The batch did not arrive within {limit}. Nothing was stored.");
                Answer::new(Reason::TooSlow, 408, "Request timeout", detail)
            }
            Self::BatchTooLarge { limit } => Answer::new(
                Reason::TooLarge,
                413,
                "Content too large",
                format!("A batch may have at most {limit}. Nothing was stored; send it in smaller ones."),
            ),
            Self::BodyMemory | Self::Ingest(IngestError::TooBusy) | Self::Connections => busy(" Nothing was stored."),
            Self::Ingest(IngestError::Rebuilding) => Answer::new(
                Reason::Rebuilding,
                503,
                "Hour being rebuilt",
                "The hour was settled and is being reopened for late events. This takes longer than a request may \
                 wait. Nothing was stored. Try again after a second.",
            ),
            Self::Ingest(IngestError::Unavailable) => {
                unavailable("The database does not answer, or cannot store events now. Nothing was stored.")
            }
            Self::Ingest(IngestError::ShardUnavailable(shard)) => unavailable(&format!(
                "The database of shard {shard}, which this visitor belongs to, does not answer, or cannot store events now. \
                 Nothing was stored."
            )),
            Self::Ingest(IngestError::PartUnavailable(shard)) => unavailable(&format!(
                "The database of shard {shard}, which the batch has events of, does not answer, or cannot store events now, so \
                 the batch is not acknowledged. Give it again under the same key or source: what other databases stored of it \
                 is not counted twice."
            )),
            Self::Ingest(IngestError::RefusedInPart(cause)) => {
                let mut answer = Self::Ingest((*cause).clone()).answer()?;
                // What the cause says by itself is that nothing is stored.
                answer.problem.detail = format!(
                    "What some databases lack of the batch is not stored: {cause}. Other databases of the counter keep the part \
                     of it that they stored when it came before."
                );
                answer
            }
            Self::Ingest(IngestError::Incomplete) => Answer::new(
                Reason::Unavailable,
                503,
                "Stored in part",
                "Some databases of the counter have stored their part of the batch, and others have not, so it is not \
                 acknowledged. Give it again under the same key or source: nothing is counted twice. Try again after a \
                 second.",
            ),
            Self::Ingest(IngestError::Refused) => Answer::new(
                Reason::Refused,
                503,
                "Database refused",
                "The database answers, but did not accept this. The cause is in the server's log. Nothing was stored.",
            ),
            Self::Ingest(IngestError::Conflict(..)) => Answer::new(
                Reason::Conflict,
                409,
                "Idempotency key in use",
                "Another request was stored under this idempotency key, in an hour that this one touches too. Nothing \
                 was stored. To repeat a request, send the same events; for another request, use a new key.",
            )
            .of_parameter(IdempotencyKey::PARAMETER, None),
            Self::Ingest(IngestError::SourceElsewhere(stands_at)) => source_elsewhere(stands_at),
            Self::Ingest(IngestError::SiteDeleted) => {
                invalid_site("The site was deleted a moment ago, so it takes no events.".to_owned())
            }
            Self::Ingest(IngestError::Expired(expired)) => answer_expired(expired),
            Self::Ingest(IngestError::Unknown) => return None,
            Self::Read(ReadError::QueueFull) => busy(""),
            Self::Read(ReadError::Unavailable(None)) => unavailable("The database does not answer."),
            Self::Read(ReadError::Unavailable(Some(shard))) => {
                unavailable(&format!("The database of shard {shard} does not answer, and without it there is no whole answer."))
            }
            Self::TooManyListeners => busy(" The stream has its maximum of listeners."),
            Self::NotReady(why) => Answer::new(Reason::NotReady, 503, "Not ready", why),
            Self::ConnectionsOfAddress => Answer::new(
                Reason::TooBusy,
                503,
                "Too many connections",
                "This address has the most connections that the server allows. Nothing was stored. Try again after a \
                 second, on an open connection.",
            ),
        })
    }
}

fn busy(consequence: &str) -> Answer {
    let detail = format!("Too many requests wait on this server.{consequence} Try again after a second.");
    Answer::new(Reason::TooBusy, 503, "Too busy", detail)
}

fn unavailable(what_is_wrong: &str) -> Answer {
    let detail = format!("{what_is_wrong} Try again after a second.");
    Answer::new(Reason::Unavailable, 503, "Database unavailable", detail)
}

/// The answer to a batch that begins elsewhere than its source stands.
fn source_elsewhere(SourceStanding { at, parts_end_at }: SourceStanding) -> Answer {
    let SourcePosition { position, check } = at;
    let detail = match parts_end_at.first() {
        None => format!(
            "The source stands at {position}, with another beginning or other content than the batch says. It was not \
             stored. If the content up to there is the same, go on at {position}."
        ),
        Some(end) => format!(
            "The source stands at {position}, and some databases of the counter have their part of it up to {end}. Go on \
             at {position}, with batches of which one ends at {end}: nothing is counted twice."
        ),
    };
    let mut answer =
        Answer::new(Reason::Conflict, 409, "Source stands elsewhere", detail).of_parameter(SourceName::PARAMETER, None);
    answer.problem.position = Some(position);
    answer.problem.check = check.map(|check| check.to_string());
    answer.problem.parts_end_at = parts_end_at;
    answer
}

fn invalid_site(detail: String) -> Answer {
    Answer::new(Reason::Invalid, 400, "Site not accepted", detail)
        .of_parameter(SiteName::PARAMETER, Some("the name of a site, as `analytics-cli site list` shows it".to_owned()))
}

/// The answer to a request for a site that it cannot use.
fn answer_site(refusal: SiteRefusal) -> Answer {
    match refusal {
        SiteRefusal::Unknown(name) => invalid_site(format!(
            "There is no site {name}. `analytics-cli site create {name}` makes it; within a second every server knows it."
        )),
        SiteRefusal::Archived => invalid_site("The site is archived, so it takes no events.".to_owned()),
        SiteRefusal::NotNamed => {
            invalid_site("The token of this request is for several sites: name one in the parameter `site`, or with `--site` of analytics-cli.".to_owned())
        }
        SiteRefusal::NotAllowed => Answer::new(
            Reason::Forbidden,
            403,
            "Not for this site",
            "The token or public key of this request may not use this site, or the site that it was for is gone. One \
             that is for a single site needs no parameter `site`.",
        ),
        SiteRefusal::NotKnownYet => Answer::new(
            Reason::Unavailable,
            503,
            "Sites not known yet",
            "The database has not answered since this server started, so the server does not know its sites yet. \
             Nothing was stored. Try again after a second.",
        ),
        SiteRefusal::TooMany(name, most) => invalid_site(format!(
            "There is no site {name}, and events may make a site only while there are fewer than {most} (--new-sites). \
             `analytics-cli site create {name}` makes it."
        )),
        SiteRefusal::NotMade => unavailable(
            "There is no such site as far as this server knows, and the database does not answer. Nothing was stored.",
        ),
        SiteRefusal::RateLimited(limited) => rate_limited(limited),
    }
}

fn rate_limited(RateLimited { limit, retry_after }: RateLimited) -> Answer {
    let requests = match limit {
        Limit::PerToken => "This token sends more requests",
        Limit::PerAddress => "This address sends more requests",
        Limit::PerSite => "This site gets more requests",
        Limit::Guesses => "This address sends more requests without a valid token",
    };
    let seconds = if retry_after == 1 { "second" } else { "seconds" };
    let detail =
        format!("{requests} than this server accepts. Nothing was stored. Try again after {retry_after} {seconds}.");
    Answer::new(Reason::RateLimited, 429, "Too many requests", detail).with(RETRY_AFTER, retry_after.into())
}

fn answer_expired(expired: Expired) -> Answer {
    let (millis, at) = (expired.at.millis(), rfc3339(expired.at));
    if expired.is_within_retention() {
        let detail = format!(
            "timestamp {millis} ({at}) lies in an hour whose raw events are not complete on the server, so the hour \
             can no longer be counted exactly; the server's log has the details. Nothing was stored."
        );
        return Answer::new(Reason::Expired, 400, "Hour incomplete", detail).of_parameter(Timestamp::PARAMETER, None);
    }
    let from = expired.accepts_from.map(|from| from.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    let bound = from.as_deref().map(|from| format!(" The server accepts events from {from} on.")).unwrap_or_default();
    let detail = format!(
        "timestamp {millis} ({at}) lies in an hour whose raw events the retention setting deleted, so the hour can no \
         longer be counted exactly.{bound} Nothing was stored."
    );
    Answer::new(Reason::Expired, 400, "Hour no longer kept", detail)
        .of_parameter(Timestamp::PARAMETER, from.map(|from| format!("from {from} on, in milliseconds since 1970")))
}

impl Reply for ApiError {
    fn into_response(self) -> Response {
        let Some(Answer { problem, reason, header }) = self.answer() else {
            let mut response = Response::default();
            response.extensions_mut().insert(HangUp);
            return response;
        };
        let mut response = Response::new(body_of(&problem).into());
        *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(reason);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        // Another client, or a later request, may get another answer.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Some problem documents repeat the path of the request.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        headers.extend(header);
        // For a browser it becomes a page.
        response.extensions_mut().insert(problem);
        response
    }
}

pub(crate) fn body_of(problem: &Problem) -> Vec<u8> {
    serde_json::to_vec(problem).expect("a problem holds only strings and numbers")
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied(denial) => Self::Denied(denial),
            Refusal::RateLimited(limited) => Self::RateLimited(limited),
        }
    }
}

impl From<InvalidInput> for ApiError {
    fn from(invalid: InvalidInput) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<LineFault> for ApiError {
    fn from(fault: LineFault) -> Self {
        match fault {
            LineFault::Invalid(invalid) => Self::Invalid(invalid),
            LineFault::NotAnEvent(invalid) => Self::NotAnEvent(invalid),
            LineFault::OutOfRange(out_of_range) => Self::OutOfRange(out_of_range),
            LineFault::Site(refusal) => Self::Site(refusal),
            LineFault::NoName(error) => Self::Read(error),
        }
    }
}

impl From<OutOfRange> for ApiError {
    fn from(out_of_range: OutOfRange) -> Self {
        Self::OutOfRange(out_of_range)
    }
}

impl From<SiteRefusal> for ApiError {
    fn from(refusal: SiteRefusal) -> Self {
        Self::Site(refusal)
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        Self::Ingest(error)
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}
