//! A daemon with a low limit of open files.

use std::{path::Path, time::Duration};

use db::Flavour;
use harness::{Daemon, TestDatabase, program};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::raw::connect;

/// A daemon with this limit of open files.
async fn start(database: &TestDatabase, files: u32) -> Daemon {
    let mut command = harness::bare_command(Path::new("sh"));
    command.arg("-c").arg(format!("ulimit -n {files}; exec \"$@\"")).arg("sh").arg(program("analyticsd"));
    command.args(["--database-url", database.url(), "--admin-listen", "127.0.0.1:0"]);
    Daemon::start_command(command).await
}

/// The status of the answer to a request on this connection.
async fn healthz(stream: &mut TcpStream) -> String {
    let mut status = [0; 12];
    let asked = async {
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        // A connection that is closed without an answer was not served either.
        let _ = stream.read_exact(&mut status).await;
    };
    timeout(Duration::from_mins(1), asked).await.expect("there is an answer");
    String::from_utf8_lossy(&status[9..]).into_owned()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn most_file_descriptors_go_to_connections_that_are_served() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    for (files, connections) in [(4_352, 3_584.0), (1_024, 672.0)] {
        let daemon = start(&database, files).await;
        let limit = daemon.metric("analyticsd_connections_limit{listener=\"public\"}").await;
        assert_eq!(limit, Some(connections), "{files}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn more_clients_than_files_are_refused_and_those_within_are_served() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = start(&database, 256).await;
    let mut inside = Vec::new();
    for _ in 0..140 {
        let mut stream = connect(&daemon).await;
        assert_eq!(healthz(&mut stream).await, "200");
        inside.push(stream);
    }
    let mut outside = Vec::new();
    for _ in 0..100 {
        outside.push(connect(&daemon).await);
    }
    for stream in &mut outside {
        assert_ne!(healthz(stream).await, "200");
    }
    let failed = daemon.metric("analyticsd_connections_failed_total{listener=\"public\"}").await;
    assert_eq!(failed, Some(0.0), "the system accepted every connection");
    drop(inside);
    // The daemon resets a connection that it has no room for, so each try has one of its own.
    let served = async { while healthz(&mut connect(&daemon).await).await != "200" {} };
    timeout(Duration::from_mins(1), served).await.expect("there is room again");
}
