use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use model::access::Origin;
use thiserror::Error;

use super::{ForwardedHeader, Rate};

/// The settings of access.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessConfig {
    /// Whether requests without a token are accepted.
    pub(crate) allow_anonymous: bool,
    /// How long tokens stay valid after they were last read.
    pub(crate) tokens_valid_for: Duration,
    /// The origins whose pages may read answers, besides those of public keys.
    pub(crate) cors_origins: Vec<Origin>,
    /// The rate limit of each token.
    pub(crate) rate_per_token: Option<Rate>,
    /// The rate limit of each client address.
    pub(crate) rate_per_address: Option<Rate>,
    /// The rate limit of each site.
    pub(crate) rate_per_site: Option<Rate>,
    /// How many sites there may be for an event of a token to make another; 0: it makes none.
    pub(crate) new_sites: u32,
    /// Whether the tokens of share links are accepted.
    pub(crate) share_links: bool,
    /// Proxies that are trusted to name the client.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The header in which they name it.
    pub(crate) forwarded_header: ForwardedHeader,
}

/// The daemon would serve every client without a token, and no setting allows that.
#[derive(Debug, Error)]
#[error(
    "{listens} can be reached from other machines, and there is no token yet, so anyone could read and write. Listen \
     on 127.0.0.1 first and make a token with `analytics-cli token create NAME --scope write,read`, or accept requests \
     without a token with --allow-anonymous"
)]
pub(crate) struct OpenWithoutTokens {
    listens: Listens,
}

/// The settings of listeners, with their addresses.
#[derive(Debug)]
struct Listens(Vec<(&'static str, SocketAddr)>);

impl OpenWithoutTokens {
    /// Checks the settings of all listeners, once the daemon knows whether a token ever existed.
    pub(crate) fn check(
        config: &AccessConfig,
        listens: impl IntoIterator<Item = (&'static str, SocketAddr)>,
        ever_had_tokens: bool,
    ) -> Result<(), Self> {
        if config.allow_anonymous || ever_had_tokens {
            return Ok(());
        }
        let open: Vec<_> = listens.into_iter().filter(|(_, listen)| !is_loopback(listen.ip())).collect();
        if open.is_empty() { Ok(()) } else { Err(Self { listens: Listens(open) }) }
    }
}

impl fmt::Display for Listens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (setting, listen)) in self.0.iter().enumerate() {
            let and = if place == 0 { "" } else { " and " };
            write!(f, "{and}{listen} (--{setting})")?;
        }
        Ok(())
    }
}

/// Whether only this machine can reach an address. The unspecified address is not one of these.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::{AccessConfig, OpenWithoutTokens};

    #[test]
    fn without_a_token_only_this_machine_is_served_unless_allow_anonymous_is_set() {
        let check = |allow_anonymous, listen: &str, ever_had_tokens| {
            let config = AccessConfig { allow_anonymous, ..AccessConfig::default() };
            OpenWithoutTokens::check(&config, [("listen", listen.parse().unwrap())], ever_had_tokens).is_ok()
        };
        for (listen, is_loopback) in [
            ("127.0.0.1:80", true),
            ("127.8.9.10:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("[::ffff:0.0.0.0]:80", false),
            ("192.0.2.1:80", false),
            ("[2001:db8::1]:80", false),
            ("128.0.0.1:80", false),
        ] {
            assert_eq!(check(false, listen, false), is_loopback, "{listen}");
            assert!(check(false, listen, true) && check(true, listen, false), "{listen}");
        }
    }

    #[test]
    fn the_error_names_every_address_that_others_can_reach() {
        for (listen, admin_listen, expected) in [
            ("0.0.0.0:80", "[::]:90", "0.0.0.0:80 (--listen) and [::]:90 (--admin-listen) can be reached"),
            ("127.0.0.1:80", "[::]:90", "[::]:90 (--admin-listen) can be reached"),
        ] {
            let listens = [("listen", listen), ("admin-listen", admin_listen)];
            let listens = listens.map(|(setting, listen)| (setting, listen.parse().unwrap()));
            let error = OpenWithoutTokens::check(&AccessConfig::default(), listens, false).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
