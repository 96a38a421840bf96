//! Names of the operator's own for what web pages load, since blockers know the usual ones.

use model::wire;

use super::routes::{self, PIXEL_PATH, SCRIPT_PATH};

/// A path under which the public listener serves the endpoint for events too. With `.js` it is the script, with `.gif`
/// the pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicPath(String);

/// What follows the path, and the path of the route that it stands for.
const NAMES: [(&str, &str); 3] = [("", wire::ANALYTICS_PATH), (".js", SCRIPT_PATH), (".gif", PIXEL_PATH)];

impl PublicPath {
    pub(crate) const ACCEPTED: &'static str = "a path like /x7 that is not the daemon's own, of up to 100 letters, \
                                               digits, hyphens, underscores, dots and slashes";

    /// Returns what is wrong with a path.
    pub(crate) fn new(path: &str) -> Result<Self, &'static str> {
        let Some(below) = path.strip_prefix('/') else { return Err("does not begin with a slash") };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // Clients resolve a segment of dots alone before they send it.
        let is_name = |segment: &str| segment.bytes().all(is_plain) && segment.bytes().any(|byte| byte != b'.');
        if path.len() > 100 || !below.split('/').all(is_name) {
            return Err("is not such a path");
        }
        if NAMES.iter().any(|(end, _)| routes::has(&format!("{path}{end}"))) {
            return Err("is a path of the daemon");
        }
        Ok(Self(path.to_owned()))
    }

    /// The usual path of what is served under a path, if it is one of these names.
    pub(super) fn usual(&self, path: &str) -> Option<&'static str> {
        let end = path.strip_prefix(self.0.as_str())?;
        NAMES.iter().find_map(|(name, usual)| (*name == end).then_some(*usual))
    }
}

#[cfg(test)]
mod tests {
    use super::PublicPath;

    #[test]
    fn a_path_of_plain_segments_that_no_route_has_is_accepted() {
        for path in ["/x7", "/shop/x7", "/x-7_a.b", "/analytics2", "/stats/analytics"] {
            assert!(PublicPath::new(path).is_ok(), "{path}");
        }
        let long = format!("/{}", "x".repeat(100));
        for path in
            ["", "x7", "/", "//", "/x/", "/x//y", "/.", "/x/..", "/x y", "/x%37", "/x?y", "/x#y", "/\u{e9}", &long]
        {
            assert!(PublicPath::new(path).is_err(), "{path:?}");
        }
        for path in ["/analytics", "/analytics/batch", "/docs", "/healthz", "/metrics", "/assets/page", "/openapi.json"]
        {
            assert_eq!(PublicPath::new(path), Err("is a path of the daemon"), "{path}");
        }
    }

    #[test]
    fn exactly_three_names_follow_from_it() {
        let path = PublicPath::new("/x7").unwrap();
        for (given, usual) in [
            ("/x7", Some("/analytics")),
            ("/x7.js", Some("/analytics.js")),
            ("/x7.gif", Some("/analytics.gif")),
            ("/x7/", None),
            ("/x7/batch", None),
            ("/x77", None),
            ("/X7", None),
            ("/analytics", None),
        ] {
            assert_eq!(path.usual(given), usual, "{given}");
        }
    }
}
