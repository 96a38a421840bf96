//! A daemon that is open to its own machine, because there is no token yet, is not open to whatever page a browser on that machine shows.

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

/// Where a browser says how the page that asks is related to what it asks for (the W3C's Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether proxies write this header, for whom they ask or that they do: RFC 7239, RFC 9110 (7.6.3), and what was usual before.
fn is_of_proxies(header: &str) -> bool {
    header.starts_with("x-forwarded-") || ["forwarded", "via", "x-real-ip"].contains(&header)
}

/// Checks that nobody asks from elsewhere through a proxy, as far as it says so, and that no page from elsewhere makes a browser ask.
///
/// A page can have the name of its own site lead here (DNS rebinding) and then read as if this were that site, which `Host` gives away; and it can ask
/// without seeing the answer, which `Origin` and `Referer` give away, and where a browser leaves these out, `Sec-Fetch-Site`. Programs that
/// send none of them are not browsers.
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
        // A page that cannot be told is not one of here.
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

/// Whether a host, with or without a port, is this machine by any resolver: an address of its own, or a name that RFC 6761 keeps for it.
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
    // What nearly all say is not taken apart.
    if host == "127.0.0.1" {
        return true;
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    // With a dot at its end, a name is the same one, and complete.
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    is_name && host.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case("localhost"))
}

/// Whether this is nothing, or a port behind its colon.
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
    fn only_names_and_addresses_of_this_machine_are_answered_to() {
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
        assert_eq!(checked("/", &[]), "in", "browsers say where they ask");
    }

    #[test]
    fn what_a_proxy_passes_on_does_not_come_from_this_machine() {
        for header in ["forwarded", "via", "x-forwarded-for", "x-forwarded-server", "x-real-ip"] {
            assert_eq!(checked("/", &[("host", "localhost"), ("accept", "*/*"), (header, "")]), "proxy", "{header}");
        }
        assert_eq!(checked("/", &[("host", "localhost"), ("x-request-id", "1"), ("accept", "*/*")]), "in");
    }

    #[test]
    fn pages_of_this_machine_and_those_that_are_named_may_ask() {
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
