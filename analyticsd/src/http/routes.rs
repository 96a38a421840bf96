//! Every route of the daemon, once: a row for each path, and in it a line for each endpoint with its methods, what a request must
//! show, what is passed to its handler, the handler, and its description in the OpenAPI document.
//!
//! Whatever decides by the path asks [`Router::find`], so that no two parts of the program read a path differently. What has no
//! row is not served.

use std::{convert::Infallible, sync::Arc};

use hyper::body::{Body, Bytes};
use model::{access::Scope, wire};
use tower_service::Service as _;
use utoipa::openapi::path::Operation;
use warp::{
    Filter,
    filters::BoxedFilter,
    http::{Method, Request},
    reply::Response,
};

use super::{
    error::ApiError,
    extract::{answered, body_share, client, headers, key, path, query, still_allowed, with},
    handlers::{
        get_counts, get_docs, get_file, get_hours, get_pixel, get_stream, health, metrics, post_batch, post_event,
    },
    openapi::{self, Documented},
    response,
    static_files::FILES,
    visitor_names::VisitorNames,
    watched_body::WatchedBody,
};
use crate::{
    auth::Policy,
    ingest::{
        lanes::EventLanes,
        limits::{RequestLimits, body_budget::BodyBudget},
    },
    query::{lanes::CountLanes, live::Live, readiness::Readiness, reports::Reports},
    telemetry::metrics::{Listener, Metrics},
};

/// What the handlers work with.
pub(crate) struct Services {
    pub(crate) events: Arc<EventLanes>,
    pub(crate) counts: Arc<CountLanes>,
    pub(crate) live: Arc<Live>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) names: Arc<VisitorNames>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<Metrics>,
    /// The memory for the bodies of batches.
    pub(crate) budget: BodyBudget,
    pub(crate) limits: RequestLimits,
}

struct Route {
    listener: Listener,
    path: Path,
    /// What it is called in metrics and in the log.
    name: &'static str,
    endpoints: &'static [Endpoint],
}

/// Which paths are a route's, each in the one spelling that it has.
enum Path {
    Exact(&'static str),
    /// This one and those below it.
    Below(&'static str),
    /// Those of the page's files.
    Files,
}

type Document = (&'static str, fn() -> Operation);

/// One way to use a route.
pub(crate) struct Endpoint {
    methods: &'static [Method],
    pub(crate) policy: Policy,
    pub(crate) passes: Passes,
    serve: fn(&Services) -> BoxedFilter<(Response,)>,
    /// Its tag and its description in the OpenAPI document.
    document: Option<Document>,
}

/// What the service adds to a request for its handler. Each thing that is added takes three allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    Nothing,
    /// Where an idempotency key may come from.
    Key,
    /// The same, and who takes memory for the body, which is read.
    Batch,
    /// The address of the client.
    Client,
    /// Whether the client would still be let in.
    StillAllowed,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];
const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];

/// The busiest route comes first.
static ROUTES: [Route; 12] = [
    public(
        Path::Exact(wire::ANALYTICS_PATH),
        wire::ANALYTICS_PATH,
        &[
            Endpoint {
                methods: READ,
                policy: Policy::Token(Scope::Read),
                passes: Passes::Nothing,
                serve: |services| answered(query().and(with(&services.counts)).then(get_counts::get_counts)),
                document: Some(("counts", <get_counts::__path_get_counts as utoipa::Path>::operation)),
            },
            Endpoint {
                methods: POST,
                policy: Policy::TokenOrPublicKey(Scope::Write),
                passes: Passes::Key,
                serve: |services| {
                    let (ages, events) = (with(&services.limits.ages), with(&services.events));
                    answered(query().and(key()).and(ages).and(events).then(post_event::post_event))
                },
                document: Some(("events", <post_event::__path_post_event as utoipa::Path>::operation)),
            },
        ],
    ),
    public(
        Path::Exact(wire::BATCH_PATH),
        wire::BATCH_PATH,
        &[Endpoint {
            methods: POST,
            policy: Policy::Token(Scope::Write),
            passes: Passes::Batch,
            serve: |services| {
                let (limits, events) = (with(&services.limits), with(&services.events));
                let body = warp::body::stream().and(body_share(&services.budget));
                answered(query().and(key()).and(body).and(limits).and(events).then(post_batch::post_batch))
            },
            document: Some(("events", <post_batch::__path_post_batch as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact("/analytics.gif"),
        "/analytics.gif",
        &[Endpoint {
            methods: GET,
            policy: Policy::TokenOrPublicKey(Scope::Write),
            passes: Passes::Client,
            serve: |services| {
                let (events, names) = (with(&services.events), with(&services.names));
                answered(query().and(headers()).and(client()).and(events).and(names).then(get_pixel::get_pixel))
            },
            document: Some(("browsers", <get_pixel::__path_get_pixel as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::HOURS_PATH),
        wire::HOURS_PATH,
        &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Read),
            passes: Passes::Nothing,
            serve: |services| answered(query().and(headers()).and(with(&services.reports)).then(get_hours::get_hours)),
            document: Some(("counts", <get_hours::__path_get_hours as utoipa::Path>::operation)),
        }],
    ),
    public(
        Path::Exact(wire::STREAM_PATH),
        wire::STREAM_PATH,
        &[Endpoint {
            methods: GET,
            policy: Policy::Token(Scope::Read),
            passes: Passes::StillAllowed,
            serve: |services| answered(with(&services.live).and(still_allowed()).then(get_stream::get_stream)),
            document: Some(("counts", <get_stream::__path_get_stream as utoipa::Path>::operation)),
        }],
    ),
    public(Path::Exact("/analytics.js"), "/analytics.js", &[FILE]),
    public(Path::Files, "/", &[FILE]),
    public(
        Path::Below("/docs"),
        "/docs",
        &[Endpoint {
            methods: READ,
            policy: Policy::Open,
            passes: Passes::Nothing,
            serve: |_| {
                let config = Arc::new(utoipa_swagger_ui::Config::from(OPENAPI_PATH));
                answered(path().map(move |path| get_docs::get_docs(&path, &config)))
            },
            document: None,
        }],
    ),
    public(
        Path::Exact(OPENAPI_PATH),
        OPENAPI_PATH,
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
        "/healthz",
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
        "/readyz",
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
        name: "/metrics",
        endpoints: &[Endpoint {
            methods: READ,
            policy: Policy::Token(Scope::Admin),
            passes: Passes::Nothing,
            serve: |services| answered(with(&services.metrics).map(|metrics| Ok(metrics::metrics(&metrics)))),
            document: None,
        }],
    },
];

const OPENAPI_PATH: &str = "/openapi.json";

/// A file that is part of the program.
const FILE: Endpoint = Endpoint {
    methods: READ,
    policy: Policy::Open,
    passes: Passes::Nothing,
    serve: |_| answered(path().and(headers()).map(|path, headers| get_file::get_file(&path, &headers))),
    document: None,
};

const fn public(path: Path, name: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route { listener: Listener::Public, path, name, endpoints }
}

impl Path {
    fn has(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == *exact,
            Self::Below(folder) => path.strip_prefix(folder).is_some_and(|file| {
                file.is_empty() || file.strip_prefix('/').is_some_and(|file| !file.starts_with('/'))
            }),
            Self::Files => FILES.iter().any(|file| file.path == path),
        }
    }
}

/// What routes are called, in the order of their places, and last what every path is called that no route has.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(|route| route.name).chain(["unknown"])
}

/// What a request is for.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The place of its route's name in [`names`].
    pub(crate) place: usize,
    pub(crate) name: &'static str,
    /// None where the path has no such method, or there is no such path.
    pub(crate) endpoint: Option<&'static Endpoint>,
    /// The place of the endpoint in its route.
    endpoint_place: usize,
}

impl Target {
    /// What a request must show. Nothing is there that needs a token where nothing is.
    pub(crate) fn policy(&self) -> Policy {
        self.endpoint.map_or(Policy::Open, |endpoint| endpoint.policy)
    }

    /// Whether it is the busiest route, where only the service writes to the log.
    pub(crate) fn is_busiest(&self) -> bool {
        self.place == 0
    }

    /// Why there is no endpoint, which is the same for all who ask.
    pub(crate) fn missing(&self, listener: Listener, path: &str) -> ApiError {
        match ROUTES.get(self.place) {
            Some(route) => {
                let methods = route.endpoints.iter().flat_map(|endpoint| endpoint.methods);
                let allowed = methods.map(Method::as_str).collect::<Vec<_>>().join(", ");
                ApiError::MethodNotAllowed { allowed }
            }
            None => ApiError::NotFound { listener, path: path.to_owned() },
        }
    }
}

/// The routes of one listener, ready to serve.
pub(crate) struct Router {
    listener: Listener,
    /// By the place of the route and that of the endpoint.
    filters: Vec<Vec<BoxedFilter<(Response,)>>>,
}

impl Router {
    pub(crate) fn new(listener: Listener, services: &Services) -> Self {
        let filters = |route: &Route| {
            let endpoints = route.endpoints.iter().filter(|_| route.listener == listener);
            endpoints.map(|endpoint| (endpoint.serve)(services)).collect()
        };
        Self { listener, filters: ROUTES.iter().map(filters).collect() }
    }

    pub(crate) fn listener(&self) -> Listener {
        self.listener
    }

    pub(crate) fn find(&self, path: &str, method: &Method) -> Target {
        find(self.listener, path, method)
    }

    /// Lets the endpoint of a target answer. There must be one.
    pub(crate) fn call<B>(
        &self,
        target: Target,
        request: Request<WatchedBody<B>>,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<B>
    where
        B: Body + Unpin + Send + Sync + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        warp::service(self.filters[target.place][target.endpoint_place].clone()).call(request)
    }
}

fn find(listener: Listener, path: &str, method: &Method) -> Target {
    let place = ROUTES.iter().position(|route| route.listener == listener && route.path.has(path));
    let Some(place) = place else {
        return Target { place: ROUTES.len(), name: "unknown", endpoint: None, endpoint_place: 0 };
    };
    let route = &ROUTES[place];
    let found = route.endpoints.iter().enumerate().find(|(_, endpoint)| endpoint.methods.contains(method));
    let (endpoint_place, endpoint) = found.map_or((0, None), |(place, endpoint)| (place, Some(endpoint)));
    Target { place, name: route.name, endpoint, endpoint_place }
}

/// The OpenAPI document, as JSON.
pub(super) fn document() -> String {
    openapi::json(documented())
}

fn documented() -> impl Iterator<Item = Documented> {
    ROUTES.iter().flat_map(|route| {
        route.endpoints.iter().filter_map(|endpoint| {
            let (tag, operation) = endpoint.document?;
            Some(Documented {
                path: route.name,
                method: endpoint.methods[0].clone(),
                policy: endpoint.policy,
                tag,
                operation: operation(),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use model::access::Scope;
    use warp::http::Method;

    use super::{ROUTES, find, names};
    use crate::{auth::Policy, telemetry::metrics::Listener};

    #[test]
    fn every_path_has_one_spelling_and_what_no_route_has_is_unknown() {
        let named = |path: &str| {
            let of = |listener| find(listener, path, &Method::GET).name;
            if path.starts_with("/metrics") { of(Listener::Admin) } else { of(Listener::Public) }
        };
        for route in &ROUTES {
            assert_eq!(named(route.name), route.name);
        }
        assert_eq!(names().count(), ROUTES.len() + 1);
        for (path, name) in [
            ("", "unknown"),
            ("/docs/swagger-ui.css", "/docs"),
            ("/docsx", "unknown"),
            ("/assets/page.js", "/"),
            ("/assets/", "unknown"),
            ("/assets/other.js", "unknown"),
            ("/analytics/", "unknown"),
            ("/analytics/hours/", "unknown"),
            ("/analytics.gif/", "unknown"),
            ("/healthz/", "unknown"),
            ("/assets/page.js/", "unknown"),
            ("/docs/", "/docs"),
            ("/docs//", "unknown"),
            ("/docs//index.html", "unknown"),
            ("//", "unknown"),
            ("//analytics", "unknown"),
            ("/%61nalytics", "unknown"),
            ("/analytics;x", "unknown"),
            ("/ANALYTICS", "unknown"),
            ("/analytics//", "unknown"),
            ("/analytics/../metrics", "unknown"),
            ("/analytics/batch/x", "unknown"),
            ("/metrics/x", "unknown"),
            ("*", "unknown"),
            ("/\u{9b}31m\n", "unknown"),
        ] {
            assert_eq!(named(path), name, "{path:?}");
        }
    }

    #[test]
    fn each_listener_has_routes_of_its_own() {
        let of = |listener| {
            let found = ROUTES.iter().filter(|route| find(listener, route.name, &Method::GET).name == route.name);
            found.map(|route| route.name).collect::<Vec<_>>()
        };
        assert_eq!(of(Listener::Admin), ["/metrics"]);
        assert_eq!(of(Listener::Public).len(), ROUTES.len() - 1);
    }

    #[test]
    fn what_holds_data_needs_a_token() {
        let read = Policy::Token(Scope::Read);
        let write = Policy::Token(Scope::Write);
        let page = Policy::TokenOrPublicKey(Scope::Write);
        for (path, get, post) in [
            ("/analytics", read, page),
            ("/analytics/batch", Policy::Open, write),
            ("/analytics.gif", page, Policy::Open),
            ("/analytics/hours", read, Policy::Open),
            ("/analytics/stream", read, Policy::Open),
        ] {
            let policy = |method| find(Listener::Public, path, &method).policy();
            assert_eq!((policy(Method::GET), policy(Method::POST)), (get, post), "{path}");
        }
        let admin = find(Listener::Admin, "/metrics", &Method::GET);
        assert_eq!(admin.policy(), Policy::Token(Scope::Admin));
        let open =
            ROUTES.iter().filter(|route| route.endpoints.iter().any(|endpoint| endpoint.policy.scope().is_none()));
        let open: Vec<&str> = open.map(|route| route.name).collect();
        assert_eq!(open, ["/analytics.js", "/", "/docs", "/openapi.json", "/healthz", "/readyz"]);
    }
}
