use std::sync::Arc;

use warp::{
    http::{HeaderValue, header::CONTENT_TYPE},
    reply::Response,
};

use crate::{http::reply, telemetry::metrics::Metrics};

/// `GET /metrics` on the admin listener: what the daemon counts about itself.
pub(crate) fn metrics(metrics: &Arc<Metrics>) -> Response {
    let mut response = reply::text(metrics.render());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Metrics::MEDIA_TYPE));
    response
}
