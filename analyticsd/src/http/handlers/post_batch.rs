use std::{collections::HashSet, sync::Arc};

use futures_util::{Stream, StreamExt};
use model::{
    Hour, IdempotencyKey, InvalidInput, Keyed, Problem, SiteEvent, SiteHour, SiteName, Submission,
    wire::{self, InvalidLine, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_HOURS, SentEvent},
};
use tokio::time::timeout;
use warp::{Buf, http::StatusCode, reply::Response};

use crate::{
    auth::{BatchSites, RequestSites},
    http::{
        error::ApiError,
        openapi,
        query_string::{KeySource, QueryString},
        response,
    },
    ingest::{
        lanes::EventLanes,
        limits::{RequestLimits, age::AcceptedTimes, body_budget::BodyShare},
    },
};

/// `POST /analytics/batch`: a body of one JSON event a line. Returns 204 once all events are committed; otherwise none
/// is. With an idempotency key the batch is stored once, however often it is sent; with keys in its lines, each of
/// these events is stored once.
#[utoipa::path(
    post, path = "", operation_id = "postBatch",
    summary = "Record many events, all or nothing",
    description = "One JSON event a line; at most 10,000 events, 8 MiB and 256 different hours. Each line may have an \
                   idempotency key of its own in the member `id`, and name its site in the member `site`; the parameter \
                   `site` is for those that do not.",
    params(openapi::Site, openapi::KeyInHeader, openapi::KeyAsParameter),
    request_body(content = String, content_type = "application/x-ndjson",
        example = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}\n"),
    responses(openapi::Stored, openapi::InvalidRequest, openapi::Late, openapi::Conflict, openapi::TooLarge, openapi::TooLong, openapi::Denied, openapi::Unavailable,
        (status = 415, description = "The body has a `Content-Encoding` other than `identity`; nothing is stored.", body = Problem,
            content_type = "application/problem+json", headers(("Accept-Encoding" = String, description = "`identity`")))),
)]
pub(crate) async fn post_batch<S, B>(
    query: QueryString,
    sites: RequestSites,
    key: Option<KeySource>,
    body: S,
    mut share: BodyShare,
    limits: RequestLimits,
    events: Arc<EventLanes>,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>> + Unpin,
    B: Buf,
{
    let (key, site) = {
        let query = query.parse()?;
        (query.idempotency_key(key.as_ref())?, query.site()?)
    };
    let batch = Batch::new(limits.ages.now(), sites, site);
    let reading = timeout(limits.body_timeout, read_events(body, batch, &mut share));
    let (mut batch, sites) = reading.await.map_err(|_| ApiError::BodyTimeout(limits.body_timeout))??;
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
    if batch.events.is_empty() {
        return Ok(response::empty(StatusCode::NO_CONTENT));
    }
    sites.admit(&mut batch.events).await?;
    Ok(response::stored(events.store_batch(batch, share).await?))
}

/// Reads lines as they arrive, so that a batch is refused at its first fault and not after its last byte.
async fn read_events<S, B>(
    mut body: S,
    mut batch: Batch,
    share: &mut BodyShare,
) -> Result<(Submission, BatchSites), ApiError>
where
    S: Stream<Item = Result<B, warp::Error>> + Unpin,
    B: Buf,
{
    let mut bytes = 0;
    let mut line = Vec::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|_| ApiError::BodyEndedEarly)?;
        bytes += chunk.remaining();
        if bytes > MAX_BATCH_BYTES {
            return Err(too_large(format!("{MAX_BATCH_BYTES} bytes")));
        }
        if !share.grow_to(bytes) {
            return Err(ApiError::BodyMemory);
        }
        while chunk.has_remaining() {
            let part = chunk.chunk();
            let newline = part.iter().position(|&byte| byte == b'\n');
            line.extend_from_slice(&part[..newline.unwrap_or(part.len())]);
            chunk.advance(newline.map_or(part.len(), |at| at + 1));
            if newline.is_some() {
                batch.add_line(&line)?;
                line.clear();
            }
        }
    }
    batch.add_line(&line)?;
    Ok((batch.submission, batch.sites))
}

fn too_large(limit: String) -> ApiError {
    ApiError::BatchTooLarge { limit }
}

struct Batch {
    accepted: AcceptedTimes,
    sites: BatchSites,
    /// The site of lines that name none.
    site: Option<SiteName>,
    lines: u64,
    submission: Submission,
    hours: HashSet<Hour>,
    keys: HashSet<(SiteHour, IdempotencyKey)>,
}

impl Batch {
    fn new(accepted: AcceptedTimes, sites: RequestSites, site: Option<SiteName>) -> Self {
        Self {
            accepted,
            sites: BatchSites::new(sites),
            site,
            lines: 0,
            submission: Submission::default(),
            hours: HashSet::new(),
            keys: HashSet::new(),
        }
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), ApiError> {
        self.lines += 1;
        // The last line may end with a newline or not, and some clients send empty lines.
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let SentEvent { event, key, site } = wire::parse_line(line).map_err(|error| match error {
            InvalidLine::Invalid(invalid) => self.faulty_line(ApiError::Invalid(invalid)),
            InvalidLine::NotAnEvent(_) | InvalidLine::NotAnObject => self.faulty_line(ApiError::NotAnEvent(error)),
        })?;
        self.accepted.check(event.at).map_err(|beyond| self.faulty_line(beyond.into()))?;
        let site = self.sites.find(site.or_else(|| self.site.clone()));
        let event = SiteEvent { site: site.map_err(|refusal| self.faulty_line(refusal.into()))?, event };
        let Submission { events, keyed } = &mut self.submission;
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
