use std::{collections::HashSet, sync::Arc};

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use model::{
    Event, Hour, IdempotencyKey, InvalidInput, Keyed, Problem, SiteEvent, SiteHour, SiteName, SourceName, SourceStep,
    Submission, TimeUnit, Timestamp,
    wire::{self, InvalidLine, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_HOURS, SentEvent, SentVisitor},
};
use tokio::time::timeout;
use warp::{Buf, http::StatusCode, reply::Response};

use crate::{
    auth::{BatchSites, RequestSites},
    http::{
        body_coding::BodyCoding,
        error::ApiError,
        event_cutter::EventCutter,
        openapi,
        query_string::{KeySource, QueryString},
        response,
        visitor_names::VisitorNames,
    },
    ingest::{
        job::IngestError,
        lanes::EventLanes,
        limits::{RequestLimits, age::AcceptedTimes, body_budget::BodyShare},
    },
};

/// What batches use of the daemon.
#[derive(Clone)]
pub(crate) struct BatchServices {
    pub(crate) limits: RequestLimits,
    pub(crate) events: Arc<EventLanes>,
    /// For lines with an address instead of a user.
    pub(crate) names: Arc<VisitorNames>,
}

/// `POST /analytics/batch`: a body of one JSON event a line. Returns 204 once all events are committed; otherwise none
/// is. With an idempotency key the batch is stored once, however often it is sent; with keys in its lines, each of
/// these events is stored once. A batch that is a part of a source is stored if the source stands at its beginning.
#[utoipa::path(
    post, path = "", operation_id = "postBatch",
    summary = "Record many events, all or nothing",
    description = "One JSON event a line, or one JSON array of events, perhaps compressed by gzip or zstd; at most 10,000 events, 8 MiB and 256 different hours. Each line may have an \
                   idempotency key of its own in the member `id`, and name its site in the member `site`; the parameter \
                   `site` is for those that do not. Instead of `user` a line may have `address` and `agent`, of which the \
                   server makes a name that is the same for a day, as for the pixel; it stores neither. A batch may be a part of an \
                   ordered `source`, from one position to another: it is stored if the source stands at its beginning, and answered as \
                   repeated if the source stands behind its end. The position is stored in the transaction of the events.",
    params(
        openapi::Site, openapi::KeyInHeader, openapi::KeyAsParameter,
        ("timestamps" = Option<openapi::TimeUnit>, Query,
            description = "How timestamps are written: `ms` as milliseconds since 1970, `s` as seconds, `rfc3339` as RFC 3339, \
                           or `auto` as milliseconds or RFC 3339, the default. `auto` refuses a number that looks like seconds"),
        ("source" = Option<String>, Query, min_length = 1, max_length = 255,
            description = "The ordered source that the batch is a part of: 1 to 255 visible ASCII characters, not beginning with `analyticsd:`"),
        ("from" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_u64, description = "Where in the source the batch begins; 0 at first"),
        ("to" = Option<u64>, Query, maximum = 9_223_372_036_854_775_807_u64, description = "Where in the source the batch ends, behind `from`"),
        ("from_check" = Option<String>, Query, description = "The check of the content before `from`, if the sender makes checks"),
        ("check" = Option<String>, Query, description = "The check of the content before `to`: a hash of 1 to 32 bytes in hexadecimal"),
    ),
    request_body(content = String, content_type = "application/x-ndjson",
        example = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}\n"),
    responses(openapi::Stored, openapi::InvalidRequest, openapi::Late, openapi::Conflict, openapi::TooLarge, openapi::TooLong, openapi::Denied, openapi::Unavailable,
        (status = 415, description = "The body has a `Content-Encoding` other than `gzip`, `zstd` and `identity`; nothing is stored.", body = Problem,
            content_type = "application/problem+json", headers(("Accept-Encoding" = String, description = "`gzip, zstd, identity`")))),
)]
pub(crate) async fn post_batch<S, B>(
    query: QueryString,
    request_sites: RequestSites,
    key: Option<KeySource>,
    coding: BodyCoding,
    body: S,
    mut share: BodyShare,
    BatchServices { limits, events, names }: BatchServices,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
    B: Buf + Send + 'static,
{
    let (key, site, unit, step) = {
        let query = query.parse()?;
        (query.idempotency_key(key.as_ref())?, query.site()?, query.time_unit()?, query.step()?)
    };
    if key.is_some() && step.is_some() {
        return Err(ApiError::Invalid(InvalidInput {
            parameter: SourceName::PARAMETER,
            fault: "is given with an idempotency key for the whole batch".to_owned(),
            accepted: "a source, or a key for the batch, or a source and keys in its lines",
        }));
    }
    let batch = Batch::new(limits.ages.now(), names, request_sites.clone(), site.clone(), unit);
    let reading = timeout(limits.body_timeout, read_events(coding, coding.content(body), batch, &mut share));
    let (mut batch, sites, lines) = reading.await.map_err(|_| ApiError::BodyTimeout(limits.body_timeout))??;
    if let Some(key) = key {
        if !batch.keyed.is_empty() {
            return Err(ApiError::Invalid(InvalidInput {
                parameter: IdempotencyKey::PARAMETER,
                fault: "is in a line of a batch that has a key itself".to_owned(),
                accepted: "one key for the batch, or keys in its lines",
            }));
        }
        batch = Submission::new(batch.events, Some(key));
    }
    if let Some((source, from, to)) = step {
        let site = request_sites.of_source(site.as_ref()).await?;
        batch.step = Some(SourceStep { site, source, from, to });
    } else if batch.events.is_empty() {
        return Ok(response::empty(StatusCode::NO_CONTENT));
    }
    sites.admit(&mut batch.events).await?;
    let a_user_is_unset = batch.events.iter().any(|of_site| of_site.event.user.looks_unset());
    let mut answer = response::stored(events.store_batch(batch, share).await.map_err(|error| of_line(error, &lines))?);
    if a_user_is_unset {
        response::warn_of_unset_user(&mut answer);
    }
    Ok(answer)
}

/// Reads events as they arrive, so that a batch is refused at its first fault and not after its last byte.
async fn read_events(
    coding: BodyCoding,
    mut content: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
    mut batch: Batch,
    share: &mut BodyShare,
) -> Result<(Submission, BatchSites, EventLines), ApiError> {
    let mut bytes = 0;
    let mut cutter = EventCutter::default();
    while let Some(piece) = content.next().await {
        let piece = piece?;
        bytes += piece.len();
        if bytes > MAX_BATCH_BYTES {
            return Err(too_large(format!("{MAX_BATCH_BYTES} bytes")));
        }
        if !share.grow_to(coding.memory() + bytes) {
            return Err(ApiError::BodyMemory);
        }
        cutter.add(&piece);
        while let Some(line) = cutter.next_line() {
            batch.add_line(line).await?;
        }
    }
    let rest = cutter.rest().map_err(ApiError::BrokenArray)?;
    for event in rest {
        batch.add_line(event).await?;
    }
    Ok((batch.submission, batch.sites, batch.event_lines))
}

/// The time of each event, and its line.
type EventLines = Vec<(Timestamp, u64)>;

/// Names the line of an event that comes too late.
fn of_line(error: IngestError, lines: &EventLines) -> ApiError {
    let late = match &error {
        IngestError::Expired(expired) => lines.iter().find(|(at, _)| *at == expired.at),
        _ => None,
    };
    match late {
        Some((_, line)) => ApiError::Line(*line, Box::new(error.into())),
        None => error.into(),
    }
}

fn too_large(limit: String) -> ApiError {
    ApiError::BatchTooLarge { limit }
}

struct Batch {
    accepted: AcceptedTimes,
    names: Arc<VisitorNames>,
    sites: BatchSites,
    /// The site of lines that name none.
    site: Option<SiteName>,
    unit: TimeUnit,
    lines: u64,
    event_lines: EventLines,
    submission: Submission,
    hours: HashSet<Hour>,
    keys: HashSet<(SiteHour, IdempotencyKey)>,
}

impl Batch {
    fn new(
        accepted: AcceptedTimes,
        names: Arc<VisitorNames>,
        sites: RequestSites,
        site: Option<SiteName>,
        unit: TimeUnit,
    ) -> Self {
        Self {
            accepted,
            names,
            sites: BatchSites::new(sites),
            site,
            unit,
            lines: 0,
            event_lines: EventLines::default(),
            submission: Submission::default(),
            hours: HashSet::new(),
            keys: HashSet::new(),
        }
    }

    async fn add_line(&mut self, line: &[u8]) -> Result<(), ApiError> {
        self.lines += 1;
        // The last line may end with a newline or not, and some clients send empty lines.
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let SentEvent { at, kind, visitor, key, site } =
            wire::parse_line(line, self.unit).map_err(|error| match error {
                InvalidLine::Invalid(invalid) => self.faulty_line(ApiError::Invalid(invalid)),
                InvalidLine::NotAnEvent(_) | InvalidLine::NotAnObject => self.faulty_line(ApiError::NotAnEvent(error)),
            })?;
        self.accepted.check(at).map_err(|beyond| self.faulty_line(beyond.into()))?;
        let site = self.sites.find(site.or_else(|| self.site.clone()));
        let site = site.map_err(|refusal| self.faulty_line(refusal.into()))?;
        let user = match visitor {
            SentVisitor::Named(user) => user,
            SentVisitor::Client { address, agent } => self.names.of(at, address, agent.as_bytes()).await?,
        };
        let event = SiteEvent { site, event: Event { at, user, kind } };
        let Submission { events, keyed, .. } = &mut self.submission;
        if let Some(key) = key {
            if !self.keys.insert((event.site_hour(), key.clone())) {
                return Err(self.faulty_line(ApiError::Invalid(InvalidInput {
                    parameter: IdempotencyKey::PARAMETER,
                    fault: "is also in an earlier line of the same hour and site".to_owned(),
                    accepted: "a key of its own for each event of an hour",
                })));
            }
            keyed.push(Keyed { key, events: events.len()..events.len() + 1 });
        }
        self.hours.insert(event.event.hour());
        self.event_lines.push((at, self.lines));
        events.push(event);
        let exceeded = if events.len() > MAX_BATCH_EVENTS {
            format!("{MAX_BATCH_EVENTS} events")
        } else if self.hours.len() > MAX_BATCH_HOURS {
            format!("{MAX_BATCH_HOURS} different hours")
        } else {
            return Ok(());
        };
        Err(too_large(exceeded))
    }

    fn faulty_line(&self, fault: ApiError) -> ApiError {
        ApiError::Line(self.lines, Box::new(fault))
    }
}
