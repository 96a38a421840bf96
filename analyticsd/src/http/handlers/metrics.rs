use std::sync::Arc;

use warp::{
    http::{HeaderValue, header::CONTENT_TYPE},
    reply::Response,
};

use crate::{http::response, telemetry::metrics::Metrics};

/// `GET /metrics` on the admin listener: the daemon's own metrics.
pub(crate) fn metrics(metrics: &Arc<Metrics>) -> Response {
    let mut answer = response::text(metrics.render().into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Metrics::MEDIA_TYPE));
    answer
}
