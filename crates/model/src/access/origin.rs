use std::{fmt, net::Ipv6Addr, str::FromStr};

use thiserror::Error;

/// The origin of a web page, as browsers write it in the header `Origin`: scheme, host and, unless it is the scheme's
/// own, port.
///
/// There are no wildcards: a key for all subdomains would also be valid on one that an attacker took over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} {fault}; accepted is {accepted}", accepted = Origin::ACCEPTED)]
pub struct InvalidOrigin {
    text: String,
    fault: &'static str,
}

impl InvalidOrigin {
    /// The end of a sentence that begins with the text.
    pub fn fault(&self) -> &'static str {
        self.fault
    }
}

impl Origin {
    pub const ACCEPTED: &'static str =
        "a scheme, a host and perhaps a port, like https://shop.example or http://localhost:3000";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin of a URL, for example in a header `Referer`. It is not checked, and only to be compared.
    pub fn part_of(url: &str) -> &str {
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
        &url[..end]
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |fault| InvalidOrigin { text: text.chars().take(200).collect(), fault };
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://").ok_or_else(|| invalid("has no scheme"))?;
        let usual_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(invalid("has a scheme other than https and http")),
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(invalid("has more than scheme, host and port"));
        }
        if rest.contains('*') {
            return Err(invalid("has a wildcard, which would include hosts that were not named"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of an IPv6 address are in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        if !is_host(host) {
            return Err(invalid("has a host that browsers write differently (non-ASCII names are written as xn--…)"));
        }
        let port = match port {
            None => usual_port,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse::<u16>().map_err(|_| invalid("has a port that is not a number from 0 to 65535"))?
            }
            Some(_) => return Err(invalid("has a port that is not a number from 0 to 65535")),
        };
        Ok(Self(if port == usual_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }))
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, expected) in [
            ("https://shop.example", Some("https://shop.example")),
            ("HTTPS://Shop.Example:443", Some("https://shop.example")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("http://shop.example:80", Some("http://shop.example")),
            ("https://shop.example:80", Some("https://shop.example:80")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://[::1]", Some("http://[::1]")),
            ("http://[0:0::1]", None),
            ("shop.example", None),
            ("ftp://shop.example", None),
            ("null", None),
            ("*", None),
            ("https://*.shop.example", None),
            ("https://shop.example/", None),
            ("https://user@shop.example", None),
            ("https://shop.example:x", None),
            ("https://shop.example:", None),
            ("https://shop.example:+1", None),
            ("https://shop.example:65536", None),
            ("https://", None),
            ("https://sh\u{f6}p.example", None),
            ("https://shop.example\r\nX: y", None),
        ] {
            assert_eq!(text.parse::<Origin>().ok().as_ref().map(Origin::as_str), expected, "{text:?}");
        }
    }

    #[test]
    fn the_origin_of_a_page_ends_where_its_path_begins() {
        for (url, origin) in [
            ("https://shop.example/cart?x=https://other.example/", "https://shop.example"),
            ("https://shop.example?x", "https://shop.example"),
            ("https://shop.example", "https://shop.example"),
            ("https://shop.example@evil.example/", "https://shop.example@evil.example"),
            ("https://shop.example.evil.example/", "https://shop.example.evil.example"),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            assert_eq!(Origin::part_of(url), origin, "{url:?}");
        }
    }
}
