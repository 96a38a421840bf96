//! Without any token the daemon is open to its own machine. These checks keep out web pages of other sites that a
//! browser on that machine shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use warp::http::{
    HeaderName, HeaderValue, Uri,
    header::{HOST, HeaderMap},
};

use super::{
    cors::Cors,
    denial::Denial,
    origin::{self, Unclear},
};

/// The header in which a browser relates the page's site to the target (the W3C's Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether proxies add this header: RFC 7239, RFC 9110 (7.6.3), and the older customs.
fn is_of_proxies(header: &str) -> bool {
    header.starts_with("x-forwarded-") || ["forwarded", "via", "x-real-ip"].contains(&header)
}

/// Refuses requests that a proxy forwards, as far as its headers show it, and requests that a page of another site
/// causes.
///
/// A page can point the name of its own site to this machine (DNS rebinding) and then read answers as if they were its
/// own; `Host` reveals that. A page can also send a request without reading the answer; `Origin` and `Referer` reveal
/// that, and if a browser omits them, `Sec-Fetch-Site`. A program that sends none of them is not a browser.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, cors: &Cors) -> Result<(), Denial> {
    let host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(HOST).map(HeaderValue::as_bytes));
    if host.is_some_and(|host| !str::from_utf8(host).is_ok_and(is_local)) {
        return Err(Denial::ForeignHost);
    }
    if headers.keys().any(|name| is_of_proxies(name.as_str())) {
        return Err(Denial::Proxied);
    }
    let is_foreign = match origin::origin(headers) {
        Ok(Some(origin)) => !is_of_here(origin) && !cors.names(origin),
        // An unclear origin is treated as foreign.
        Err(Unclear) => true,
        Ok(None) => {
            let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
            sites.any(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"))
        }
    };
    if is_foreign { Err(Denial::ForeignPage) } else { Ok(()) }
}

fn is_of_here(origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(is_local)
}

/// Whether a host, with or without a port, means this machine for every resolver: a loopback address, or a name that
/// RFC 6761 reserves for it.
fn is_local(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').unwrap_or_default();
        return is_port(port)
            && address.parse::<Ipv6Addr>().is_ok_and(|address| IpAddr::V6(address).to_canonical().is_loopback());
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    if !is_port(port) {
        return false;
    }
    // The most frequent host needs no parsing.
    if host == "127.0.0.1" {
        return true;
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    // A final dot only marks a name as fully qualified.
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    is_name && host.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case("localhost"))
}

/// Whether this is empty, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use warp::http::{HeaderMap, HeaderName, HeaderValue, Uri};

    use super::check;
    use crate::auth::{cors::Cors, denial::Denial};

    fn checked(target: &str, headers: &[(&'static str, &'static str)]) -> &'static str {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<HeaderMap>();
        let cors = Cors::new(&["https://admin.example".parse().unwrap()]);
        match check(&target.parse::<Uri>().unwrap(), &headers, &cors) {
            Ok(()) => "in",
            Err(Denial::ForeignHost) => "host",
            Err(Denial::ForeignPage) => "page",
            Err(Denial::Proxied) => "proxy",
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_names_and_addresses_of_this_machine_are_accepted() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "app.localhost.:80",
            "app.localhost:3000",
            "127.0.0.1",
            "127.8.9.1:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(checked("/", &[("host", host)]), "in", "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:80",
            "evil.example.",
            "localhost..",
            ".",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "[::1",
            "[::1].evil.example",
            "",
            "0x7f.1",
            "localhost:80@evil.example",
            "evil.example@x.localhost",
            "evil.example/x.localhost",
            "localhost:80:80",
            "localhost:99999",
            "[localhost]",
            "[127.0.0.1]",
        ] {
            assert_eq!(checked("/", &[("host", host)]), "host", "{host:?}");
        }
        assert_eq!(
            checked("http://evil.example/", &[("host", "localhost")]),
            "host",
            "the target counts, not the header"
        );
        assert_eq!(checked("/", &[]), "in", "every browser sends a host");
    }

    #[test]
    fn a_forwarded_request_does_not_come_from_this_machine() {
        for header in ["forwarded", "via", "x-forwarded-for", "x-forwarded-server", "x-real-ip"] {
            assert_eq!(checked("/", &[("host", "localhost"), ("accept", "*/*"), (header, "")]), "proxy", "{header}");
        }
        assert_eq!(checked("/", &[("host", "localhost"), ("x-request-id", "1"), ("accept", "*/*")]), "in");
    }

    #[test]
    fn pages_of_this_machine_and_of_configured_origins_are_accepted() {
        for origin in ["http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]", "https://admin.example"] {
            assert_eq!(checked("/", &[("origin", origin), ("sec-fetch-site", "cross-site")]), "in", "{origin}");
        }
        for origin in
            ["https://evil.example", "null", "", "http://localhost.evil.example", "https://admin.example.evil.example"]
        {
            assert_eq!(checked("/", &[("host", "localhost"), ("origin", origin)]), "page", "{origin}");
        }
        for origin in ["moz-extension://localhost", "http://localhost:80@evil.example", "localhost"] {
            assert_eq!(checked("/", &[("origin", origin)]), "page", "{origin}");
        }
        for name in ["origin", "referer"] {
            let mut several = HeaderMap::new();
            for page in ["http://localhost", "https://evil.example"] {
                several.append(name, HeaderValue::from_static(page));
            }
            assert!(check(&Uri::from_static("/"), &several, &Cors::default()).is_err(), "none of several is preferred");
        }
        assert_eq!(checked("/", &[("referer", "http://localhost:3000/a")]), "in");
        assert_eq!(checked("/", &[("referer", "https://evil.example/localhost")]), "page");
        for site in ["cross-site", "Cross-Site", "CROSS-SITE"] {
            assert_eq!(checked("/", &[("sec-fetch-site", site)]), "page", "{site}");
        }
        for site in ["same-origin", "same-site", "none"] {
            assert_eq!(checked("/", &[("sec-fetch-site", site)]), "in", "{site}");
        }
    }
}
