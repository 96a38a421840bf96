use std::sync::Arc;

use warp::reply::Response;

use super::MAX_QUERY_BYTES;
use crate::{lanes::Lanes, parameters, reply};

/// The largest body that is let pass, in bytes. It is not read: everything that counts is in the query string.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// `POST /analytics?timestamp=…&user=…&event=…`: 204 once the event is committed.
pub(crate) async fn post_event(query: String, content_length: Option<u64>, lanes: Arc<Lanes>) -> Response {
    if query.len() > MAX_QUERY_BYTES {
        return reply::uri_too_long(MAX_QUERY_BYTES);
    }
    if content_length.is_some_and(|length| length > MAX_BODY_BYTES) {
        return reply::too_large(format!(
            "The event is in the query string; a body of more than {MAX_BODY_BYTES} bytes is not accepted. \
             To send many events at once, POST them to /analytics/batch."
        ));
    }
    let event = match parameters::event(&query) {
        Ok(event) => event,
        Err(invalid) => return reply::invalid(&invalid),
    };
    match lanes.store_one(event).await {
        Ok(()) => reply::no_content(),
        Err(reason) => reply::not_accepted(reason),
    }
}
