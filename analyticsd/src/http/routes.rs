//! Every route of the daemon: which path, which methods, and which handler does the work.

use std::{convert::Infallible, sync::Arc};

use hyper::body::Bytes;
use warp::{
    Filter, Reply,
    filters::BoxedFilter,
    http::Method,
    path::{FullPath, full},
    reply::Response,
};

use crate::{
    auth::StillAllowed,
    http::{handlers, openapi, query_string::KeySource, reply, service::Client, visitor_names::VisitorNames},
    ingest::{
        lanes::Lanes,
        limits::{
            RequestLimits,
            body_budget::{BodyBudget, Holder},
        },
    },
    query::{live::Live, readiness::Readiness, reports::Reports},
    telemetry::metrics::Metrics,
};

/// What the handlers of the public listener work with.
pub(crate) struct Services {
    /// Where events go and counts come from.
    pub(crate) lanes: Arc<Lanes>,
    /// The current hour, for those who listen.
    pub(crate) live: Arc<Live>,
    /// Ranges of hours.
    pub(crate) reports: Arc<Reports>,
    /// Whether the database is there.
    pub(crate) readiness: Arc<Readiness>,
    /// The memory for the bodies of batches.
    pub(crate) budget: BodyBudget,
    /// Limits of what a request may bring.
    pub(crate) limits: RequestLimits,
}

/// The service that the daemon offers on one listener.
///
/// The busiest path comes first. Every alternative behind it is copied for each request, so they are packed into one box.
pub(crate) fn routes(
    services: Services,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible, Future: Send> + Clone {
    let Services { lanes, live, reports, readiness, budget, limits } = services;
    let names = Arc::new(VisitorNames::new(Arc::clone(&reports)));
    let ranges = ranges(reports, live);

    let lanes = warp::any().map(move || Arc::clone(&lanes));
    let names = warp::any().map(move || Arc::clone(&names));
    let readiness = warp::any().map(move || Arc::clone(&readiness));
    let headers = warp::header::headers_cloned();
    let client = warp::ext::get::<Client>();
    let share = warp::ext::get::<Holder>().map(move |holder| budget.share(holder));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    // Put there by the server, because a filter for a header would take one that is not text for a request to another path.
    let key = warp::ext::optional::<KeySource>();

    let analytics = warp::path!("analytics").and(warp::method()).and(query).and(key).and(lanes.clone()).then(
        move |method, query, key, lanes| async move {
            match method {
                Method::GET | Method::HEAD => handlers::get_counts(query, lanes).await,
                Method::POST => handlers::post_event(query, key, limits.ages, lanes).await,
                _ => reply::method_not_allowed("GET, HEAD, POST"),
            }
        },
    );

    let batch = warp::path!("analytics" / "batch")
        .and(warp::method())
        .and(query)
        .and(key)
        .and(warp::body::stream())
        .and(lanes.clone())
        .and(share)
        .then(move |method, query, key, body, lanes, share| async move {
            match method {
                Method::POST => handlers::post_batch(query, key, body, limits, lanes, share).await,
                _ => reply::method_not_allowed("POST"),
            }
        });

    let pixel = warp::path!("analytics.gif")
        .and(warp::method())
        .and(query)
        .and(headers)
        .and(client)
        .and(lanes)
        .and(names)
        .then(|method, query, headers, Client(client), lanes, names| async move {
            match method {
                Method::GET => handlers::get_pixel(query, headers, client, lanes, names).await,
                _ => reply::method_not_allowed("GET"),
            }
        });

    let document = Bytes::from(openapi::json());
    let document = warp::path!("openapi.json").and(warp::method()).map(move |method| match method {
        Method::GET | Method::HEAD => reply::json(document.clone()),
        _ => reply::method_not_allowed("GET, HEAD"),
    });

    let healthz = warp::path!("healthz").and(warp::method()).map(|method| match method {
        Method::GET | Method::HEAD => handlers::healthz(),
        _ => reply::method_not_allowed("GET, HEAD"),
    });

    let readyz = warp::path!("readyz").and(warp::method()).and(readiness).then(|method, readiness| async move {
        match method {
            Method::GET | Method::HEAD => handlers::readyz(readiness).await,
            _ => reply::method_not_allowed("GET, HEAD"),
        }
    });

    // The page and what belongs to it, the documentation, and what to say where there is nothing.
    let docs = Arc::new(utoipa_swagger_ui::Config::from(handlers::OPENAPI_PATH));
    let file = full().and(warp::method()).and(headers).map(move |path: FullPath, method: Method, headers| {
        let file = match path.as_str().strip_prefix("/docs") {
            Some(file) => handlers::get_docs(file, &docs),
            None => handlers::get_file(path.as_str(), &headers),
        };
        match file {
            None => reply::not_found(path.as_str()),
            Some(file) if matches!(method, Method::GET | Method::HEAD) => file,
            Some(_) => reply::method_not_allowed("GET, HEAD"),
        }
    });

    let others =
        batch.or(ranges).unify().or(pixel).unify().or(document).unify().or(healthz).unify().or(readyz).unify().boxed();
    analytics.or(others).unify().or(file).unify()
}

/// Ranges of hours, and the current one live.
fn ranges(reports: Arc<Reports>, live: Arc<Live>) -> BoxedFilter<(Response,)> {
    let reports = warp::any().map(move || Arc::clone(&reports));
    let live = warp::any().map(move || Arc::clone(&live));
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let headers = warp::header::headers_cloned();

    let hours = warp::path!("analytics" / "hours").and(warp::method()).and(query).and(headers).and(reports).then(
        |method, query, headers, reports| async move {
            match method {
                Method::GET | Method::HEAD => handlers::get_hours(query, headers, reports).await,
                _ => reply::method_not_allowed("GET, HEAD"),
            }
        },
    );

    let still_allowed = warp::ext::get::<StillAllowed>();
    let stream = warp::path!("analytics" / "stream").and(warp::method()).and(live).and(still_allowed).then(
        |method, live, still_allowed| async move {
            match method {
                Method::GET => handlers::get_stream(live, still_allowed).await,
                _ => reply::method_not_allowed("GET"),
            }
        },
    );

    hours.or(stream).unify().boxed()
}

/// The service of the admin listener, which is not for the public.
pub(crate) fn admin_routes(
    metrics: Arc<Metrics>,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible, Future: Send> + Clone {
    let metrics = warp::any().map(move || Arc::clone(&metrics));
    let metrics = warp::path!("metrics").and(warp::method()).and(metrics).map(|method, metrics| match method {
        Method::GET | Method::HEAD => handlers::metrics(&metrics),
        _ => reply::method_not_allowed("GET, HEAD"),
    });
    let nothing = full().map(|path: FullPath| reply::not_found_by_admin(path.as_str()));
    metrics.or(nothing).unify()
}
