//! The table of all routes: a row for each path, and in it an entry for each endpoint with its methods, the credentials
//! that it requires, what is passed to its handler, the handler, and its description in the OpenAPI document. A path
//! without a row is not served.

use std::sync::Arc;

use hyper::body::Bytes;
use model::{access::Scope, wire};
use utoipa::openapi::path::Operation;
use warp::{Filter, filters::BoxedFilter, http::Method, path::FullPath, reply::Response};

use super::{
    extract::{answered, body_coding, body_share, client, headers, key, path, query, sites, still_allowed, with},
    handlers::{
        get_counts, get_docs, get_file, get_hours, get_periods,
        get_pixel::{self, PixelServices},
        get_sites, get_sources, get_stream, health, metrics,
        post_batch::{self, BatchServices},
        post_event,
    },
    openapi::{self, Documented},
    response,
    static_files::FILES,
};
use crate::{
    auth::{Policy, RequestSites, Sites},
    batches::VisitorNames,
    ingest::{
        lanes::EventLanes,
        limits::{RequestLimits, body_budget::BodyBudget},
    },
    query::{lanes::CountLanes, live::Live, readiness::Readiness, reports::Reports},
    telemetry::metrics::{Listener, Metrics},
};

/// The parts of the daemon that handlers use.
pub(crate) struct Services {
    pub(crate) events: Arc<EventLanes>,
    pub(crate) counts: Arc<CountLanes>,
    pub(crate) live: Arc<Live>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) sites: Arc<Sites>,
    pub(crate) names: Arc<VisitorNames>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<Metrics>,
    /// The memory for the bodies of batches.
    pub(crate) budget: BodyBudget,
    pub(crate) limits: RequestLimits,
}

pub(super) struct Route {
    pub(super) listener: Listener,
    path: Path,
    pub(super) endpoints: &'static [Endpoint],
}

/// The paths of a route. Each has exactly one spelling.
enum Path {
    Exact(&'static str),
    /// The pages of the documentation, and their folder.
    Docs,
    /// The files of the page.
    Files,
}

type Document = (&'static str, fn() -> Operation);

/// One or more methods of a route, with their handler.
pub(crate) struct Endpoint {
    pub(super) methods: &'static [Method],
    pub(super) policy: Policy,
    pub(super) passes: Passes,
    pub(super) serve: fn(&Services) -> BoxedFilter<(Response,)>,
    /// Its tag and its description in the OpenAPI document.
    document: Option<Document>,
}

/// What the service adds to a request for its handler. Each addition takes three allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    Nothing,
    /// The sources of an idempotency key.
    Key,
    /// The same, and the holder of the memory for the body. Only here the body is read.
    Batch,
    /// The address of the client, and the sources of an idempotency key.
    ClientAndKey,
    /// A check whether the client's credentials are still valid.
    StillAllowed,
}

pub(super) const SCRIPT_PATH: &str = "/analytics.js";
pub(super) const PIXEL_PATH: &str = "/analytics.gif";

const READ: &[Method] = &[Method::GET, Method::HEAD];
const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];

/// The busiest route comes first.
pub(super) static ROUTES: [Route; 15] = [
    public(
        Path::Exact(wire::ANALYTICS_PATH),
        &[
            Endpoint {
                methods: READ,
                policy: Policy::Token(Scope::Read),
                passes: Passes::Nothing,
                serve: |services| {
                    let counts = with(&services.counts);
                    answered(query().and(sites(&services.sites)).and(counts).then(get_counts::get_counts))
                },
                document: Some(("counts", <get_counts::__path_get_counts as utoipa::Path>::operation)),
            },
            Endpoint {
                methods: POST,
                policy: Policy::TokenOrPublicKey(Scope::Write),
                passes: Passes::Key,
                serve: |services| {
                    let (ages, events) = (with(&services.limits.ages), with(&services.events));
                    let at_site = query().and(sites(&services.sites));
                    answered(at_site.and(key()).and(ages).and(events).then(post_event::post_event))
                },
                document: Some(("events", <post_event::__path_post_event as utoipa::Path>::operation)),
            },
        ],
    ),
    public(
        Path::Exact(wire::BATCH_PATH),
        &[Endpoint {
            methods: POST,
            policy: Policy::Token(Scope::Write),
            passes: Passes::Batch,
            serve: |services| {
                let body = body_coding().and(warp::body::stream()).and(body_share(&services.budget));
                let at_site = query().and(sites(&services.sites));
                let used = with(&BatchServices {
                    limits: services.limits,
                    events: Arc::clone(&services.events),
                    names: Arc::clone(&services.names),
                });
                answered(at_site.and(key()).and(body).and(used).then(post_batch::post_batch))
            },
            document: Some(("events", <post_batch::__path_post_batch as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(PIXEL_PATH),
        &[Endpoint {
            methods: GET,
            policy: Policy::TokenOrPublicKey(Scope::Write),
            passes: Passes::ClientAndKey,
            serve: |services| {
                let at_site = query().and(sites(&services.sites));
                let request = at_site.and(key()).and(headers()).and(client());
                let used = with(&PixelServices {
                    ages: services.limits.ages,
                    events: Arc::clone(&services.events),
                    names: Arc::clone(&services.names),
                });
                answered(request.and(used).then(get_pixel::get_pixel))
            },
            document: Some(("browsers", <get_pixel::__path_get_pixel as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::HOURS_PATH),
        &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Read),
            passes: Passes::Nothing,
            serve: |services| {
                let at_site = query().and(sites(&services.sites));
                answered(at_site.and(headers()).and(with(&services.reports)).then(get_hours::get_hours))
            },
            document: Some(("counts", <get_hours::__path_get_hours as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::PERIODS_PATH),
        &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Read),
            passes: Passes::Nothing,
            serve: |services| {
                let at_site = query().and(sites(&services.sites));
                answered(at_site.and(with(&services.reports)).then(get_periods::get_periods))
            },
            document: Some(("counts", <get_periods::__path_get_periods as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::STREAM_PATH),
        &[Endpoint {
            methods: GET,
            policy: Policy::Token(Scope::Read),
            passes: Passes::StillAllowed,
            serve: |services| {
                let at_site = query().and(sites(&services.sites));
                answered(at_site.and(with(&services.live)).and(still_allowed()).then(get_stream::get_stream))
            },
            document: Some(("counts", <get_stream::__path_get_stream as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::SITES_PATH),
        &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Read),
            passes: Passes::Nothing,
            serve: |services| answered(sites(&services.sites).map(|sites: RequestSites| get_sites::get_sites(&sites))),
            document: Some(("counts", <get_sites::__path_get_sites as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::SOURCES_PATH),
        &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Write),
            passes: Passes::Nothing,
            serve: |services| {
                let at_site = query().and(sites(&services.sites));
                answered(at_site.and(with(&services.reports)).then(get_sources::get_sources))
            },
            document: Some(("events", <get_sources::__path_get_sources as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(SCRIPT_PATH),
        &[Endpoint {
            // The path of the request may be another: see `public_path`.
            serve: |_| answered(headers().map(|headers| get_file::get_file(SCRIPT_PATH, &headers))),
            ..FILE
        }],
    ),
    public(Path::Files, &[FILE]),
    public(
        Path::Docs,
        &[Endpoint {
            methods: READ,
            policy: Policy::Unlimited,
            passes: Passes::Nothing,
            serve: |_| answered(path().map(|path| get_docs::get_docs(&path))),
            document: None,
        }],
    ),
    public(
        Path::Exact(get_docs::OPENAPI_PATH),
        &[Endpoint {
            methods: READ,
            policy: Policy::Open,
            passes: Passes::Nothing,
            serve: |_| {
                let document = Bytes::from(document());
                answered(warp::any().map(move || Ok(response::json(document.clone()))))
            },
            document: None,
        }],
    ),
    public(
        Path::Exact("/healthz"),
        &[Endpoint {
            methods: READ,
            policy: Policy::Unlimited,
            passes: Passes::Nothing,
            serve: |_| answered(warp::any().map(|| Ok(health::healthz()))),
            document: Some(("health", <health::__path_healthz as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact("/readyz"),
        &[Endpoint {
            methods: READ,
            policy: Policy::Open,
            passes: Passes::Nothing,
            serve: |services| answered(with(&services.readiness).then(health::readyz)),
            document: Some(("health", <health::__path_readyz as utoipa::Path>::operation)),
        }],
    ),
    Route {
        listener: Listener::Admin,
        path: Path::Exact("/metrics"),
        endpoints: &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Admin),
            passes: Passes::Nothing,
            serve: |services| answered(with(&services.metrics).map(|metrics| Ok(metrics::metrics(&metrics)))),
            document: None,
        }],
    },
];

/// A file that is compiled into the program.
const FILE: Endpoint = Endpoint {
    methods: READ,
    policy: Policy::Unlimited,
    passes: Passes::Nothing,
    serve: |_| {
        answered(path().and(headers()).map(|path: FullPath, headers| get_file::get_file(path.as_str(), &headers)))
    },
    document: None,
};

const fn public(path: Path, endpoints: &'static [Endpoint]) -> Route {
    Route { listener: Listener::Public, path, endpoints }
}

impl Route {
    /// The route's name in metrics and log.
    pub(super) fn name(&self) -> &'static str {
        match self.path {
            Path::Exact(path) => path,
            Path::Files => "/",
            Path::Docs => "/docs",
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        match self.path {
            Path::Exact(exact) => path == exact,
            Path::Files => FILES.iter().any(|file| file.path == path),
            Path::Docs => get_docs::is_page(path),
        }
    }
}

/// Whether some route has a path.
pub(super) fn has(path: &str) -> bool {
    ROUTES.iter().any(|route| route.has(path))
}

/// The names of routes in the order of the table, and last the name for paths without a route.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(Route::name).chain([UNKNOWN])
}

pub(super) const UNKNOWN: &str = "unknown";

/// The OpenAPI document, as JSON.
pub(super) fn document() -> String {
    openapi::json(documented())
}

fn documented() -> impl Iterator<Item = Documented> {
    ROUTES.iter().flat_map(|route| {
        route.endpoints.iter().filter_map(|endpoint| {
            let (tag, operation) = endpoint.document?;
            Some(Documented {
                path: route.name(),
                method: endpoint.methods[0].clone(),
                policy: endpoint.policy,
                tag,
                operation: operation(),
            })
        })
    })
}
