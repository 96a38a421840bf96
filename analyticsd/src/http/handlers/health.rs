use std::sync::Arc;

use model::Problem;
use warp::reply::Response;

use crate::{
    http::{openapi, reply},
    query::readiness::Readiness,
    telemetry::metrics::Reason,
};

/// `GET /healthz`: the process lives. It says nothing about the database.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "health", summary = "The process lives",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain; charset=utf-8", example = "ok\n"))
)]
pub(crate) fn healthz() -> Response {
    reply::text("ok\n".to_owned())
}

/// `GET /readyz`: events can be stored, the database answers and its schema is the one that this build knows.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "health", summary = "Events can be stored and the schema is current",
    responses(
        (status = 200, description = "It is ready", body = String, content_type = "text/plain; charset=utf-8", example = "ready\n"),
        openapi::Unavailable,
    )
)]
pub(crate) async fn readyz(readiness: Arc<Readiness>) -> Response {
    match readiness.ask().await {
        Ok(()) => reply::text("ready\n".to_owned()),
        Err(complaint) => not_ready(complaint),
    }
}

fn not_ready(detail: String) -> Response {
    reply::because(Reason::NotReady, reply::problem(&Problem::new(503, "Not ready", detail)))
}
