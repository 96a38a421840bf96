use std::str::FromStr;

use percent_encoding::percent_decode;
use thiserror::Error;

/// The host of a website: in lower case and ASCII (IDNA), without a port and without a leading `www.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

#[derive(Debug, Error)]
#[error("this is not a host; accepted is a host as in example.com, without http:// and without a path")]
pub struct InvalidHost;

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part_of_a_host = |b: u8| b.is_ascii_graphic() && !b"/?#@\"\\".contains(&b) || !b.is_ascii();
        if text.bytes().all(is_part_of_a_host) {
            Self::of_authority(text.as_bytes()).ok_or(InvalidHost)
        } else {
            Err(InvalidHost)
        }
    }
}

impl Host {
    /// `authority` is the part of a URL between `://` and the path: `USER@HOST:PORT`.
    fn of_authority(authority: &[u8]) -> Option<Self> {
        let host = authority.rsplit(|&b| b == b'@').next()?;
        let end = match host.first() {
            // An IPv6 address has colons of its own.
            Some(b'[') => host.iter().position(|&b| b == b']')? + 1,
            _ => host.iter().position(|&b| b == b':').unwrap_or(host.len()),
        };
        let host = percent_decode(&host[..end]).decode_utf8().ok()?;
        let host = if host.is_ascii() { host.to_ascii_lowercase() } else { idna::domain_to_ascii(&host).ok()? };
        let host = host.strip_prefix("www.").unwrap_or(&host);
        // With a dot at the end, a name is the same, and complete.
        let host = host.strip_suffix('.').unwrap_or(host);
        (!host.is_empty()).then(|| Self(host.to_owned()))
    }

    /// The host of a referer; none if it is `-` or no URL.
    pub(super) fn of_referer(referer: &[u8]) -> Option<Self> {
        let (_scheme, rest) = split_scheme(referer)?;
        let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
        Self::of_authority(&rest[..end])
    }
}

/// Splits `SCHEME://REST`; none if it does not begin with a scheme, as a path that contains a URL.
pub(super) fn split_scheme(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = url.windows(3).position(|window| window == b"://")?;
    let scheme = &url[..at];
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    is_scheme.then(|| (scheme, &url[at + 3..]))
}

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn a_host_is_a_host_and_nothing_more() {
        for text in ["", "http://example.com", "example.com/", "a b", "www.", ":80", "a@b", "[::1"] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_host_with_letters_of_any_script_is_the_same_however_it_is_written() {
        let own: Host = "Bücher.example".parse().unwrap();
        for referer in [
            "https://xn--bcher-kva.example/",
            "https://bücher.example/page",
            "https://B%C3%BCcher.example:8443",
            "https://www.BÜCHER.example/?q=1",
            "https://XN--BCHER-KVA.example",
            "https://www.xn--bcher-kva.example./",
        ] {
            assert_eq!(Host::of_referer(referer.as_bytes()), Some(own.clone()), "{referer}");
        }
        assert_eq!("xn--bcher-kva.example".parse::<Host>().unwrap(), own);
        for referer in ["https://bucher.example/", "https://b%FCcher.example/"] {
            assert_ne!(Host::of_referer(referer.as_bytes()), Some(own.clone()), "{referer}");
        }
    }
}
