use model::access::Origin;
use warp::http::header::{HeaderMap, ORIGIN, REFERER};

/// The origin of the page that makes a browser send a request: browsers say it in `Origin`, and where they leave that out, as for an image, in
/// `Referer`. Whoever is no browser may say anything in either, which is why a public key only writes.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => origin.to_str().ok(),
        (Some(_), Some(_)) => None,
        (None, _) => headers.get(REFERER)?.to_str().ok().map(Origin::part_of),
    }
}
