//! Finds the endpoint of a request. Every decision about a path is made here, so that no two parts of the program read
//! a path differently.

use std::convert::Infallible;

use hyper::body::Body;
use tower_service::Service as _;
use warp::{
    filters::BoxedFilter,
    http::{Method, Request},
    reply::Response,
};

use super::{
    error::ApiError,
    public_path::PublicPath,
    routes::{Endpoint, ROUTES, Route, Services, UNKNOWN},
    watched_body::WatchedBody,
};
use crate::{auth::Policy, telemetry::metrics::Listener};

/// The route and the endpoint of a request.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The index of its route's name in `routes::names`.
    pub(crate) place: usize,
    pub(crate) name: &'static str,
    /// `None` if the path is unknown or does not accept the method.
    pub(crate) endpoint: Option<&'static Endpoint>,
    /// The index of the endpoint in its route.
    endpoint_place: usize,
}

impl Target {
    /// The credentials that the endpoint requires. Without an endpoint there is nothing to protect.
    pub(crate) fn policy(&self) -> Policy {
        self.endpoint.map_or(Policy::Open, |endpoint| endpoint.policy)
    }

    /// Whether this is the busiest route. On it only the service writes to the log.
    pub(crate) fn is_busiest(&self) -> bool {
        self.place == 0
    }

    /// Why there is no endpoint. The reason does not depend on the client.
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
    /// Other names of some routes, if any.
    public_path: Option<PublicPath>,
    /// By the indices of route and endpoint.
    filters: Vec<Vec<BoxedFilter<(Response,)>>>,
}

impl Router {
    pub(crate) fn new(listener: Listener, public_path: Option<PublicPath>, services: &Services) -> Self {
        let filters = |route: &Route| {
            let endpoints = route.endpoints.iter().filter(|_| route.listener == listener);
            endpoints.map(|endpoint| (endpoint.serve)(services)).collect()
        };
        Self { listener, public_path, filters: ROUTES.iter().map(filters).collect() }
    }

    pub(crate) fn listener(&self) -> Listener {
        self.listener
    }

    pub(crate) fn find(&self, path: &str, method: &Method) -> Target {
        let usual = self.public_path.as_ref().and_then(|names| names.usual(path));
        find(self.listener, usual.unwrap_or(path), method)
    }

    /// Calls the endpoint of a target, which must have one.
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
    let place = ROUTES.iter().position(|route| route.listener == listener && route.has(path));
    let Some(place) = place else {
        return Target { place: ROUTES.len(), name: UNKNOWN, endpoint: None, endpoint_place: 0 };
    };
    let route = &ROUTES[place];
    let found = route.endpoints.iter().enumerate().find(|(_, endpoint)| endpoint.methods.contains(method));
    let (endpoint_place, endpoint) = found.map_or((0, None), |(place, endpoint)| (place, Some(endpoint)));
    Target { place, name: route.name(), endpoint, endpoint_place }
}

#[cfg(test)]
mod tests {
    use model::access::Scope;
    use warp::http::Method;

    use super::find;
    use crate::{
        auth::Policy,
        http::routes::{ROUTES, Route, names},
        telemetry::metrics::Listener,
    };

    #[test]
    fn every_path_has_one_spelling_and_what_no_route_has_is_unknown() {
        let named = |path: &str| {
            let of = |listener| find(listener, path, &Method::GET).name;
            if path.starts_with("/metrics") { of(Listener::Admin) } else { of(Listener::Public) }
        };
        for route in &ROUTES {
            assert_eq!(named(route.name()), route.name());
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
            ("/docs/nothing", "unknown"),
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
            let found = ROUTES.iter().filter(|route| find(listener, route.name(), &Method::GET).name == route.name());
            found.map(Route::name).collect::<Vec<_>>()
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
        let open: Vec<&str> = open.map(Route::name).collect();
        assert_eq!(open, ["/analytics.js", "/", "/docs", "/openapi.json", "/healthz", "/readyz"]);
    }
}
