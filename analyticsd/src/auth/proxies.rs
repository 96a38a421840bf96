use std::net::IpAddr;

use ipnet::IpNet;
use model::address;
use warp::http::{
    HeaderName,
    header::{FORWARDED, HeaderMap},
};

/// The header in which a trusted proxy names the client. Only one is trusted: a proxy that writes the one forwards the
/// other as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ForwardedHeader {
    /// `X-Forwarded-For: 192.0.2.1`, which most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1`, as in RFC 7239.
    Forwarded,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The trusted proxies, and the header that they write.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    pub(super) trusted: Vec<IpNet>,
    pub(super) header: ForwardedHeader,
}

impl Proxies {
    /// The address that a request comes from: the last address in the header that is not a trusted proxy. That client
    /// may have forged everything before it. If a trusted proxy's entry cannot be parsed, the request counts as the
    /// proxy's own.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.is_trusted(peer) {
            return peer;
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        let mut client = peer;
        // Several lines mean the same as one line with all their parts in order.
        for line in headers.get_all(name).iter().rev() {
            let mut rest = Some(line.as_bytes());
            // Only the part in question is decoded: invalid text that a client wrote must not spoil the part that the
            // proxy added.
            while let Some(line) = rest {
                let part;
                (rest, part) = last_part(line, self.header == ForwardedHeader::Forwarded);
                let part = String::from_utf8_lossy(part);
                let part = match self.header {
                    ForwardedHeader::XForwardedFor => Some(part.trim()),
                    ForwardedHeader::Forwarded => forwarded_for(&part),
                };
                let Some(address) = part.and_then(address::parse) else { return peer };
                client = address;
                if !self.is_trusted(address) {
                    return client;
                }
            }
        }
        client
    }

    /// Whether an address is that of a trusted proxy.
    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Splits off the part after the last comma. Commas within quotes do not count, because a proxy may quote a client's
/// text there. The search begins at the end, so that an unclosed quote of the client hides nothing after it.
fn last_part(line: &[u8], has_quotes: bool) -> (Option<&[u8]>, &[u8]) {
    let mut is_quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if has_quotes => is_quoted = !is_quoted || is_escaped(&line[..at]),
            b',' if !is_quoted => return (Some(&line[..at]), &line[at + 1..]),
            _ => {}
        }
    }
    (None, line)
}

/// Whether an odd number of backslashes ends this text, so that the next byte is escaped.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// Splits at semicolons outside of quotes. `None` if a quote is not closed.
fn pairs(text: &str) -> Option<Vec<&str>> {
    let (mut pairs, mut begin) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => {
                pairs.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pairs.push(&text[begin..]);
    (!is_quoted).then_some(pairs)
}

/// The value of `for` in one part of a header `Forwarded`, without its quotes. `None` if there is none, or several.
fn forwarded_for(part: &str) -> Option<&str> {
    let mut values = pairs(part)?.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;
    use warp::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{ForwardedHeader, Proxies};

    fn client(header: ForwardedHeader, peer: &str, name: &'static str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Proxies { trusted, header }.client(peer.parse::<IpAddr>().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_clients() {
        let table: &[(&str, &[&str], &str)] = &[
            ("192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.2.3.4,198.51.100.1 , 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, "], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, x"], "10.0.0.1"),
            ("10.0.0.1", &["[198.51.100.1"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:http"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["\u{e9}, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["\u{e9}", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["\", 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, \u{e9}"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1\u{e9}"], "10.0.0.1"),
        ];
        for (peer, lines, expected) in table {
            assert_eq!(
                client(ForwardedHeader::XForwardedFor, peer, "x-forwarded-for", lines),
                *expected,
                "{peer} {lines:?}"
            );
            assert_eq!(
                client(ForwardedHeader::Forwarded, peer, "x-forwarded-for", lines),
                *peer,
                "only the other header counts"
            );
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let table: &[(&[&str], &str)] = &[
            (&["for=198.51.100.1"], "198.51.100.1"),
            (&["For=198.51.100.1;proto=https;by=10.0.0.2"], "198.51.100.1"),
            (&["proto=http; for=\"198.51.100.1:80\""], "198.51.100.1"),
            (&["for=1.2.3.4, for=198.51.100.1, for=10.0.0.2"], "198.51.100.1"),
            (&["for=198.51.100.1", "for=10.0.0.2"], "198.51.100.1"),
            (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=unknown"], "10.0.0.1"),
            (&["for=_hidden"], "10.0.0.1"),
            (&["for=1.2.3.4;for=198.51.100.1"], "10.0.0.1"),
            (&["for=\"198.51.100.1"], "10.0.0.1"),
            (&["for=198.51.100.1;host=\"x,for=6.6.6.6;y=\""], "198.51.100.1"),
            (&["for=198.51.100.1;host=\"a\\\"b,for=6.6.6.6\""], "198.51.100.1"),
            (&["for=198.51.100.1;host=\"a\\\\\", for=10.0.0.2"], "198.51.100.1"),
            (&["for=\"1.2.3.4, for=198.51.100.1"], "198.51.100.1"),
            (&["for=\"1.2.3.4", "for=198.51.100.1"], "198.51.100.1"),
            (&["for=\"1.2.3.4, for=10.0.0.2"], "10.0.0.1"),
            (&["\u{e9}, for=198.51.100.1;host=\"\u{e9}\""], "198.51.100.1"),
            (&["proto=https"], "10.0.0.1"),
        ];
        for (lines, expected) in table {
            assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", "forwarded", lines), *expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[ -~\u{e9}]{0,60}") {
            client(ForwardedHeader::XForwardedFor, "10.0.0.1", "x-forwarded-for", &[&value]);
            client(ForwardedHeader::Forwarded, "10.0.0.1", "forwarded", &[&value]);
        }
    }
}
