//! Which of the paths a request is for. Whatever decides by the path asks here, so that no two parts of the program read one differently.

use model::wire;

use crate::http::static_files::FILES;

/// Where a request goes: a small set, whatever clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Analytics,
    Batch,
    Pixel,
    Hours,
    Stream,
    Script,
    Page,
    Docs,
    OpenApi,
    Healthz,
    Readyz,
    Metrics,
    Unknown,
}

impl Route {
    /// All of them, in the order of their numbers, with what they are called.
    pub(crate) const ALL: [(Self, &'static str); 13] = [
        (Self::Analytics, "/analytics"),
        (Self::Batch, "/analytics/batch"),
        (Self::Pixel, "/analytics.gif"),
        (Self::Hours, "/analytics/hours"),
        (Self::Stream, "/analytics/stream"),
        (Self::Script, "/analytics.js"),
        (Self::Page, "/"),
        (Self::Docs, "/docs"),
        (Self::OpenApi, "/openapi.json"),
        (Self::Healthz, "/healthz"),
        (Self::Readyz, "/readyz"),
        (Self::Metrics, "/metrics"),
        (Self::Unknown, "unknown"),
    ];

    /// The route of a path, in the one spelling that it has: the filters behind the gate would also take one with a slash at its end. The files of the
    /// page are one route, and so are those of the documentation; what nobody serves is another.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            wire::ANALYTICS_PATH => Self::Analytics,
            wire::BATCH_PATH => Self::Batch,
            "/analytics.gif" => Self::Pixel,
            wire::HOURS_PATH => Self::Hours,
            wire::STREAM_PATH => Self::Stream,
            "/analytics.js" => Self::Script,
            "/openapi.json" => Self::OpenApi,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/docs" => Self::Docs,
            path if path.strip_prefix("/docs/").is_some_and(|file| !file.starts_with('/')) => Self::Docs,
            path if FILES.iter().any(|file| file.path == path) => Self::Page,
            _ => Self::Unknown,
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn the_number_of_a_route_is_its_place_in_the_list() {
        for (place, (route, name)) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place);
            assert_eq!(route.name(), name);
            assert_eq!(Route::of(name), route, "{name}");
        }
        for (path, route) in [
            ("", Route::Unknown),
            ("/docs/swagger-ui.css", Route::Docs),
            ("/docsx", Route::Unknown),
            ("/assets/page.js", Route::Page),
            ("/assets/", Route::Unknown),
            ("/assets/other.js", Route::Unknown),
            ("/analytics/", Route::Unknown),
            ("/analytics/hours/", Route::Unknown),
            ("/analytics.gif/", Route::Unknown),
            ("/healthz/", Route::Unknown),
            ("/assets/page.js/", Route::Unknown),
            ("/docs/", Route::Docs),
            ("/docs//", Route::Unknown),
            ("/docs//index.html", Route::Unknown),
            ("//", Route::Unknown),
            ("//analytics", Route::Unknown),
            ("/%61nalytics", Route::Unknown),
            ("/analytics;x", Route::Unknown),
            ("/ANALYTICS", Route::Unknown),
            ("/analytics//", Route::Unknown),
            ("/analytics/../metrics", Route::Unknown),
            ("/analytics/batch/x", Route::Unknown),
            ("/metrics/x", Route::Unknown),
            ("*", Route::Unknown),
            ("/\u{9b}31m\n", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), route, "{path:?}");
        }
    }
}
