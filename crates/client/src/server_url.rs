use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use thiserror::Error;

/// The address of analyticsd, or of the proxy before it that speaks TLS: `http://HOST:PORT` or `https://HOST`,
/// without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

#[derive(Debug, Error)]
#[error(
    "this is not an address of analyticsd; accepted is http://HOST:PORT, HOST:PORT or https://HOST (analyticsd itself does not speak TLS, a proxy in front may)"
)]
pub struct InvalidServerUrl;

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    /// Without a scheme it is http, which is what analyticsd speaks.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url: Url = text.parse().map_err(|_| InvalidServerUrl)?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none();
        if usable { Ok(Self(text.trim_end_matches('/').to_owned())) } else { Err(InvalidServerUrl) }
    }
}

impl ServerUrl {
    /// The same by http.
    pub(crate) fn without_tls(&self) -> String {
        self.0.replacen("https://", "http://", 1)
    }

    /// The same to be shown: a proxy may ask for a password.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut url: Url = self.0.parse().expect("it was parsed before");
        if url.password().is_some() && url.set_password(Some("***")).is_ok() {
            return Self(url.as_str().trim_end_matches('/').to_owned());
        }
        self.clone()
    }
}

impl ServerUrl {
    /// The address without name and password, and the value of the header `Authorization` with them (RFC 7617), if
    /// there are any.
    pub fn split(&self) -> (Self, Option<String>) {
        let mut url: Url = self.0.parse().expect("it was parsed before");
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (name, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        if name.is_empty() && password.is_empty() {
            return (self.clone(), None);
        }
        // A URL with a host can have both, so neither fails.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let header = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
        (Self(url.as_str().trim_end_matches('/').to_owned()), Some(header))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ServerUrl;

    #[test]
    fn a_server_is_an_http_address_without_a_query() {
        for (text, accepted) in [
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("http://counter/", Some("http://counter")),
            ("http://[::1]:8080/prefix/", Some("http://[::1]:8080/prefix")),
            ("https://counter/", Some("https://counter")),
            ("ftp://counter", None),
            ("counter:8080", Some("http://counter:8080")),
            ("127.0.0.1:8080/", Some("http://127.0.0.1:8080")),
            ("[::1]:8080", Some("http://[::1]:8080")),
            ("localhost", Some("http://localhost")),
            ("counter:http", None),
            ("http://", None),
            ("http://counter/?a=b", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<ServerUrl>().ok().map(|url| url.to_string()).as_deref(), accepted, "{text:?}");
        }
    }

    #[test]
    fn name_and_password_can_be_taken_out() {
        let split = |text: &str| {
            let (url, header) = text.parse::<ServerUrl>().unwrap().split();
            (url.to_string(), header)
        };
        let (url, header) = split("http://ann:se%40cret@counter:8080/prefix/");
        assert_eq!((url.as_str(), header.as_deref()), ("http://counter:8080/prefix", Some("Basic YW5uOnNlQGNyZXQ=")));
        assert_eq!(split("http://counter:8080"), ("http://counter:8080".to_owned(), None));
    }

    #[test]
    fn a_password_of_a_server_is_not_shown() {
        for (text, masked) in [
            ("http://ann:secret@counter:8080", "http://ann:***@counter:8080"),
            ("https://ann:se@cret@counter/prefix/", "https://ann:***@counter/prefix"),
            ("http://counter:8080", "http://counter:8080"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().masked().to_string(), masked, "{text}");
        }
    }
}
