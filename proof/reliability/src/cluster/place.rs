use std::{
    ffi::OsStr,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::Context;
use tokio::process::Command;

use super::Owner;

/// An address that a server listens on, and how programs are run there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    address: SocketAddr,
    /// A program, with its arguments, that runs another one there; empty: it runs here.
    inside: Vec<String>,
}

impl Place {
    /// A free port of 127.0.0.1.
    pub(crate) fn on_loopback() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        Ok(Self { address: listener.local_addr()?, inside: Vec::new() })
    }

    /// The same port of another address of this machine.
    pub(crate) fn with_ip(&self, ip: [u8; 4]) -> Self {
        Self { address: (ip, self.address.port()).into(), inside: self.inside.clone() }
    }

    /// An address that programs reach when this program, with its arguments, runs them.
    pub(super) fn inside(address: SocketAddr, inside: Vec<String>) -> Self {
        Self { address, inside }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The program, which ends with this process. Without an owner it runs as this process does.
    pub(super) fn command(&self, program: impl AsRef<OsStr>, owner: Option<Owner>) -> Command {
        let own = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned);
        let owner = owner.into_iter().flat_map(Owner::arguments);
        let mut words = self.inside.iter().cloned().chain(own).chain(owner);
        let mut command = Command::new(words.next().expect("there is one at least"));
        command.args(words).arg(program).kill_on_drop(true);
        command
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
