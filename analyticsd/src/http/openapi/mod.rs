//! The OpenAPI document, made from the descriptions at the handlers, and the types that several of them share.

mod common;

use model::{
    HourRow, HoursPage, ListedSite, ListedSource, LiveCounts, Period, PeriodsPage, Problem, SiteList, SourceList, Step,
    StoredHours, Totals,
};
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        self, HttpMethod,
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use warp::http::Method;

use crate::auth::Policy;

/// The document at `/openapi.json`, without its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Analytics: an exact event counter",
        description = "POST a visitor's click or impression and get 204 once it is committed; GET any hour and get its \
                       exact unique users, clicks and impressions at once. Every error is a problem document (RFC \
                       9457) that names the fault and what is accepted. Only a request that is not HTTP, or has too \
                       long a head, gets 400, 414 or 431 without a body. A path returns 405 for other methods and \
                       lists its own in `Allow`. Every answer has the request's id in `X-Request-Id`: the client's if \
                       it has 1 to 64 letters, digits, dots, underscores and hyphens, otherwise a new one. Requests \
                       that were not read have none: those that are not HTTP, have too long a head, or come while all \
                       connections are taken.",
        license(name = "MIT", identifier = "MIT")
    ),
    tags(
        (name = "events", description = "Recording"),
        (name = "counts", description = "Reading"),
        (name = "browsers", description = "For the pages of other sites"),
        (name = "health", description = "For operators")
    ),
    components(schemas(EventKind, HoursFormat, HourRow, HoursPage, ListedSite, ListedSource, LiveCounts, Period, PeriodsPage, Problem, SiteList, SourceList, Step, StoredHours, TimeUnit, Totals)),
    modifiers(&Credentials)
)]
struct Document;

/// The credentials that a client may send.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A token as `analytics-cli token create` prints it. Each operation names the scope that it must have; \
             admin has them all. A daemon that listens on a loopback address needs none until the first one exists, \
             and one that was started with --allow-anonymous accepts requests without one.",
        ));
        let public_key = ApiKeyValue::with_description(
            "key",
            "A public key as `analytics-cli token create --public` prints it, for single events from the pages of the \
             origins that it was made for: the header `Origin`, or `Referer` without it, must name one of them.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        components.add_security_scheme("public_key", SecurityScheme::ApiKey(ApiKey::Query(public_key)));
    }
}

/// An operation of the document: the description at a handler, completed from the table of routes. utoipa requires a
/// path and a method at the handler; the path is empty there, and the method is not used.
pub(super) struct Documented {
    pub(super) path: &'static str,
    pub(super) method: Method,
    pub(super) policy: Policy,
    pub(super) tag: &'static str,
    pub(super) operation: Operation,
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::GET => HttpMethod::Get,
        Method::POST => HttpMethod::Post,
        _ => unreachable!("the document has no operation of {method}"),
    }
}

/// The document as JSON.
pub(super) fn json(operations: impl Iterator<Item = Documented>) -> String {
    let mut document = Document::openapi();
    for Documented { path, method, policy, tag, mut operation } in operations {
        operation.tags = Some(vec![tag.to_owned()]);
        operation.security = security(policy);
        common::complete(&mut operation, &method, policy);
        document.paths.add_path_operation(path, vec![http_method(&method)], operation);
    }
    common::add_to(document.components.get_or_insert_default());
    document.to_json().expect("texts and numbers can be written as JSON")
}

/// The alternatives that a request may send; one is enough.
fn security(policy: Policy) -> Option<Vec<SecurityRequirement>> {
    let scope = policy.scope()?;
    let mut requirements = vec![SecurityRequirement::new("token", [scope.to_string()])];
    if matches!(policy, Policy::TokenOrPublicKey(_)) {
        requirements.push(SecurityRequirement::new("public_key", [""; 0]));
    }
    Some(requirements)
}

/// What happened.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum EventKind {
    Click,
    Impression,
}

/// How the timestamps of a batch are written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum TimeUnit {
    Auto,
    Ms,
    S,
    Rfc3339,
}

/// How hours are written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum HoursFormat {
    Json,
    Csv,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct Site {
    /// The site that counts. Without it, the one that the token is for, or else the one without a name.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    site: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct KeyInHeader {
    /// Under the same key the same events are stored once, however often they are sent.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
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
    /// The database is unavailable. The events are on the server's disk and will be stored once, when it is back.
    #[response(status = 202)]
    Spooled,
}

#[derive(IntoResponses)]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) enum Denied {
    /// The token is missing or not valid.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The token has another scope, or the public key is for other origins.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// This token or this address sends more requests than a limit accepts, or this address sends too many without a
    /// valid token.
    #[response(status = 429, content_type = "application/problem+json")]
    TooManyRequests(Problem),
}

/// The request is not valid; nothing is stored.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct InvalidRequest(Problem);

/// The body did not arrive in time (30 seconds, if nothing else is set); nothing is stored.
#[derive(IntoResponses)]
#[response(status = 408, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct Late(Problem);

/// Other events were stored under the same idempotency key, or the source stands elsewhere; nothing is stored.
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

/// Too busy, all connections are taken, or the database does not answer; nothing is stored. Try again after
/// `Retry-After` seconds.
#[derive(IntoResponses)]
#[response(status = 503, content_type = "application/problem+json")]
#[allow(dead_code, reason = "it only stands in the document")]
pub(crate) struct Unavailable(Problem);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn the_document_describes_parameters_as_the_server_reads_them() {
        let document: Value = serde_json::from_str(&crate::http::routes::document()).unwrap();
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|item| item.as_object().unwrap().values());
        let parameters: Vec<&Value> = operations.filter_map(|one| one["parameters"].as_array()).flatten().collect();
        let of = |key: &str, value: &str| parameters.iter().filter(|one| one[key] == value).collect::<Vec<_>>();
        let (headers, users) = (of("in", "header"), of("name", "user"));
        assert_eq!((headers.len(), users.len()), (4, 2));
        for header in headers {
            assert_eq!(header["schema"]["type"], "string", "a header is never null: {header}");
        }
        for user in users {
            let description = user["description"].as_str().unwrap();
            assert!(description.contains("bytes"), "a schema counts characters: {description}");
        }
    }
}
