use std::sync::Arc;

use warp::reply::Response;

use crate::{
    http::{error::ApiError, openapi, response},
    query::readiness::Readiness,
};

/// `GET /healthz`: the process is alive. It does not check the database.
#[utoipa::path(
    get, path = "", operation_id = "healthz", summary = "The process is alive",
    responses((status = 200, description = "It is alive", body = String, content_type = "text/plain; charset=utf-8", example = "ok\n"))
)]
pub(crate) fn healthz() -> Response {
    response::text("ok\n".into())
}

/// `GET /readyz`: events can be stored, the database answers and its schema is the one that this build knows. Of several
/// databases those are named of which that is not so.
#[utoipa::path(
    get, path = "", operation_id = "readyz", summary = "Events can be stored and the schema is current",
    responses(
        (status = 200, description = "It is ready. A counter of several databases is, as long as one of them stores events: a line for each of the others says why it does not", body = String, content_type = "text/plain; charset=utf-8", example = "ready\n"),
        openapi::Unavailable,
    )
)]
pub(crate) async fn readyz(readiness: Arc<Readiness>) -> Result<Response, ApiError> {
    Ok(response::text(readiness.ask().await.map_err(ApiError::NotReady)?.into()))
}
