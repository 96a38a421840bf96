//! The ways in which servers and proxies write an IP address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with or without port, brackets and zone, in one form: without these, and IPv4 as IPv4 where it is mapped
/// into IPv6. `None` for anything else.
pub fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return v6(address).filter(|_| is_whole);
    }
    if let Some((address, port)) = text.rsplit_once(':')
        && let Ok(address) = address.parse::<Ipv4Addr>()
    {
        return is_port(port).then_some(address.into());
    }
    v6(text)
}

/// The zone names an interface of one machine (RFC 4007), which means nothing to another.
fn v6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.%".contains(&byte));
    address.parse::<Ipv6Addr>().ok().filter(|_| is_zone).map(|address| IpAddr::V6(address).to_canonical())
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_address_is_the_same_with_port_brackets_and_zone() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:DB8::1]:65535", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(parse(text), Some(address.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "unknown",
            "192.0.2.1:",
            "192.0.2.1:123456",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "fe80::1%",
            "2001:db8::1%\\",
            "192.0.2.1%0",
            "[192.0.2.1]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
