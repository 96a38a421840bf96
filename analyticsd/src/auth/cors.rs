use std::collections::HashSet;

use model::access::{Origin, Scope};
use warp::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
        },
    },
    reply::Response,
};

/// Decides which pages may read answers (the Fetch standard's CORS protocol).
///
/// Each origin is configured by name; there is no `*`. It would let any page read, through its visitor's browser, a
/// daemon that is open only to that machine or network. Browsers' own credentials, such as cookies, are never allowed.
/// Where events need no credentials, the gate lets every page read the answers to its own events, which hold no counts.
#[derive(Debug, Default)]
pub(super) struct Cors {
    origins: HashSet<String>,
}

impl Cors {
    pub(super) fn new(origins: &[Origin]) -> Self {
        Self { origins: origins.iter().map(ToString::to_string).collect() }
    }

    /// Whether the setting names an origin.
    pub(super) fn names(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }

    /// Whether the setting names any.
    pub(super) fn is_in_use(&self) -> bool {
        !self.origins.is_empty()
    }

    /// The origin of the request, if its pages may read the answer: origins of the setting may read all answers. Those
    /// of the public key in the URL may read answers to writes; a preflight has no other credentials, and the key of
    /// one partner must not tell of the pages of others.
    pub(super) fn allowed<'a>(
        &self,
        headers: &'a HeaderMap,
        scope: Option<Scope>,
        of_the_key: impl FnOnce(&str) -> bool,
    ) -> Option<&'a HeaderValue> {
        let value = headers.get(ORIGIN)?;
        let origin = value.to_str().ok()?;
        let is_allowed = self.origins.contains(origin) || (scope == Some(Scope::Write) && of_the_key(origin));
        is_allowed.then_some(value)
    }
}

/// Adds the CORS headers to an answer, unless its handler already set them.
pub(super) fn mark(origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

const EXPOSED: &str =
    "ETag, Link, Retry-After, RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, X-Request-Id";

/// The answer to a preflight.
pub(crate) fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, X-Request-Id"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
