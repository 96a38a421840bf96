use std::sync::Arc;

use warp::reply::Response;

use super::MAX_QUERY_BYTES;
use crate::{
    http::{
        openapi,
        query_string::{self, KeySource},
        reply,
    },
    ingest::{lanes::Lanes, limits::age::AgeLimits},
};

/// `POST /analytics?timestamp=…&user=…&event=…`: 204 once the event is committed. With an idempotency key it is stored once,
/// however often it is sent.
#[utoipa::path(
    post, path = "/analytics", operation_id = "postEvent", tag = "events",
    summary = "Record a click or an impression",
    description = "204 means committed. Two equal requests are two events, unless they come under the same idempotency key.",
    params(
        ("timestamp" = i64, Query, minimum = 0, maximum = 253_402_300_799_999_i64, example = 1_431_857_103_000_i64,
            description = "When it happened, in milliseconds since 1970. A server may accept less than this range; then it says what"),
        ("user" = String, Query, min_length = 1, max_length = 256, example = "anna",
            description = "Who: 1 to 256 bytes of UTF-8 without NUL, so fewer characters than `maxLength` where some take several bytes. Two \
                           names are one user only if they are the same bytes"),
        ("event" = openapi::EventKind, Query, description = "What happened"),
        openapi::KeyInHeader, openapi::KeyAsParameter,
    ),
    responses(openapi::Stored, openapi::InvalidRequest, openapi::Conflict, openapi::TooLarge, openapi::TooLong, openapi::Denied, openapi::Unavailable),
    security(("token" = ["write"]), ("public_key" = []))
)]
pub(crate) async fn post_event(query: String, key: Option<KeySource>, ages: AgeLimits, lanes: Arc<Lanes>) -> Response {
    if query.len() > MAX_QUERY_BYTES {
        return reply::uri_too_long(MAX_QUERY_BYTES);
    }
    let (event, key) = match query_string::event(&query)
        .and_then(|event| Ok((event, query_string::idempotency_key(&query, key.as_ref())?)))
    {
        Ok(given) => given,
        Err(invalid) => return reply::invalid(&invalid),
    };
    if let Err(beyond) = ages.now().check(event.at) {
        return reply::problem(&beyond.problem());
    }
    reply::stored(lanes.store_one(event, key).await)
}
