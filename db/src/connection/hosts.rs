//! What is known of the hosts of a database: their addresses, which of them answered last, and which server took over.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::seq::SliceRandom;
use thiserror::Error;
use tokio::{net::lookup_host, time::timeout};
use tokio_postgres::config::Host;

use super::{database_url::Server, lineage::Lineage};

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// The hosts of one database, for everybody in this process who connects to it.
pub(super) struct Hosts {
    servers: Vec<Server>,
    is_balanced: bool,
    pub(super) lineage: Lineage,
    /// Is tried first.
    last_good: Mutex<Option<Target>>,
}

/// One address of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) server: Server,
    pub(super) address: Option<IpAddr>,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.server.name();
        match self.address {
            Some(address) if !matches!(&self.server.host, Host::Tcp(host) if host.parse() == Ok(address)) => {
                write!(formatter, "{name} ({address})")
            }
            _ => formatter.write_str(&name),
        }
    }
}

/// Why a name leads to no address.
#[derive(Debug, Error)]
pub(super) enum NotFound {
    #[error("the name was not looked up within {0:?}")]
    Silent(Duration),
    #[error("the name cannot be looked up: {0}")]
    Unknown(#[source] std::io::Error),
}

impl Hosts {
    pub(super) fn new(servers: Vec<Server>, is_balanced: bool) -> Self {
        Self { servers, is_balanced, lineage: Lineage::default(), last_good: Mutex::default() }
    }

    pub(super) fn is_one(&self) -> bool {
        self.servers.len() == 1
    }

    /// Is tried first from now on.
    pub(super) fn remember(&self, target: Target) {
        *self.last_good.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// All addresses, in the order in which they are to be tried, and the names that were not found. `limit` is for the looking up of all names.
    pub(super) async fn in_order(&self, limit: Duration) -> (Vec<Target>, Vec<(String, NotFound)>) {
        let (mut targets, mut not_found) = (Vec::new(), Vec::new());
        for (server, addresses) in self.servers.iter().zip(self.look_up(limit).await) {
            match addresses {
                Ok(addresses) => {
                    targets.extend(addresses.into_iter().map(|address| Target { server: server.clone(), address }));
                }
                Err(error) => not_found.push((server.name(), error)),
            }
        }
        if self.is_balanced {
            targets.shuffle(&mut rand::rng());
        } else if let Some(last) = &*self.last_good.lock().unwrap_or_else(PoisonError::into_inner) {
            // A stable sort: the others stay in their order.
            targets.sort_by_key(|target| target != last);
        }
        (targets, not_found)
    }

    /// The addresses of every server, looked up at the same time.
    async fn look_up(&self, limit: Duration) -> Vec<Result<Vec<Option<IpAddr>>, NotFound>> {
        let lookups = self.servers.iter().cloned().map(|server| tokio::spawn(addresses(server, limit)));
        let lookups: Vec<_> = lookups.collect();
        let mut found = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            found.push(lookup.await.expect("nobody aborts it, and it does not panic"));
        }
        found
    }
}

/// None for a server that has no address, as a socket.
async fn addresses(server: Server, limit: Duration) -> Result<Vec<Option<IpAddr>>, NotFound> {
    let name = match (&server.host, server.address) {
        (Host::Unix(_), _) => return Ok(vec![None]),
        (_, Some(address)) => return Ok(vec![Some(address)]),
        (Host::Tcp(name), None) => name,
    };
    let found = timeout(limit, lookup_host((name.as_str(), server.port))).await;
    let found = found.map_err(|_| NotFound::Silent(limit))?.map_err(NotFound::Unknown)?;
    let mut addresses: Vec<_> = found.map(|address: SocketAddr| Some(address.ip())).collect();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}
