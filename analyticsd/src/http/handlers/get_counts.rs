use std::{fmt::Write, sync::Arc};

use model::Hour;
use warp::reply::Response;

use super::MAX_QUERY_BYTES;
use crate::{
    http::{openapi, query_string, reply},
    ingest::lanes::Lanes,
};

/// `GET /analytics?timestamp=…`: the exact counts of the hour that holds the timestamp.
#[utoipa::path(
    get, path = "/analytics", operation_id = "getCounts", tag = "counts",
    summary = "The exact counts of an hour",
    description = "Counts every event that was acknowledged before the request was sent. Three lines: unique_users,N clicks,N impressions,N.",
    params(("timestamp" = i64, Query, minimum = 0, maximum = 253_402_300_799_999_i64, example = 1_431_857_103_000_i64,
        description = "Any instant of the UTC hour, in milliseconds since 1970")),
    responses(
        (status = 200, description = "The counts; zeros for an hour without events", body = String, content_type = "text/plain; charset=utf-8",
            example = "unique_users,2\nclicks,1\nimpressions,1\n"),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
    security(("token" = ["read"]))
)]
pub(crate) async fn get_counts(query: String, lanes: Arc<Lanes>) -> Response {
    if query.len() > MAX_QUERY_BYTES {
        return reply::uri_too_long(MAX_QUERY_BYTES);
    }
    let at = match query_string::timestamp(&query) {
        Ok(at) => at,
        Err(invalid) => return reply::invalid(&invalid),
    };
    match lanes.counts(Hour::containing(at)).await {
        Ok(counts) => {
            // So long that it need not grow while it is written.
            let mut text = String::with_capacity(96);
            let _ = write!(text, "{counts}");
            reply::text(text)
        }
        Err(reason) => reply::unanswered(reason),
    }
}
