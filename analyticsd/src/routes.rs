//! Every route of the daemon: which path and method, and which handler does the work.

use std::{convert::Infallible, sync::Arc};

use db::Store;
use tokio::sync::Semaphore;
use warp::{Filter, Reply, path::FullPath, reply::Response};

use crate::{
    handlers::{self, MAX_CONCURRENT_BATCHES},
    lanes::Lanes,
    reply,
};

/// The service that the daemon offers on one listener.
pub fn routes(lanes: Arc<Lanes>, store: Store) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    let batch_places = Arc::new(Semaphore::new(MAX_CONCURRENT_BATCHES));

    let lanes = warp::any().map(move || Arc::clone(&lanes));
    let store = warp::any().map(move || store.clone());
    let batch_places = warp::any().map(move || Arc::clone(&batch_places));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let content_length = warp::header::optional("content-length");
    let reading = warp::get().or(warp::head()).unify();

    let get_counts = warp::path!("analytics").and(reading).and(query).and(lanes.clone()).then(handlers::get_counts);
    let post_event = warp::path!("analytics")
        .and(warp::post())
        .and(query)
        .and(content_length)
        .and(lanes.clone())
        .then(handlers::post_event);
    let post_batch = warp::path!("analytics" / "batch")
        .and(warp::post())
        .and(warp::body::stream())
        .and(lanes)
        .and(batch_places)
        .then(handlers::post_batch);
    let healthz = warp::path!("healthz").and(reading).map(handlers::healthz);
    let readyz = warp::path!("readyz").and(reading).and(store).then(handlers::readyz);

    let fallback = warp::path::full().map(|path: FullPath| other(path.as_str()));

    get_counts.or(post_event).unify().or(post_batch).unify().or(healthz).unify().or(readyz).unify().or(fallback).unify()
}

/// What is left when no route took the request: a path that is there, with another method, or no path at all. A slash at the end
/// makes no difference, here as in the routes.
fn other(path: &str) -> Response {
    match path.strip_suffix('/').unwrap_or(path) {
        "/analytics" => reply::method_not_allowed("GET, HEAD, POST"),
        "/analytics/batch" => reply::method_not_allowed("POST"),
        "/healthz" | "/readyz" => reply::method_not_allowed("GET, HEAD"),
        _ => reply::not_found(path),
    }
}
