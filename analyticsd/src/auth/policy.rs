use model::access::Scope;
use warp::http::Method;

use crate::http::route::Route;

/// What a request needs, by its route and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Nothing: what is there is part of the program and holds no data.
    Nothing,
    /// Nothing, however often it is asked: whoever looks whether the process lives must not be told to come back later.
    NothingEver,
    /// A token with this scope.
    Scope(Scope),
    /// The path does not have this method, but those.
    OtherMethod(&'static str),
    /// There is no such path.
    OtherPath,
}

/// The table of the public listener. What does not stand here does not exist: a route that is forgotten is not served, rather than open.
pub(crate) fn by_public(route: Route, method: &Method) -> Needed {
    match route {
        Route::Analytics => match *method {
            Method::POST => Needed::Scope(Scope::Write),
            Method::GET | Method::HEAD => Needed::Scope(Scope::Read),
            _ => Needed::OtherMethod("GET, HEAD, POST"),
        },
        Route::Batch => match *method {
            Method::POST => Needed::Scope(Scope::Write),
            _ => Needed::OtherMethod("POST"),
        },
        Route::Pixel => match *method {
            Method::GET => Needed::Scope(Scope::Write),
            _ => Needed::OtherMethod("GET"),
        },
        Route::Hours => match *method {
            Method::GET | Method::HEAD => Needed::Scope(Scope::Read),
            _ => Needed::OtherMethod("GET, HEAD"),
        },
        Route::Stream => match *method {
            Method::GET => Needed::Scope(Scope::Read),
            _ => Needed::OtherMethod("GET"),
        },
        Route::Healthz => Needed::NothingEver,
        Route::Readyz | Route::OpenApi | Route::Docs | Route::Page | Route::Script => Needed::Nothing,
        Route::Metrics | Route::Unknown => Needed::OtherPath,
    }
}

/// The table of the admin listener.
pub(super) fn by_admin(route: Route, method: &Method) -> Needed {
    match (route, method) {
        (Route::Metrics, &(Method::GET | Method::HEAD)) => Needed::Scope(Scope::Admin),
        (Route::Metrics, _) => Needed::OtherMethod("GET, HEAD"),
        _ => Needed::OtherPath,
    }
}

#[cfg(test)]
mod tests {
    use model::access::Scope;
    use warp::http::Method;

    use super::{Needed, Route, by_admin, by_public};

    #[test]
    fn each_listener_has_only_its_own_routes() {
        let of = |needed: fn(Route, &Method) -> Needed| {
            let routes = Route::ALL.into_iter().filter(|(route, _)| needed(*route, &Method::GET) != Needed::OtherPath);
            routes.map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(of(by_admin), ["/metrics"]);
        let others =
            Route::ALL.into_iter().map(|(_, name)| name).filter(|name| !["/metrics", "unknown"].contains(name));
        assert_eq!(of(by_public), others.collect::<Vec<_>>());
    }

    #[test]
    fn what_holds_data_needs_a_token() {
        let scope = |route, method| match by_public(route, &method) {
            Needed::Scope(scope) => Some(scope),
            _ => None,
        };
        for (route, reads, writes) in [
            (Route::Analytics, Some(Scope::Read), Some(Scope::Write)),
            (Route::Batch, None, Some(Scope::Write)),
            (Route::Pixel, Some(Scope::Write), None),
            (Route::Hours, Some(Scope::Read), None),
            (Route::Stream, Some(Scope::Read), None),
        ] {
            assert_eq!((scope(route, Method::GET), scope(route, Method::POST)), (reads, writes), "{}", route.name());
        }
        assert_eq!(by_admin(Route::Metrics, &Method::GET), Needed::Scope(Scope::Admin));
    }
}
