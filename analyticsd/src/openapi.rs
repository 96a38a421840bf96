//! The description of the HTTP interface, made from what stands at the handlers, and the shapes that several of them share.

use model::Problem;
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        self,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

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
    components(schemas(EventKind, HoursFormat, Problem, UniqueUsersOf)),
    modifiers(&Credentials)
)]
pub(crate) struct Document;

/// What a client may show.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A token as `analytics-cli token create` prints it. Each operation names the scope that it must have; admin has them all. A daemon that \
             listens on a loopback address asks for none until there is one, and one that was started with --allow-anonymous lets in whoever shows none.",
        ));
        let public_key = ApiKeyValue::with_description(
            "key",
            "A public key as `analytics-cli token create --public` prints it, for the pages of the origins that it was made for: the header `Origin`, or \
             where there is none `Referer`, must name one of them.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        components.add_security_scheme("public_key", SecurityScheme::ApiKey(ApiKey::Query(public_key)));
    }
}

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

#[derive(IntoResponses)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum Denied {
    /// No token was shown, or one that is not valid.
    #[response(status = 401, content_type = "application/problem+json", headers(("WWW-Authenticate" = String, description = "A challenge as in RFC 6750")))]
    Unauthorized(Problem),
    /// The token has another scope, or the public key is for other origins.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// More requests came than a limit of this daemon accepts, with this token, from this address, or from this address without a valid token.
    #[response(status = 429, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "Seconds"),
        ("RateLimit-Limit" = u32, description = "How many may come at once"),
        ("RateLimit-Remaining" = u32, description = "How many of these are left"),
        ("RateLimit-Reset" = u32, description = "In how many seconds all of them are there again"),
        ("RateLimit-Policy" = String, description = "How many (`w`: in how many seconds; `burst`: at once)")
    ))]
    TooManyRequests(Problem),
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
