use model::access::Origin;
use warp::http::header::{HeaderMap, HeaderName, ORIGIN, REFERER};

/// The origin of the page that makes a browser send a request. Browsers send it in `Origin`, or without that, as for an
/// image, in `Referer`. Other programs may send any value in both, which is why a public key can only write.
///
/// `None` without both headers; an error if one is repeated, because none can be preferred.
pub(super) fn origin(headers: &HeaderMap) -> Result<Option<&str>, Unclear> {
    if let Some(origin) = only(headers, ORIGIN)? {
        return Ok(Some(origin));
    }
    Ok(only(headers, REFERER)?.map(Origin::part_of))
}

/// A page sends the request, but its origin is unclear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclear;

/// The value of a header that may occur once.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Unclear> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Unclear),
        (Some(_), Some(_)) => Err(Unclear),
        (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use warp::http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Unclear, origin};

    #[test]
    fn none_of_several_pages_is_preferred() {
        let origin_of = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(HeaderName::from_static(name), value);
            }
            origin(&headers).map(|origin| origin.map(str::to_owned))
        };
        let (a, b) = ("https://a.example", "https://b.example");
        assert_eq!(origin_of(&[]), Ok(None));
        assert_eq!(origin_of(&[("origin", a)]), Ok(Some(a.to_owned())));
        assert_eq!(origin_of(&[("referer", "https://a.example/page")]), Ok(Some(a.to_owned())));
        assert_eq!(origin_of(&[("referer", b), ("origin", a)]), Ok(Some(a.to_owned())));
        for name in ["origin", "referer"] {
            assert_eq!(origin_of(&[(name, a), (name, b)]), Err(Unclear), "{name}");
            assert_eq!(origin_of(&[(name, a), (name, a)]), Err(Unclear), "{name}");
            assert_eq!(origin_of(&[(name, "https://\u{e9}.example")]), Err(Unclear), "{name}");
        }
    }
}
