//! Who made a request: one name for each address or host, whatever stands around it.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{UserName, address};

use super::request::Request;
use crate::record::Unreadable;

/// The visitor of a request: who had the connection or, if that is a trusted proxy, whom the proxies name. Where the
/// log has something of proxies and it is not known which are trusted, nobody is counted, nor is a proxy.
pub(super) fn visitor(request: &Request<'_>, trusted: &[IpNet]) -> Result<Visitor, Unreadable> {
    let client = text(&request.client)?;
    let proxies_wrote = String::from_utf8_lossy(&request.forwarded);
    let proxies_wrote = Some(proxies_wrote.trim()).filter(|it| !it.is_empty() && *it != "-");
    // A server that trusts its proxies may log their list in the place of the client, or nothing else.
    let list = if client.contains(',') { Some(client) } else { proxies_wrote.filter(|_| client.is_empty()) };
    if trusted.is_empty() && (list.is_some() || proxies_wrote.is_some() || request.has_unknown_addresses) {
        return Err(Unreadable::Forwarded);
    }
    if let Some(list) = list {
        return last_not_trusted(list, trusted);
    }
    match (Visitor::parse(client)?, proxies_wrote) {
        (Visitor::Address(peer), wrote) if is_trusted(peer, trusted) => {
            last_not_trusted(wrote.ok_or(Unreadable::OfProxy)?, trusted)
        }
        (Visitor::Host(_), wrote) if wrote.is_some() || request.has_unknown_addresses => {
            Err(Unreadable::UnclearClient(
                "it is a host name, and proxies name an address: whether it is one of them is not known",
            ))
        }
        (visitor, _) => Ok(visitor),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Visitor {
    Address(IpAddr),
    /// In lower case.
    Host(String),
}

impl Visitor {
    /// An address in any spelling, or the name of a host.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        if let Some(address) = address::parse(text) {
            Ok(Self::Address(address))
        } else if is_host_name(text) {
            Ok(Self::Host(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()))
        } else {
            Err(Unreadable::NoVisitor(shown(text)))
        }
    }

    pub(super) fn address(&self) -> Result<IpAddr, Unreadable> {
        match self {
            Self::Address(address) => Ok(*address),
            Self::Host(name) => Err(Unreadable::NoAddress(shown(name))),
        }
    }

    pub(super) fn name(&self) -> Result<UserName, Unreadable> {
        Ok(UserName::new(match self {
            Self::Address(address) => address.to_string(),
            Self::Host(name) => name.clone(),
        })?)
    }
}

/// The last address of a list that is not a trusted proxy, or the first if all are. The client may have written all
/// before it.
fn last_not_trusted(list: &str, trusted: &[IpNet]) -> Result<Visitor, Unreadable> {
    let mut first = None;
    for part in list.rsplit(',') {
        let part = part.trim();
        let address = address::parse(part).ok_or_else(|| Unreadable::NoVisitor(shown(part)))?;
        if !is_trusted(address, trusted) {
            return Ok(Visitor::Address(address));
        }
        first = Some(address);
    }
    first.map(Visitor::Address).ok_or_else(|| Unreadable::NoVisitor(String::new()))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// A name of the domain name system that cannot be taken for something else: of several parts, or this machine's.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(may_stand)
    };
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    // The last part of a name is no number, unlike that of an address that is written wrongly.
    let last_is_name =
        labels.clone().next_back().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    text.eq_ignore_ascii_case("localhost")
        || text.len() <= 253 && labels.clone().count() > 1 && last_is_name && labels.clone().all(is_label)
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    str::from_utf8(bytes).map(str::trim).map_err(|_| Unreadable::NotText("the client address"))
}

/// The beginning of a text, for messages.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use model::Timestamp;

    use super::{Visitor, visitor};
    use crate::access_log::request::Request;

    fn of(client: &'static str, forwarded: &'static str, trusted: &[&str]) -> String {
        let none = || Cow::Borrowed(&b""[..]);
        let request = Request {
            client: client.as_bytes().into(),
            forwarded: forwarded.as_bytes().into(),
            at: Timestamp::MIN,
            method: none(),
            target: none(),
            status: 200,
            referer: none(),
            agent: None,
            has_unknown_addresses: false,
        };
        let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        match visitor(&request, &trusted).and_then(|visitor| visitor.name()) {
            Ok(name) => name.as_str().to_owned(),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn one_address_has_one_name_however_it_is_written() {
        for (written, name) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:50718", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[2001:db8::1]:50718", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("fe80::1%enp0s8", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("Host-1.Example.net", "host-1.example.net"),
            ("localhost", "localhost"),
            ("host-1.example.net.", "host-1.example.net"),
        ] {
            assert_eq!(of(written, "", &[]), name, "{written}");
        }
    }

    #[test]
    fn what_is_no_address_and_no_host_is_no_visitor() {
        for written in [
            "",
            "-",
            "unix:",
            "Feb",
            "web-1",
            "192.0.2.1.",
            "192.0.2",
            "192.0.2.256",
            "shop.example:443",
            "a..b",
            "1:2",
            "2001:db8::1:50718:x",
            "<134>",
            "nginx[12]:",
            "a b.c",
            "a/b.c",
        ] {
            assert!(of(written, "", &[]).starts_with("refused"), "{written:?} was {}", of(written, "", &[]));
        }
    }

    #[test]
    fn the_visitor_of_a_list_is_the_last_that_is_no_trusted_proxy() {
        let ten = &["10.0.0.0/8", "2001:db8:1::/48"][..];
        for (client, forwarded, trusted, name) in [
            ("192.0.2.1, 10.0.0.1", "", ten, "192.0.2.1"),
            ("192.0.2.1,10.0.0.1,10.0.0.2", "", ten, "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1, 10.0.0.1", "", ten, "192.0.2.1"),
            ("192.0.2.1, 2001:db8:1::7", "", ten, "192.0.2.1"),
            ("10.0.0.3, 10.0.0.1", "", ten, "10.0.0.3"),
            ("192.0.2.1, 198.51.100.7", "", ten, "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, 192.0.2.1", ten, "192.0.2.1"),
            ("192.0.2.9", "192.0.2.1", ten, "192.0.2.9"),
            ("10.0.0.1", "-", &[], "10.0.0.1"),
            ("", "192.0.2.1, 10.0.0.1", ten, "192.0.2.1"),
            ("203.0.113.66 x, 192.0.2.1, 10.0.0.1", "", ten, "192.0.2.1"),
            ("192.0.2.9", "\u{fffd}", ten, "192.0.2.9"),
        ] {
            assert_eq!(of(client, forwarded, trusted), name, "{client} {forwarded}");
        }
        assert!(of("192.0.2.1, 10.0.0.1", "", &[]).contains("--trusted-proxies"));
        assert!(of("10.0.0.1", "192.0.2.1", &[]).contains("--trusted-proxies"));
        assert!(of("203.0.113.66 x, 10.0.0.1", "", ten).starts_with("refused"));
        assert!(of("10.0.0.1", "-", ten).contains("from a trusted proxy"));
        assert!(of("", "192.0.2.1", &[]).contains("--trusted-proxies"));
        assert!(of("proxy.example.net", "192.0.2.1", ten).contains("it is a host name"));
        assert!(of("192.0.2.1, unknown", "", ten).starts_with("refused"));
        assert!(of("10.0.0.1", "192.0.2.1, _hidden", ten).starts_with("refused"));
    }

    #[test]
    fn an_address_without_a_name_is_itself() {
        assert_eq!(Visitor::parse("192.0.2.1").unwrap(), Visitor::Address("192.0.2.1".parse().unwrap()));
    }
}
