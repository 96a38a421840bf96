use std::{collections::HashSet, sync::Arc};

use futures_util::{Stream, StreamExt};
use model::{
    Hour, IdempotencyKey, InvalidInput, Keyed, Problem, Submission,
    wire::{self, InvalidLine, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_HOURS},
};
use tokio::time::timeout;
use warp::{Buf, reply::Response};

use super::MAX_QUERY_BYTES;
use crate::{
    http::{
        openapi,
        query_string::{self, KeySource},
        reply,
    },
    ingest::{
        lanes::Lanes,
        limits::{RequestLimits, age::AcceptedTimes, body_budget::BodyShare},
    },
};

/// `POST /analytics/batch`: a body of one JSON event a line; 204 once all of them are committed, else none is. With an idempotency key
/// the batch is stored once, however often it is sent; with keys in its lines, each of those is.
#[utoipa::path(
    post, path = "/analytics/batch", operation_id = "postBatch", tag = "events",
    summary = "Record many events, all or nothing",
    description = "One JSON event a line; at most 10,000 events, 8 MiB and 256 different hours. Each line may have an idempotency key of its \
                   own in the member `id`.",
    params(openapi::KeyInHeader, openapi::KeyAsParameter),
    request_body(content = String, content_type = "application/x-ndjson",
        example = "{\"timestamp\":1431857103000,\"user\":\"anna\",\"event\":\"click\"}\n"),
    responses(openapi::Stored, openapi::InvalidRequest, openapi::Late, openapi::Conflict, openapi::TooLarge, openapi::TooLong, openapi::Denied, openapi::Unavailable,
        (status = 415, description = "The body has a `Content-Encoding` other than `identity`; nothing is stored.", body = Problem,
            content_type = "application/problem+json", headers(("Accept-Encoding" = String, description = "`identity`")))),
    security(("token" = ["write"]))
)]
pub(crate) async fn post_batch<S, B>(
    query: String,
    key: Option<KeySource>,
    body: S,
    limits: RequestLimits,
    lanes: Arc<Lanes>,
    mut share: BodyShare,
) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Unpin,
    B: Buf,
{
    if query.len() > MAX_QUERY_BYTES {
        return reply::uri_too_long(MAX_QUERY_BYTES);
    }
    let key = match query_string::idempotency_key(&query, key.as_ref()) {
        Ok(key) => key,
        Err(invalid) => return reply::invalid(&invalid),
    };
    let mut batch = match timeout(limits.body_timeout, read_events(body, limits.ages.now(), &mut share)).await {
        Ok(Ok(batch)) => batch,
        Ok(Err(problem)) => return reply::problem(&problem),
        Err(_) => {
            let limit = humantime::format_duration(limits.body_timeout);
            let detail = format!("The batch did not arrive within {limit}. Nothing was stored.");
            return reply::problem(&Problem::new(408, "Request timeout", detail));
        }
    };
    if let Some(key) = key {
        if !batch.keyed.is_empty() {
            return reply::invalid(&InvalidInput {
                parameter: IdempotencyKey::PARAMETER,
                fault: "stands in a line of a batch that came under a key itself".to_owned(),
                accepted: "one key for the batch, or keys in its lines",
            });
        }
        batch = Submission::new(batch.events, Some(key));
    }
    if batch.events.is_empty() {
        return reply::no_content();
    }
    reply::stored(lanes.store_batch(batch, share).await)
}

/// Reads lines as they arrive, so that a batch is refused at its first fault and not after its last byte.
async fn read_events<S, B>(mut body: S, accepted: AcceptedTimes, share: &mut BodyShare) -> Result<Submission, Problem>
where
    S: Stream<Item = Result<B, warp::Error>> + Unpin,
    B: Buf,
{
    let mut batch = Batch::new(accepted);
    let mut bytes = 0;
    let mut line = Vec::new();
    while let Some(chunk) = body.next().await {
        let mut chunk =
            chunk.map_err(|_| Problem::new(400, "Incomplete body", "The body ended early. Nothing was stored."))?;
        bytes += chunk.remaining();
        if bytes > MAX_BATCH_BYTES {
            return Err(too_large(format!(
                "A batch may have at most {MAX_BATCH_BYTES} bytes. Nothing was stored; send it in smaller ones."
            )));
        }
        if !share.grow_to(bytes) {
            return Err(reply::busy("Nothing was stored."));
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
    Ok(batch.submission)
}

fn too_large(detail: String) -> Problem {
    Problem::new(413, "Content too large", detail)
}

struct Batch {
    accepted: AcceptedTimes,
    lines: u64,
    submission: Submission,
    hours: HashSet<Hour>,
    keys: HashSet<(Hour, IdempotencyKey)>,
}

impl Batch {
    fn new(accepted: AcceptedTimes) -> Self {
        Self { accepted, lines: 0, submission: Submission::default(), hours: HashSet::new(), keys: HashSet::new() }
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.lines += 1;
        // Writers end their files with a newline or not, and some leave a line empty.
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let (event, key) = wire::parse_line(line).map_err(|error| match error {
            InvalidLine::Invalid(invalid) => self.faulty_line(Problem::invalid_parameter(&invalid)),
            InvalidLine::NotAnEvent(_) | InvalidLine::NotAnObject => {
                self.faulty_line(Problem::new(400, "Invalid line", format!("the line {error}.")))
            }
        })?;
        self.accepted.check(event.at).map_err(|beyond| self.faulty_line(beyond.problem()))?;
        let Submission { events, keyed } = &mut self.submission;
        if let Some(key) = key {
            if !self.keys.insert((event.hour(), key.clone())) {
                return Err(self.faulty_line(Problem::invalid_parameter(&InvalidInput {
                    parameter: IdempotencyKey::PARAMETER,
                    fault: "stands in an earlier line of the same hour too".to_owned(),
                    accepted: "a key of its own for each event of an hour",
                })));
            }
            keyed.push(Keyed { key, events: events.len()..events.len() + 1 });
        }
        self.hours.insert(event.hour());
        events.push(event);
        let exceeded = if events.len() > MAX_BATCH_EVENTS {
            format!("{MAX_BATCH_EVENTS} events")
        } else if self.hours.len() > MAX_BATCH_HOURS {
            format!("{MAX_BATCH_HOURS} different hours")
        } else {
            return Ok(());
        };
        Err(too_large(format!("A batch may hold at most {exceeded}. Nothing was stored; send it in smaller ones.")))
    }

    fn faulty_line(&self, problem: Problem) -> Problem {
        let problem = problem.at_line(self.lines);
        Problem { detail: format!("{} Nothing of the batch was stored.", problem.detail), ..problem }
    }
}
