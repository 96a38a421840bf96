//! The addresses that the daemon listens on. It takes them before all else: one that could not serve starts no database
//! and migrates none.

use std::{io, net::SocketAddr};

use anyhow::anyhow;
use tokio::net::{TcpListener, TcpSocket};

use crate::{config::Config, http};

/// Nobody can connect to them yet.
pub(super) struct Addresses {
    pub(super) public: Taken,
    pub(super) admin: Option<Taken>,
}

/// An address that no other process listened on when it was taken. One that starts at the same time is found by
/// [`Taken::listen`].
pub(super) struct Taken {
    flag: &'static str,
    address: SocketAddr,
    socket: TcpSocket,
}

impl Addresses {
    pub(super) fn take(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            public: Taken::new("--listen", config.listen)?,
            admin: config.admin_listen.map(|address| Taken::new("--admin-listen", address)).transpose()?,
        })
    }
}

impl Taken {
    fn new(flag: &'static str, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = http::bind(address).map_err(|error| explained(flag, address, &error))?;
        Ok(Self { flag, address, socket })
    }

    pub(super) fn listen(self) -> anyhow::Result<TcpListener> {
        let Self { flag, address, socket } = self;
        http::listen(socket).map_err(|error| explained(flag, address, &error))
    }
}

fn explained(flag: &str, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        let port = address.port();
        return anyhow!(
            "cannot listen on {address}: another process listens there. `ss -ltnp 'sport = :{port}'` names it: stop it, or give another address with {flag}"
        );
    }
    anyhow!("cannot listen on {address}: {error}; give another address with {flag}")
}
