use std::borrow::Cow;

use model::{InvalidInput, access::Credential, query_string::Parameters};
use warp::http::header::{AUTHORIZATION, HeaderMap};

/// The parameter for a public key.
pub(super) const KEY_PARAMETER: &str = "key";

pub(super) const KEY_ACCEPTED: &str =
    "a public key, as `analytics-cli token create NAME --public --origin ORIGIN` makes one";

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    None,
    /// One token or public key.
    One(Credential<'a>),
    /// A secret in the URL, which ends up in logs and histories.
    SecretInUrl,
    /// Something else: another scheme, or a text that does not have the form of a token.
    Other,
    /// More than one credential; none can be preferred.
    Several,
}

/// Reads the header `Authorization` and the parameter `key`. Neither is ever ignored. Returns an error if the parameter
/// cannot be parsed.
pub(super) fn credentials<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    key: &'a mut String,
) -> Result<Credentials<'a>, InvalidInput> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let header = lines.next();
    if lines.next().is_some() {
        return Ok(Credentials::Several);
    }
    match (header, in_url(query)?) {
        (None, None) => Ok(Credentials::None),
        (Some(_), Some(_)) => Ok(Credentials::Several),
        (Some(header), None) => {
            let token = bearer(header.as_bytes()).and_then(Credential::parse);
            Ok(token.map_or(Credentials::Other, Credentials::One))
        }
        (None, Some(given)) => {
            *key = given.into_owned();
            Ok(match Credential::parse(key) {
                Some(Credential::Secret { .. }) => Credentials::SecretInUrl,
                // A truncated secret still reveals most of it.
                None if [Credential::SECRET_PREFIX, Credential::SHARE_PREFIX].iter().any(|it| key.starts_with(it)) => {
                    Credentials::SecretInUrl
                }
                Some(public) => Credentials::One(public),
                None => Credentials::Other,
            })
        }
    }
}

/// The parameter `key`; none if it cannot be parsed.
pub(super) fn key_in_url(query: Option<&str>) -> Option<Cow<'_, str>> {
    in_url(query).ok().flatten()
}

fn in_url(query: Option<&str>) -> Result<Option<Cow<'_, str>>, InvalidInput> {
    query.map_or(Ok(None), |query| Parameters::of(query).optional(KEY_PARAMETER, KEY_ACCEPTED))
}

/// The token after the scheme `Bearer`, in upper or lower case.
fn bearer(value: &[u8]) -> Option<&str> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| str::from_utf8(token.trim_ascii()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use model::access::{Credential, IssuedToken};
    use warp::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

    use super::{Credentials, credentials};

    #[test]
    fn credentials_are_never_ignored() {
        let secret = IssuedToken::secret([1; IssuedToken::RANDOM_BYTES]).text;
        let public = IssuedToken::public([1; IssuedToken::RANDOM_BYTES]).text;
        let (in_header, in_query) = (format!("Bearer {secret}"), format!("x=1&key={public}"));
        let the_secret = || Credentials::One(Credential::parse(&secret).unwrap());
        let the_public = || Credentials::One(Credential::parse(&public).unwrap());
        let table: Vec<(Vec<&[u8]>, String, Credentials)> = vec![
            (vec![], String::new(), Credentials::None),
            (vec![], "keys=x&x=key".to_owned(), Credentials::None),
            (vec![in_header.as_bytes()], String::new(), the_secret()),
            (vec![b"", in_header.as_bytes()], String::new(), Credentials::Several),
            (vec![in_header.as_bytes(); 2], String::new(), Credentials::Several),
            (vec![in_header.as_bytes()], in_query.clone(), Credentials::Several),
            (vec![], in_query, the_public()),
            (vec![], format!("%6bey={}", public.replace('_', "%5f")), the_public()),
            (vec![], format!("key={secret}"), Credentials::SecretInUrl),
            (vec![], format!("key={}", &secret[..30]), Credentials::SecretInUrl),
            (vec![], "key=x".to_owned(), Credentials::Other),
            (vec![b""], String::new(), Credentials::Other),
            (vec![b"Bearer"], String::new(), Credentials::Other),
            (vec![b"Bearer \xff"], String::new(), Credentials::Other),
            (vec![b"Basic YTpi"], String::new(), Credentials::Other),
            (vec![secret.as_bytes()], String::new(), Credentials::Other),
        ];
        for (lines, query, expected) in table {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
            }
            assert_eq!(
                credentials(&headers, Some(&query), &mut String::new()).unwrap(),
                expected,
                "{lines:?} {query:?}"
            );
        }
        for scheme in ["bearer ", "BEARER ", "Bearer   "] {
            let value = HeaderValue::try_from(format!("{scheme}{secret}")).unwrap();
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            assert_eq!(credentials(&headers, None, &mut String::new()).unwrap(), the_secret(), "{scheme:?}");
        }
        for query in ["key=&x", "key=a&key=b", "key=%ff"] {
            assert!(credentials(&HeaderMap::new(), Some(query), &mut String::new()).is_err(), "{query:?}");
        }
    }
}
