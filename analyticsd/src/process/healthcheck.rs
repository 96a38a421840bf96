//! `analyticsd healthcheck`: asks the daemon of the same settings whether it is ready. Container images need no other
//! program for it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use thiserror::Error;

use crate::process::own_address;

/// How long each step may take. A daemon whose database does not answer returns 503 after two and a half seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// The most bytes of an answer that are read.
const LONGEST_ANSWER: u64 = 16 * 1024;

/// Why a daemon is not healthy.
#[derive(Debug, Error)]
pub enum Unhealthy {
    /// It does not answer.
    #[error("{address} does not answer: {error}; is analyticsd running, and are these its settings?")]
    Silent {
        /// Who was asked.
        address: SocketAddr,
        /// What came of it.
        error: io::Error,
    },
    /// It is not ready, or another server answers.
    #[error("{address} is not ready: {answer}")]
    NotReady {
        /// Who was asked.
        address: SocketAddr,
        /// The first line of the answer, and its body.
        answer: String,
    },
}

/// Asks the daemon that listens on an address of this machine.
pub fn check(listen: SocketAddr) -> Result<(), Unhealthy> {
    let address = own_address::reaching(listen);
    let answer = ask(address).map_err(|error| Unhealthy::Silent { address, error })?;
    let status = answer.lines().next().unwrap_or_default();
    // A daemon that returns 429 is healthy: another client at this address must not make it count as unhealthy.
    if ["HTTP/1.1 200 ", "HTTP/1.1 429 "].iter().any(|healthy| status.starts_with(healthy)) {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(Unhealthy::NotReady { address, answer: format!("{status} {body}").trim_end().escape_debug().to_string() })
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
