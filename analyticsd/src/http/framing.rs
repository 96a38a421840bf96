//! What is asked of every request, whatever its route does with it.

use hyper::body::Body;
use model::Problem;
use warp::{
    http::{
        HeaderMap, Request, Version,
        header::{CONTENT_ENCODING, HOST, TRANSFER_ENCODING},
    },
    reply::Response,
};

use crate::http::{reply, route::Route};

/// The longest body of a request that is not a batch, in bytes. It is not read: everything that counts is in the URL.
const MAX_IGNORED_BYTES: u64 = 64 * 1024;

/// The answer to a request that is not as it has to be.
pub(crate) fn refusal(route: Route, request: &Request<impl Body>) -> Option<Response> {
    if !names_one_host(request.version(), request.headers()) {
        return Some(reply::problem(&Problem::new(
            400,
            "Invalid request",
            "A request of HTTP/1.1 names the host that it is for in one header Host, and one of HTTP/1.0 may do so.",
        )));
    }
    // Only a body whose length is not told beforehand has a transfer coding, so nothing is looked up for any other.
    if request.body().size_hint().exact().is_none() && !is_only_chunked(request.headers()) {
        return Some(reply::problem(&Problem::new(
            400,
            "Invalid request",
            "A body comes with its length in Content-Length, or in chunks, which one header says: Transfer-Encoding: chunked. Nothing was stored.",
        )));
    }
    if route == Route::Batch && !is_not_encoded(request.headers()) {
        return Some(reply::encoded());
    }
    // A batch is read until it is too long, because a client that still sends when its connection is closed may never see the answer.
    let is_too_long = route != Route::Batch && request.body().size_hint().lower() > MAX_IGNORED_BYTES;
    is_too_long.then(|| {
        reply::too_large(format!(
            "A body of more than {MAX_IGNORED_BYTES} bytes is not accepted here. An event is in the query string; to send many at once, POST them to \
             /analytics/batch."
        ))
    })
}

/// RFC 9112, section 3.2: whoever disagrees with a proxy about who is asked can be made to answer for another.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// RFC 9112, section 6.1: what was compressed besides would be read as if it were not, and whoever disagrees with a proxy about where a request ends can
/// be made to read its body as another request. The connection is closed, since the body is not read.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// RFC 9110, section 8.4: a coding that is not undone makes other content of it.
fn is_not_encoded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}
