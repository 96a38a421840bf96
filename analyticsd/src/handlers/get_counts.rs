use std::sync::Arc;

use model::Hour;
use warp::reply::Response;

use super::MAX_QUERY_BYTES;
use crate::{lanes::Lanes, parameters, reply};

/// `GET /analytics?timestamp=…`: the exact counts of the hour that holds the timestamp.
pub(crate) async fn get_counts(query: String, lanes: Arc<Lanes>) -> Response {
    if query.len() > MAX_QUERY_BYTES {
        return reply::uri_too_long(MAX_QUERY_BYTES);
    }
    let at = match parameters::timestamp(&query) {
        Ok(at) => at,
        Err(invalid) => return reply::invalid(&invalid),
    };
    match lanes.counts(Hour::containing(at)).await {
        Ok(counts) => reply::text(counts.to_string()),
        Err(reason) => reply::unanswered(reason),
    }
}
