//! Every route of the daemon: which path, which methods, and which handler does the work.

use std::{convert::Infallible, sync::Arc};

use db::Store;
use warp::{
    Filter, Reply,
    http::Method,
    path::{FullPath, full},
};

use crate::{body_budget::BodyBudget, handlers, lanes::Lanes, metrics::Metrics, parameters::KeyHeader, reply};

/// The service that the daemon offers on one listener.
///
/// The busiest path comes first. Every alternative behind it is copied for each request, so they are packed into one box.
pub fn routes(
    lanes: Arc<Lanes>,
    store: Store,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible, Future: Send> + Clone {
    let budget = BodyBudget::new();

    let lanes = warp::any().map(move || Arc::clone(&lanes));
    let store = warp::any().map(move || store.clone());
    let share = warp::any().map(move || budget.share());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let content_length = warp::header::optional("content-length");
    // Put there by the server, because a filter for a header would take one that is not text for a request to another path.
    let key = warp::ext::optional::<KeyHeader>();

    let analytics =
        warp::path!("analytics").and(warp::method()).and(query).and(key).and(content_length).and(lanes.clone()).then(
            |method, query, key, content_length, lanes| async move {
                match method {
                    Method::GET | Method::HEAD => handlers::get_counts(query, lanes).await,
                    Method::POST => handlers::post_event(query, key, content_length, lanes).await,
                    _ => reply::method_not_allowed("GET, HEAD, POST"),
                }
            },
        );

    let batch = warp::path!("analytics" / "batch")
        .and(warp::method())
        .and(query)
        .and(key)
        .and(warp::body::stream())
        .and(lanes)
        .and(share)
        .then(|method, query, key, body, lanes, share| async move {
            match method {
                Method::POST => handlers::post_batch(query, key, body, lanes, share).await,
                _ => reply::method_not_allowed("POST"),
            }
        });

    let healthz = warp::path!("healthz").and(warp::method()).map(|method| match method {
        Method::GET | Method::HEAD => handlers::healthz(),
        _ => reply::method_not_allowed("GET, HEAD"),
    });

    let readyz = warp::path!("readyz").and(warp::method()).and(store).then(|method, store| async move {
        match method {
            Method::GET | Method::HEAD => handlers::readyz(store).await,
            _ => reply::method_not_allowed("GET, HEAD"),
        }
    });

    let nothing = full().map(|path: FullPath| reply::not_found(path.as_str()));

    let others = batch.or(healthz).unify().or(readyz).unify().boxed();
    analytics.or(others).unify().or(nothing).unify()
}

/// The service of the admin listener, which is not for the public.
pub fn admin_routes(
    metrics: Arc<Metrics>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible, Future: Send> + Clone {
    let metrics = warp::any().map(move || Arc::clone(&metrics));
    let metrics = warp::path!("metrics").and(warp::method()).and(metrics).map(|method, metrics| match method {
        Method::GET | Method::HEAD => handlers::metrics(&metrics),
        _ => reply::method_not_allowed("GET, HEAD"),
    });
    let nothing = full().map(|path: FullPath| reply::not_found(path.as_str()));
    metrics.or(nothing).unify()
}
