//! The description of the HTTP interface, made from what stands at the handlers, and the shapes that several of them share.

use model::Problem;
use utoipa::{IntoParams, IntoResponses, OpenApi, ToSchema};

use crate::handlers;

/// The document at `/openapi.json`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Analytics: an exact event counter",
        description = "POST a visitor's click or impression and get 204 once it is committed; GET any hour and get its exact unique users, clicks \
                       and impressions at once. Every error is a problem document (RFC 9457) that says what was wrong and what is accepted. \
                       A path that is asked with another method answers 405 and names those that it has in `Allow`. Every answer \
                       has a name in `X-Request-Id`, which is the request's own if that has 1 to 64 letters, digits, dots, underscores and hyphens.",
        license(name = "MIT", identifier = "MIT")
    ),
    tags(
        (name = "events", description = "Recording"),
        (name = "counts", description = "Reading"),
        (name = "browsers", description = "For the pages of other sites"),
        (name = "health", description = "For operators")
    ),
    paths(
        handlers::post_event::post_event,
        handlers::get_counts::get_counts,
        handlers::post_batch::post_batch,
        handlers::get_hours::get_hours,
        handlers::get_stream::get_stream,
        handlers::get_pixel::get_pixel,
        handlers::health::healthz,
        handlers::health::readyz
    ),
    components(schemas(EventKind, HoursFormat, Problem, UniqueUsersOf))
)]
pub(crate) struct Document;

/// The document as JSON.
pub(crate) fn json() -> String {
    Document::openapi().to_json().expect("texts and numbers can be written as JSON")
}

/// What happened.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum EventKind {
    Click,
    Impression,
}

/// How hours are written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum HoursFormat {
    Json,
    Csv,
}

/// Which users of a range are counted.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum UniqueUsersOf {
    Exact,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct KeyInHeader {
    /// Under the same key the same events are stored once, however often they are sent.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$",
        example = "8e03978e-40d5"
    )]
    key: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct KeyAsParameter {
    /// An idempotency key, as in the header of that name.
    #[param(rename = "id", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    key: Option<String>,
}

#[derive(IntoResponses)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum Stored {
    /// Every event is committed.
    #[response(status = 204)]
    Committed,
    /// The database is away; the events are on the server's disk, and will be stored once, when it is back.
    #[response(status = 202)]
    Spooled,
}

/// Something is not accepted; nothing is stored.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct InvalidRequest(Problem);

/// The body did not arrive in time (30 seconds, if nothing else is set); nothing is stored.
#[derive(IntoResponses)]
#[response(status = 408, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct Late(Problem);

/// Other events were stored under the same idempotency key; nothing is stored.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct Conflict(Problem);

/// The body is too large; nothing is stored.
#[derive(IntoResponses)]
#[response(status = 413, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct TooLarge(Problem);

/// The query string is too long; nothing is stored.
#[derive(IntoResponses)]
#[response(status = 414, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct TooLong(Problem);

/// Too busy, or the database does not answer; nothing is stored. Try again after `Retry-After` seconds.
#[derive(IntoResponses)]
#[response(status = 503, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds")))]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct Unavailable(Problem);
