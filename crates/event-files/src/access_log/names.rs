//! The names at the beginning of a line of the common and the combined format: `[HOST] CLIENT IDENT USER`.

use model::address;

use super::visitor::is_host_name;
use crate::record::Unreadable;

const UNCLEAR: Unreadable = Unreadable::UnclearClient("something else stands before or behind it");
/// As lighttpd writes a request whose Host is an address, `CLIENT HOST USER`; and as others write `HOST CLIENT USER`.
const TWO_ADDRESSES: Unreadable = Unreadable::UnclearClient(
    "two addresses stand beside each other, and either may be the server's, as in lighttpd's own format ('%h %V %u %t …')",
);
const TOO_FEW: Unreadable = Unreadable::LogLine("there are no client, identity and user before the [time]");

/// The client among the names, or a list that stands in its place.
///
/// Unless `has_host` says that a virtual host stands in front, one is recognized by the words behind it: the identity
/// is `-` in practice, and a user's name may have spaces. Where it is not certain which word is the client, the line is
/// refused: it must not count for the server, for what a collector of logs put in front, or for what a client wrote
/// into the name of its user.
pub(super) fn client(names: &[u8], has_host: bool) -> Result<&[u8], Unreadable> {
    if names.contains(&b',') {
        return list(names, has_host);
    }
    let words: Vec<&[u8]> = names.split(|&byte| byte == b' ').collect();
    let (Some(&first), Some(&second), Some(&third)) = (words.first(), words.get(1), words.get(2)) else {
        return Err(TOO_FEW);
    };
    if words[2..].iter().any(|word| is_address(word)) {
        return Err(UNCLEAR);
    }
    let has_more = words.len() > 3;
    let client = match (second, third) {
        _ if has_host => has_more.then_some(second),
        // `CLIENT - USER`. Behind an unknown user stands nothing more, and a user that looks like a client may be one.
        (b"-", b"-") => (!has_more).then_some(first),
        (b"-", user) => (is_address(first) || is_plain(user)).then_some(first),
        _ if is_address(first) && is_address(second) && !(has_more && is_server_with_port(first)) => {
            return Err(TWO_ADDRESSES);
        }
        // `HOST CLIENT - USER`. Without its port, a host or an address in front may be the client itself.
        (_, b"-") if has_more => {
            let is_second = is_server_with_port(first) || is_address(second) && !is_address(first);
            is_second.then_some(second)
        }
        // `CLIENT IDENT USER`, and lighttpd's `CLIENT HOST USER`.
        _ if !has_more && !is_address(second) => is_address(first).then_some(first),
        _ => None,
    };
    client.ok_or(UNCLEAR)
}

/// A list with an identity and a user behind it. No element has a space: a client writes what it likes into the name of
/// its user, and into its own elements.
fn list(names: &[u8], has_host: bool) -> Result<&[u8], Unreadable> {
    let comma = names.iter().rposition(|&byte| byte == b',').unwrap_or_default();
    let begin = names[comma + 1..].iter().position(|&byte| byte != b' ').map_or(names.len(), |at| comma + 1 + at);
    let end = names[begin..].iter().position(|&byte| byte == b' ').map_or(names.len(), |at| begin + at);
    let (list, behind) = names.split_at(end);
    if behind.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).count() < 2 {
        return Err(UNCLEAR);
    }
    let list = without_host(list, has_host);
    let has_space = |element: &[u8]| element.trim_ascii().contains(&b' ');
    if list.split(|&byte| byte == b',').any(has_space) { Err(UNCLEAR) } else { Ok(list) }
}

/// Without the virtual host in front of the first element.
fn without_host(list: &[u8], has_host: bool) -> &[u8] {
    let first = list.split(|&byte| byte == b',').next().unwrap_or_default();
    match first.iter().position(|&byte| byte == b' ') {
        Some(end) if has_host || is_host(&first[..end]) || is_server_with_port(&first[..end]) => &list[end + 1..],
        _ => list,
    }
}

fn is_address(word: &[u8]) -> bool {
    str::from_utf8(word).is_ok_and(|word| address::parse(word).is_some())
}

fn is_host(word: &[u8]) -> bool {
    str::from_utf8(word).is_ok_and(is_host_name)
}

/// Whether a word is neither a host nor an address.
fn is_plain(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-@".contains(byte))
}

/// A host with a port, or an address with a port below 1024, from which no client of the web connects.
fn is_server_with_port(word: &[u8]) -> bool {
    let Ok(word) = str::from_utf8(word) else { return false };
    let Some((host, port)) = word.rsplit_once(':') else { return false };
    let is_port = |most: u16| port.parse::<u16>().is_ok_and(|port| (1..=most).contains(&port));
    is_host_name(host) && is_port(u16::MAX) || (address::parse(host).is_some() && is_port(1023))
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
            ("host.example.net - ann", false, "host.example.net"),
            ("shop.example:443 192.0.2.1 - -", false, "192.0.2.1"),
            ("shop.example 192.0.2.1 - ann", false, "192.0.2.1"),
            ("127.0.1.1:80 192.0.2.1 - -", false, "192.0.2.1"),
            ("_ 192.0.2.1 - -", false, "192.0.2.1"),
            ("shop.example:443 host.example.net - -", false, "host.example.net"),
            ("203.0.113.80:443 host.example.net - -", false, "host.example.net"),
            ("192.0.2.1, 10.0.0.1 - -", false, "192.0.2.1, 10.0.0.1"),
            ("192.0.2.1,  10.0.0.1 - -", false, "192.0.2.1,  10.0.0.1"),
            ("shop.example 192.0.2.1, 10.0.0.1 - -", false, "192.0.2.1, 10.0.0.1"),
            ("shop 192.0.2.1, 10.0.0.1 - -", true, "192.0.2.1, 10.0.0.1"),
            ("192.0.2.80:80 198.51.100.7 - -", true, "198.51.100.7"),
            ("shop host - -", true, "host"),
            // This is refused as the name of a visitor.
            ("shop.example:80 unix: - -", false, "unix:"),
        ] {
            let found = client(names.as_bytes(), has_host);
            assert_eq!(found.unwrap(), expected.as_bytes(), "{names}");
        }
        for names in ["192.0.2.1 203.0.113.80 -", "192.0.2.1 203.0.113.80 ann", "192.0.2.80 198.51.100.7 - -"] {
            let told = client(names.as_bytes(), false).unwrap_err().to_string();
            assert!(told.contains("lighttpd's own format"), "{names}: {told}");
        }
        for (names, has_host) in [
            ("", false),
            ("192.0.2.1", false),
            ("192.0.2.1 -", false),
            ("192.0.2.80 198.51.100.7 - -", false),
            ("192.0.2.80 198.51.100.7 -", false),
            ("198.51.100.7:50718 10.0.0.9 - -", false),
            ("198.51.100.7 shop.example - -", false),
            ("c1.example.net shop.example - -", false),
            ("shop.example - unix:", false),
            ("shop.example - c1.example.net", false),
            ("shop.example unix: - -", false),
            ("web.example nginx[12]: - -", false),
            ("web.example  - -", false),
            ("Feb 1 14:00:01 web nginx: 192.0.2.1 - -", false),
            ("web-1.example | 192.0.2.1 - -", false),
            ("shop.example - - -", false),
            ("web.example nginx[12]: unix: - -", false),
            ("web1.example.net nginx client.example.org - -", false),
            ("web.example nginx: x", false),
            ("my.app-1  | - - -", false),
            ("shop.example 10.0.0.5 unix: - -", false),
            ("198.51.100.7 | 10.0.0.5 - -", false),
            ("192.0.2.1 - x, 203.0.113.66", false),
            ("192.0.2.1 - x, 203.0.113.66 - -", false),
            ("shop.example 192.0.2.1 - x, 203.0.113.66 - -", false),
            ("203.0.113.66 x, 192.0.2.1, 10.0.0.1 - -", false),
            ("192.0.2.1 - CN=Ann,O=Shop", false),
            ("shop.example web1.example.net 192.0.2.1 - -", true),
            ("shop.example 192.0.2.1 -", true),
        ] {
            assert!(client(names.as_bytes(), has_host).is_err(), "{names}");
        }
    }
}
