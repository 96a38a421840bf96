//! What handlers take out of a request, as warp filters, and how what they return becomes an answer.

use std::{convert::Infallible, net::IpAddr};

use warp::{
    Filter, Rejection, Reply,
    filters::BoxedFilter,
    http::HeaderMap,
    path::{FullPath, full},
    reply::Response,
};

use crate::{
    auth::StillAllowed,
    http::{
        error::ApiError,
        query_string::{KeySource, QueryString},
    },
    ingest::limits::body_budget::{BodyBudget, BodyShare, Holder},
};

/// The address of the client: that at the other end of the connection or, if it is a trusted proxy, the one that it asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The filter of one endpoint, around what its handler returns.
pub(super) fn answered<F>(filter: F) -> BoxedFilter<(Response,)>
where
    F: Filter<Extract = (Result<Response, ApiError>,)> + Clone + Send + Sync + 'static,
    F::Error: Into<Rejection>,
    F::Future: Send,
{
    filter.map(|answer: Result<Response, ApiError>| answer.unwrap_or_else(ApiError::into_response)).boxed()
}

/// Something that the handler works with.
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

/// What the service found out about an idempotency key. A warp filter for a header would refuse one that is not text.
pub(super) fn key() -> impl Filter<Extract = (Option<KeySource>,), Error = Infallible> + Clone {
    warp::ext::optional()
}

pub(super) fn client() -> impl Filter<Extract = (Client,), Error = Rejection> + Clone {
    warp::ext::get()
}

pub(super) fn still_allowed() -> impl Filter<Extract = (StillAllowed,), Error = Rejection> + Clone {
    warp::ext::get()
}

/// A share of the memory for bodies, for whoever sends the batch.
pub(super) fn body_share(
    budget: &BodyBudget,
) -> impl Filter<Extract = (BodyShare,), Error = Rejection> + Clone + use<> {
    let budget = budget.clone();
    warp::ext::get::<Holder>().map(move |holder| budget.share(holder))
}
