//! Entity tags, which show whether a client already has the current content (RFC 9110, section 8.8.3).

use sha2::{Digest, Sha256};
use warp::http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};

use crate::digest;

/// The tag of a content. The same content has the same tag on every replica.
pub(crate) fn of(content: &[u8]) -> HeaderValue {
    let digits = digest::short(Sha256::new_with_prefix(content));
    HeaderValue::try_from(format!("\"{digits}\"")).expect("digits in quotes are a header's value")
}

/// Whether a client has the content of this tag.
pub(crate) fn is_known(tag: &HeaderValue, headers: &HeaderMap) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    tags.any(|one| one == "*" || one.as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use warp::http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};

    use super::{is_known, of};

    #[test]
    fn a_content_is_known_by_its_tag_alone_or_among_others_strong_or_weak() {
        let tag = of(b"content");
        let text = tag.to_str().unwrap().to_owned();
        let table = [
            (text.clone(), true),
            (format!("W/{text}"), true),
            (format!("\"other\", {text}"), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (String::new(), false),
        ];
        for (value, known) in table {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::try_from(&value).unwrap())]);
            assert_eq!(is_known(&tag, &headers), known, "{value:?}");
        }
        assert!(!is_known(&tag, &HeaderMap::new()));
        assert_ne!(tag, of(b"another"));
    }
}
