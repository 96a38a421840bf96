use model::{access::Scope, wire};
use warp::http::Method;

use crate::files::FILES;

/// What a request needs, by its path and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
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
pub(super) fn by_public(path: &str, method: &Method) -> Needed {
    // Routes are found with a slash at their end, too.
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    match path {
        wire::ANALYTICS_PATH => match *method {
            Method::POST => Needed::Scope(Scope::Write),
            Method::GET | Method::HEAD => Needed::Scope(Scope::Read),
            _ => Needed::OtherMethod("GET, HEAD, POST"),
        },
        wire::BATCH_PATH => match *method {
            Method::POST => Needed::Scope(Scope::Write),
            _ => Needed::OtherMethod("POST"),
        },
        "/analytics.gif" => match *method {
            Method::GET => Needed::Scope(Scope::Write),
            _ => Needed::OtherMethod("GET"),
        },
        wire::HOURS_PATH => match *method {
            Method::GET | Method::HEAD => Needed::Scope(Scope::Read),
            _ => Needed::OtherMethod("GET, HEAD"),
        },
        wire::STREAM_PATH => match *method {
            Method::GET => Needed::Scope(Scope::Read),
            _ => Needed::OtherMethod("GET"),
        },
        "/healthz" => Needed::NothingEver,
        "/readyz" | "/openapi.json" | "/docs" => Needed::Nothing,
        _ if path.starts_with("/docs/") || FILES.iter().any(|file| file.path == path) => Needed::Nothing,
        _ => Needed::OtherPath,
    }
}

/// The table of the admin listener.
pub(super) fn by_admin(path: &str, method: &Method) -> Needed {
    match path.strip_suffix('/').unwrap_or(path) {
        "/metrics" => match *method {
            Method::GET | Method::HEAD => Needed::Scope(Scope::Admin),
            _ => Needed::OtherMethod("GET, HEAD"),
        },
        _ => Needed::OtherPath,
    }
}

#[cfg(test)]
mod tests {
    use model::access::Scope;
    use warp::http::Method;

    use super::{Needed, by_admin, by_public};

    #[test]
    fn whatever_is_not_listed_does_not_exist() {
        for path in [
            "//analytics",
            "/%61nalytics",
            "/analytics;x",
            "/ANALYTICS",
            "/analytics//",
            "/analytics/../metrics",
            "/analytics/batch/x",
            "/metrics",
            "*",
            "",
        ] {
            assert_eq!(by_public(path, &Method::GET), Needed::OtherPath, "{path:?}");
        }
        for path in ["/analytics", "/", "/metrics/x", ""] {
            assert_eq!(by_admin(path, &Method::GET), Needed::OtherPath, "{path:?}");
        }
    }

    #[test]
    fn a_slash_at_the_end_changes_nothing() {
        assert_eq!(by_public("/analytics/", &Method::POST), Needed::Scope(Scope::Write));
        assert_eq!(by_public("/analytics/hours/", &Method::GET), Needed::Scope(Scope::Read));
        assert_eq!(by_public("/", &Method::GET), Needed::Nothing);
        assert_eq!(by_admin("/metrics/", &Method::GET), Needed::Scope(Scope::Admin));
    }
}
