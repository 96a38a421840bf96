//! Successful answers. Those of failed requests are made in [`error`](super::error).

use hyper::body::Bytes;
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::{http::chunked_body::in_chunks, ingest::job::Accepted};

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// A text that is true only now, so no cache may keep it.
pub(crate) fn text(body: String) -> Response {
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
    empty(match accepted {
        Accepted::Committed => StatusCode::NO_CONTENT,
        Accepted::Spooled => StatusCode::ACCEPTED,
    })
}
