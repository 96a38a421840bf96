//! The names at the beginning of a line of the common and the combined format: `[HOST] CLIENT IDENT USER`.

use std::borrow::Cow;

use model::address;

use super::visitor::is_host_name;
use crate::record::Unreadable;

const IN_FRONT: Unreadable = Unreadable::LogLine("something stands in front of the client; --log-format says what");
const TOO_FEW: Unreadable = Unreadable::LogLine("there are no client, identity and user before the [time]");

/// The client among the names, or a list that stands in its place.
///
/// Unless `has_host` says that a virtual host stands in front, one is recognized by the words behind it: the identity
/// is `-` in practice, and a user's name may have spaces. Where it is not certain which word is the client, the line is
/// refused: it must not count for the server, or for what a collector of logs put in front.
pub(super) fn client(names: &[u8], has_host: bool) -> Result<Cow<'_, [u8]>, Unreadable> {
    if let Some(list) = list(names) {
        return without_host(list, has_host);
    }
    let words: Vec<&[u8]> = names.split(|&byte| byte == b' ').collect();
    let (Some(&first), Some(&second), Some(&third)) = (words.first(), words.get(1), words.get(2)) else {
        return Err(TOO_FEW);
    };
    if words[2..].iter().any(|word| is_address(word)) {
        return Err(IN_FRONT);
    }
    let has_more = words.len() > 3;
    let client = match (second, third) {
        _ if has_host => has_more.then_some(second),
        // `CLIENT - USER`: an unknown user is one word.
        (b"-", b"-") => (!has_more).then_some(first),
        (b"-", _) => Some(first),
        // `HOST CLIENT - USER`.
        (_, b"-") if has_more => {
            if is_address(first) && is_address(second) {
                return Err(Unreadable::LogLine(
                    "two addresses stand at the beginning; --log-format says which is the client",
                ));
            }
            (is_address(second) || is_server(first)).then_some(second)
        }
        // `CLIENT IDENT USER`, and lighttpd's `CLIENT HOST USER`.
        _ if !has_more && !is_address(second) => is_address(first).then_some(first),
        _ => None,
    };
    client.map(Cow::Borrowed).ok_or(IN_FRONT)
}

/// The names up to the last element of a list: an identity and a user follow. A client can write spaces into its own
/// elements, so whatever has a comma is a list.
fn list(names: &[u8]) -> Option<&[u8]> {
    let comma = names.iter().rposition(|&byte| byte == b',')?;
    let begin = names[comma + 1..].iter().position(|&byte| byte != b' ').map_or(names.len(), |at| comma + 1 + at);
    let end = names[begin..].iter().position(|&byte| byte == b' ').map_or(names.len(), |at| begin + at);
    Some(&names[..end])
}

/// Without the virtual host in front of the first element, which no client writes.
fn without_host(list: &[u8], has_host: bool) -> Result<Cow<'_, [u8]>, Unreadable> {
    let first = &list[..list.iter().position(|&byte| byte == b',').unwrap_or(list.len())];
    let mut words = first.split(|&byte| byte == b' ');
    match (words.next(), words.next(), words.next()) {
        (Some(host), Some(_), None) if has_host || is_host(host) => Ok(Cow::Borrowed(&list[host.len() + 1..])),
        (Some(_), None, _) if has_host => Err(TOO_FEW),
        _ => Ok(Cow::Borrowed(list)),
    }
}

fn is_address(word: &[u8]) -> bool {
    str::from_utf8(word).is_ok_and(|word| address::parse(word).is_some())
}

/// Whether a word may name the server.
fn is_server(word: &[u8]) -> bool {
    is_host(word) || is_address(word)
}

/// A host, perhaps with a port.
fn is_host(word: &[u8]) -> bool {
    let Ok(word) = str::from_utf8(word) else { return false };
    match word.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => is_host_name(host),
        _ => is_host_name(word),
    }
}

#[cfg(test)]
mod tests {
    use super::client;

    #[test]
    fn the_client_is_found_whether_or_not_a_virtual_host_stands_in_front() {
        for (names, has_host, expected) in [
            ("192.0.2.1 - -", false, "192.0.2.1"),
            ("192.0.2.1 - frank smith", false, "192.0.2.1"),
            ("192.0.2.1 id \"\"", false, "192.0.2.1"),
            ("192.0.2.1 shop.example -", false, "192.0.2.1"),
            ("host.example.net - -", false, "host.example.net"),
            ("shop.example:443 192.0.2.1 - -", false, "192.0.2.1"),
            ("shop.example 192.0.2.1 - ann", false, "192.0.2.1"),
            ("_ 192.0.2.1 - -", false, "192.0.2.1"),
            ("shop.example:443 host.example.net - -", false, "host.example.net"),
            ("shop.example host.example.net - -", false, "host.example.net"),
            ("203.0.113.80:443 host.example.net - -", false, "host.example.net"),
            ("192.0.2.1, 10.0.0.1 - -", false, "192.0.2.1, 10.0.0.1"),
            ("192.0.2.1,  10.0.0.1 - -", false, "192.0.2.1,  10.0.0.1"),
            ("203.0.113.66 x, 192.0.2.1, 10.0.0.1 - -", false, "203.0.113.66 x, 192.0.2.1, 10.0.0.1"),
            ("shop.example 192.0.2.1, 10.0.0.1 - -", false, "192.0.2.1, 10.0.0.1"),
            ("shop 192.0.2.1, 10.0.0.1 - -", true, "192.0.2.1, 10.0.0.1"),
            ("192.0.2.80:80 198.51.100.7 - -", true, "198.51.100.7"),
            ("shop host - -", true, "host"),
            // These are refused as names of visitors.
            ("shop.example unix: - -", false, "unix:"),
            ("web.example nginx[12]: - -", false, "nginx[12]:"),
            ("web.example  - -", false, ""),
        ] {
            let found = client(names.as_bytes(), has_host);
            assert_eq!(found.unwrap(), expected.as_bytes(), "{names}");
        }
        for (names, has_host) in [
            ("", false),
            ("192.0.2.1", false),
            ("192.0.2.1 -", false),
            ("192.0.2.80 198.51.100.7 - -", false),
            ("192.0.2.80 198.51.100.7 -", false),
            ("Feb 1 14:00:01 web nginx: 192.0.2.1 - -", false),
            ("web-1.example | 192.0.2.1 - -", false),
            ("shop.example - - -", false),
            ("web.example nginx[12]: unix: - -", false),
            ("web1.example.net nginx client.example.org - -", false),
            ("web.example nginx: x", false),
            ("my.app-1  | - - -", false),
            ("shop.example 10.0.0.5 unix: - -", false),
            ("198.51.100.7 | 10.0.0.5 - -", false),
            ("shop.example web1.example.net 192.0.2.1 - -", true),
            ("shop.example 192.0.2.1 -", true),
        ] {
            assert!(client(names.as_bytes(), has_host).is_err(), "{names}");
        }
    }
}
