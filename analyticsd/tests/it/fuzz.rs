//! Arbitrary and mutated bytes as requests: never a panic, never a 500, never a stored event without a 204.
//!
//! `tests/corpus` contains the inputs that are always tried first and that mutations begin with; an input that breaks
//! something belongs there. The random inputs are the same in every run; `PROPTEST_CASES` sets their number.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::support::stored_events;

/// A daemon whose log is kept.
struct Logged {
    address: SocketAddr,
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Logged {
    async fn start(database: &TestDatabase) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut process = Daemon::command()
            .args(["--listen", "127.0.0.1:0", "--database-url", database.url()])
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let line = BufReader::new(process.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { address, process, log }
    }

    /// Whether it still serves, and never panicked.
    async fn is_well(&mut self) {
        assert!(self.process.try_wait().unwrap().is_none(), "the daemon ended");
        let address = self.address;
        let health = tokio::task::spawn_blocking(move || exchange(address, b"GET /healthz HTTP/1.0\r\n\r\n"));
        assert!(health.await.unwrap().unwrap().contains(" 200 OK\r\n"));
        let log = fs::read_to_string(self.log.path()).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Sends bytes and reads the whole answer; an error only if the connection was not closed in time.
fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // The daemon may close the connection before the end, and then reset it.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// The status codes of consecutive answers.
fn statuses(answers: &str) -> Vec<u16> {
    let starts = answers.match_indices("HTTP/1.").map(|(at, _)| at);
    starts.filter_map(|at| answers.get(at + 9..at + 12)?.parse().ok()).collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Truncate(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        (at(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), 1_usize..20).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (at(), 1_usize..40).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        at().prop_map(Mutation::Truncate),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let end = |at: usize, length: usize| (at + length).min(bytes.len());
        match mutation {
            Mutation::Flip(at, byte) => *at.get_mut(&mut bytes) = *byte,
            Mutation::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Mutation::Remove(at, length) => {
                let at = at.index(bytes.len());
                bytes.drain(at..end(at, *length));
            }
            Mutation::Repeat(at, length) => {
                let at = at.index(bytes.len());
                let again = bytes[at..end(at, *length)].to_vec();
                bytes.splice(at..at, again);
            }
            Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

/// Bytes of any kind, valid requests with arbitrary parts, and requests of the corpus with some bytes changed.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |length| vec(any::<u8>(), 0..length);
    let with_target =
        bytes(100).prop_map(|target| [b"POST /", &target[..], b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat());
    let with_query = "[ -~]{0,60}"
        .prop_map(|query| format!("POST /analytics?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes());
    let with_header = (bytes(20), bytes(100)).prop_map(|(name, value)| {
        let event = &b"POST /analytics?timestamp=1&user=a&event=click HTTP/1.1\r\nHost: localhost\r\n"[..];
        [event, &name, b": ", &value, b"\r\n\r\n"].concat()
    });
    let with_body =
        prop_oneof![bytes(200), "[{}\\[\\]\",:0-9a-z\\\\\n]{0,200}".prop_map(String::into_bytes)].prop_map(|body| {
            let head =
                format!("POST /analytics/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.into_bytes(), body].concat()
        });
    // Larger inputs would only make the test slow.
    let seeds: Vec<_> = corpus().into_iter().filter(|seed| seed.len() < 2_000).collect();
    let mutated = (prop::sample::select(seeds), vec(mutation(), 1..6)).prop_map(|(seed, how)| mutate(seed, &how));
    prop_oneof![1 => bytes(300), 1 => with_target, 1 => with_query, 1 => with_header, 1 => with_body, 5 => mutated]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_make_the_daemon_panic_fail_or_store_what_it_does_not_acknowledge() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let mut daemon = Logged::start(&database).await;
    let address = daemon.address;
    let client = database.client().await;
    let runtime = tokio::runtime::Handle::current();
    let stored = move || {
        let count = "select count(*) from analytics.events";
        runtime.block_on(client.query_one(count, &[])).unwrap().get::<_, i64>(0)
    };
    let check = move |request: &[u8]| {
        let before = stored();
        let answers = exchange(address, request).expect("every connection is ended in time");
        let statuses = statuses(&answers);
        assert!(statuses.iter().all(|&status| status < 500), "{answers}");
        let new = stored() - before;
        // A good event is one row, and the longest good batch of a short input has a row for each 40 bytes.
        let acknowledged = statuses.iter().filter(|&&status| status == 204).count();
        assert!(acknowledged > 0 || new == 0, "{new} rows were stored without a 204: {answers}");
        assert!(new <= i64::try_from(request.len() / 40).unwrap(), "{new} rows were stored: {answers}");
        // With a single event the number is exact. A client that pipelines may miss an answer when the connection is
        // reset.
        if !request.windows(6).any(|part| part == b"/batch") {
            assert_eq!(new, i64::try_from(acknowledged).unwrap(), "{answers}");
        }
    };
    tokio::task::spawn_blocking(move || {
        for request in corpus() {
            eprintln!("{}", request[..request.len().min(200)].escape_ascii());
            check(&request);
        }
        let cases = env::var("PROPTEST_CASES").map_or(400, |cases| cases.parse().unwrap());
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let tried = runner.run(&request().prop_map(Shown), |request| {
            check(&request.0);
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{error}"));
    })
    .await
    .unwrap();
    daemon.is_well().await;
    assert!(stored_events(&database).await > 0, "the corpus holds good requests too");
}

/// A request, printed as a byte string of Rust.
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
