//! HTTP as raw bytes on a socket, for requests that no ordinary client sends.

use std::time::Duration;

use harness::Daemon;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A new connection to the daemon.
pub(crate) async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(daemon.url().strip_prefix("http://").unwrap()).await.unwrap()
}

/// A new connection on which something was sent.
pub(crate) async fn connect_and_send(daemon: &Daemon, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(daemon).await;
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Everything that the daemon sends until it closes the connection, which it must do in time.
pub(crate) async fn read_to_the_end(stream: &mut TcpStream, patience: Duration) -> String {
    let mut answer = Vec::new();
    timeout(patience, stream.read_to_end(&mut answer)).await.expect("the daemon ends the connection").unwrap();
    String::from_utf8(answer).unwrap()
}
