//! Successful answers. Those of failed requests are made in [`error`](super::error).

use hyper::body::Bytes;
use warp::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::{
    http::chunked_body::in_chunks,
    ingest::job::{Accepted, Repeated},
};

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// A text that is true only now, so no cache may keep it.
pub(crate) fn text(body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A document that is compiled into the program.
pub(crate) fn json(body: Bytes) -> Response {
    let mut response = in_chunks(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn stored(accepted: Accepted) -> Response {
    match accepted {
        Accepted::Committed(repeated) => {
            let mut response = empty(StatusCode::NO_CONTENT);
            note_repeated(repeated, &mut response);
            response
        }
        Accepted::Spooled => empty(StatusCode::ACCEPTED),
    }
}

/// The header of an answer to events of which some were stored before.
pub(crate) const REPEATED: HeaderName = HeaderName::from_static(model::wire::REPEATED_HEADER);

fn note_repeated(repeated: Repeated, response: &mut Response) {
    if repeated == Repeated::default() {
        return;
    }
    let Repeated { clicks, impressions, stands_at } = repeated;
    let position = stands_at.map(|position| format!(", position={position}")).unwrap_or_default();
    let value = format!("clicks={clicks}, impressions={impressions}{position}");
    response.headers_mut().insert(REPEATED, HeaderValue::try_from(value).expect("names and numbers are a value"));
}

/// Lets pages embed this that otherwise embed only what their own site has (the header
/// `Cross-Origin-Embedder-Policy: require-corp`).
pub(crate) fn allow_embedding(response: &mut Response) {
    const POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    response.headers_mut().insert(POLICY, HeaderValue::from_static("cross-origin"));
}

/// The header of an answer to what is stored and probably not what its sender wants.
pub(crate) const WARNING: HeaderName = HeaderName::from_static("analytics-warning");

/// Warns that a user's name is one that programs write where they have none.
pub(crate) fn warn_of_unset_user(response: &mut Response) {
    let warning = "user is blank, undefined, null or the like: all events with such a name are of one visitor";
    response.headers_mut().insert(WARNING, HeaderValue::from_static(warning));
}
