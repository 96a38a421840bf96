use db::{Store, schema};
use model::Problem;
use warp::reply::Response;

use crate::reply;

/// `GET /healthz`: the process lives. It says nothing about the database.
pub(crate) fn healthz() -> Response {
    reply::text("ok\n".to_owned())
}

/// `GET /readyz`: the database answers and its schema is the one that this build knows.
pub(crate) async fn readyz(store: Store) -> Response {
    match schema::status(&store).await {
        Ok(status) => match status.complaint() {
            None => reply::text("ready\n".to_owned()),
            Some(complaint) => reply::problem(&Problem::new(503, "Not ready", complaint)),
        },
        Err(error) => {
            tracing::warn!(%error, "not ready");
            reply::problem(&Problem::new(503, "Not ready", "The database does not answer. The cause is in the log."))
        }
    }
}
