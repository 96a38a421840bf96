use std::{collections::HashMap, sync::Arc};

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use model::{
    IdempotencyKey, InvalidInput, Problem, SiteHour, SourceName, SourceStep, Submission, Timestamp,
    wire::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_HOURS},
};
use tokio::time::timeout;
use warp::{Buf, http::StatusCode, reply::Response};

use crate::{
    auth::RequestSites,
    batches::{Batch, LineEvent, LineFault, LineReader, Unfit, VisitorNames},
    http::{
        body_coding::BodyCoding,
        error::ApiError,
        event_cutter::EventCutter,
        openapi,
        query_string::{KeySource, QueryString},
        response,
    },
    ingest::{
        job::IngestError,
        lanes::EventLanes,
        limits::{RequestLimits, body_budget::BodyShare},
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
    let lines = LineReader::new(limits.ages.now(), names, request_sites.clone(), site.clone(), unit);
    let reading = timeout(limits.body_timeout, read_events(coding, coding.content(body), lines, &mut share));
    let ReadBatch { lines, batch, places, .. } =
        reading.await.map_err(|_| ApiError::BodyTimeout(limits.body_timeout))??;
    if key.is_some() && batch.has_keys() {
        return Err(ApiError::Invalid(InvalidInput {
            parameter: IdempotencyKey::PARAMETER,
            fault: "is in a line of a batch that has a key itself".to_owned(),
            accepted: "one key for the batch, or keys in its lines",
        }));
    }
    let mut batch = batch.into_submission();
    if key.is_some() {
        batch = Submission::new(batch.events, key);
    }
    if let Some((source, from, to)) = step {
        let site = request_sites.of_source(site.as_ref()).await?;
        batch.step = Some(Box::new(SourceStep { site, source, from, to }));
    } else if batch.events.is_empty() {
        return Ok(response::empty(StatusCode::NO_CONTENT));
    }
    if !events.takes_unnamed_batches() && batch.step.is_none() && !batch.is_all_keyed() {
        return Err(ApiError::Invalid(InvalidInput {
            parameter: SourceName::PARAMETER,
            fault: "is not given, and neither is an idempotency key".to_owned(),
            accepted: "a source, a key for the batch, or a key in each line: this counter has several databases, and what one of \
                       them lacks is completed when the batch is given again",
        }));
    }
    lines.admit(&mut batch.events).await?;
    let a_user_is_unset = batch.events.iter().any(|of_site| of_site.event.user.looks_unset());
    let stored = events.store_batch(batch, Some(share)).await;
    let mut answer = response::stored(stored.map_err(|error| places.of(error))?);
    if a_user_is_unset {
        response::warn_of_unset_user(&mut answer);
    }
    Ok(answer)
}

/// Reads events as they arrive, so that a batch is refused at its first fault and not after its last byte.
async fn read_events(
    coding: BodyCoding,
    mut content: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
    lines: LineReader,
    share: &mut BodyShare,
) -> Result<ReadBatch, ApiError> {
    let mut read = ReadBatch { lines, batch: Batch::default(), number: 0, places: Places::default() };
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
            read.add_line(line).await?;
        }
    }
    let rest = cutter.rest().map_err(ApiError::BrokenArray)?;
    for event in rest {
        read.add_line(event).await?;
    }
    Ok(read)
}

fn too_large(limit: String) -> ApiError {
    ApiError::BatchTooLarge { limit }
}

/// What was read of a batch.
struct ReadBatch {
    lines: LineReader,
    batch: Batch,
    /// Of the last line, counted from 1.
    number: u32,
    places: Places,
}

impl ReadBatch {
    async fn add_line(&mut self, line: &[u8]) -> Result<(), ApiError> {
        self.number += 1;
        let event = match self.lines.read(line).await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(LineFault::NoName(error)) => return Err(error.into()),
            Err(fault) => return Err(ApiError::Line(self.number, Box::new(fault.into()))),
        };
        self.places.add(&event, self.number);
        self.batch.add(event).map_err(|unfit| match unfit {
            Unfit::TooManyEvents => too_large(format!("{MAX_BATCH_EVENTS} events")),
            Unfit::TooManyHours => too_large(format!("{MAX_BATCH_HOURS} different hours")),
            Unfit::SameKey => {
                let invalid = InvalidInput {
                    parameter: IdempotencyKey::PARAMETER,
                    fault: "is also in an earlier line of the same hour and site".to_owned(),
                    accepted: "a key of its own for each event of an hour",
                };
                ApiError::Line(self.number, Box::new(invalid.into()))
            }
        })
    }
}

/// In which lines the events of a batch are.
#[derive(Default)]
struct Places {
    /// Of all events, in their order.
    lines: Vec<(Timestamp, u32)>,
    of_keys: HashMap<(SiteHour, IdempotencyKey), u32>,
}

impl Places {
    fn add(&mut self, LineEvent { event, key }: &LineEvent, line: u32) {
        self.lines.push((event.event.at, line));
        if let Some(key) = key {
            self.of_keys.entry((event.site_hour(), key.clone())).or_insert(line);
        }
    }

    /// Names the line of an event that comes too late, or under the key of another.
    fn of(&self, error: IngestError) -> ApiError {
        let found = match &error {
            IngestError::Expired(expired) => self.lines.iter().find(|(at, _)| *at == expired.at).map(|(_, line)| *line),
            IngestError::Conflict(at, key) => self.of_keys.get(&(*at, key.clone())).copied(),
            _ => None,
        };
        match found {
            Some(line) => ApiError::Line(line, Box::new(error.into())),
            None => error.into(),
        }
    }
}
