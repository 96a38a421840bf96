//! How long a body may be that nobody reads.

use hyper::body::Body;
use warp::reply::Response;

use crate::{reply, route::Route};

/// The longest body of a request that is not a batch, in bytes. It is not read: everything that counts is in the URL.
const MAX_IGNORED_BYTES: u64 = 64 * 1024;

/// The answer to a request that brings a longer body than its route lets pass. A batch is read until it is too long, because a client that still sends
/// when its connection is closed may never see the answer.
pub(crate) fn refusal(route: Route, body: &impl Body) -> Option<Response> {
    let is_too_long = route != Route::Batch && body.size_hint().lower() > MAX_IGNORED_BYTES;
    is_too_long.then(|| {
        reply::too_large(format!(
            "A body of more than {MAX_IGNORED_BYTES} bytes is not accepted here. An event is in the query string; to send many at once, POST them to \
             /analytics/batch."
        ))
    })
}
