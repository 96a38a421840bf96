//! The warp filters that extract the arguments of handlers, and turn their results into answers.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use warp::{
    Filter, Rejection, Reply,
    filters::BoxedFilter,
    http::HeaderMap,
    path::{FullPath, full},
    reply::Response,
};

use crate::{
    auth::{RequestSites, Sites, StillAllowed},
    http::{
        body_coding::BodyCoding,
        error::ApiError,
        query_string::{KeySource, QueryString},
    },
    ingest::limits::body_budget::{BodyBudget, BodyShare, Holder},
};

/// The address of the client: the peer of the connection or, behind a trusted proxy, the address that the proxy names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The filter of one endpoint. It turns the handler's result into an answer.
pub(super) fn answered<F>(filter: F) -> BoxedFilter<(Response,)>
where
    F: Filter<Extract = (Result<Response, ApiError>,)> + Clone + Send + Sync + 'static,
    F::Error: Into<Rejection>,
    F::Future: Send,
{
    filter.map(|answer: Result<Response, ApiError>| answer.unwrap_or_else(ApiError::into_response)).boxed()
}

/// A part of the daemon that the handler uses.
pub(super) fn with<T: Clone + Send + Sync + 'static>(
    service: &T,
) -> impl Filter<Extract = (T,), Error = Infallible> + Clone + use<T> {
    let service = service.clone();
    warp::any().map(move || service.clone())
}

pub(super) fn query() -> impl Filter<Extract = (QueryString,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify().map(QueryString::new)
}

pub(super) fn headers() -> impl Filter<Extract = (HeaderMap,), Error = Infallible> + Clone {
    warp::header::headers_cloned()
}

pub(super) fn path() -> impl Filter<Extract = (FullPath,), Error = Infallible> + Clone {
    full()
}

/// The sources of an idempotency key that the service found. A warp filter for a header would refuse one that is not
/// text.
pub(super) fn key() -> impl Filter<Extract = (Option<KeySource>,), Error = Infallible> + Clone {
    warp::ext::optional()
}

/// The sites that the request may use.
pub(super) fn sites(all: &Arc<Sites>) -> impl Filter<Extract = (RequestSites,), Error = Infallible> + Clone + use<> {
    let all = Arc::clone(all);
    warp::ext::optional().map(move |access| all.of_request(access))
}

/// How the body of a batch is compressed.
pub(super) fn body_coding() -> impl Filter<Extract = (BodyCoding,), Error = Rejection> + Clone {
    warp::ext::get()
}

pub(super) fn client() -> impl Filter<Extract = (Client,), Error = Rejection> + Clone {
    warp::ext::get()
}

pub(super) fn still_allowed() -> impl Filter<Extract = (StillAllowed,), Error = Rejection> + Clone {
    warp::ext::get()
}

/// An empty share of the body budget for the client of the batch.
pub(super) fn body_share(
    budget: &BodyBudget,
) -> impl Filter<Extract = (BodyShare,), Error = Rejection> + Clone + use<> {
    let budget = budget.clone();
    warp::ext::get::<Holder>().map(move |holder| budget.share(holder))
}
