//! What is asked of every request, whatever its route does with it.

use hyper::body::Body;
use model::Problem;
use warp::{
    http::{HeaderMap, Request, Version, header::HOST},
    reply::Response,
};

use crate::{reply, route::Route};

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
