//! A database that may be found at several places.

use std::{net::Ipv4Addr, time::Duration};

use db::{
    Fate, Store, StoreOptions, WriteError,
    embedded::{Embedded, EmbeddedOptions},
};
use harness::{PrivateServer, SlowLink, loopback_address, server_dir};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    given_up_calls::until_commits_wait,
    support::{click, store_all, writer},
};

fn store(hosts: &[String], parameters: &str) -> Store {
    let url = format!("postgres://analytics@{}/analytics?{parameters}", hosts.join(","));
    Store::new(&url, StoreOptions::default()).unwrap()
}

/// A place that takes connections and never says a word, as a server that hangs.
struct SilentHost {
    address: String,
    taken: mpsc::UnboundedReceiver<TcpStream>,
}

impl SilentHost {
    async fn start_at(address: &str) -> Option<Self> {
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().unwrap().to_string();
        let (sender, taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                if sender.send(connection).is_err() {
                    return;
                }
            }
        });
        Some(Self { address, taken })
    }

    /// How many connections came since this was asked the last time.
    fn taken(&mut self) -> usize {
        let mut connections = Vec::new();
        while let Ok(connection) = self.taken.try_recv() {
            connections.push(connection);
        }
        connections.len()
    }
}

async fn server_at(address: Ipv4Addr) -> PrivateServer {
    let settings = vec![format!("listen_addresses={address}")];
    let server = PrivateServer::start_with(server_dir(), None, settings).await.unwrap();
    server.let_in("local all all trust\nhost all all 127.0.0.0/8 trust\n").await;
    server
}

#[tokio::test]
async fn a_host_that_keeps_silent_is_passed_over_and_the_one_that_answered_comes_first_from_then_on() {
    let address = loopback_address();
    let server = server_at(address).await;
    let mut silent = SilentHost::start_at("127.0.0.1:0").await.unwrap();
    let hosts = [silent.address.clone(), format!("{address}:5432")];
    let store = store(&hosts, "connect_timeout=1");
    store.ping().await.unwrap();
    assert_eq!(silent.taken(), 1);
    store.ping().await.unwrap();
    store.with_options(StoreOptions::default()).ping().await.unwrap();
    assert_eq!(silent.taken(), 0, "the one that answered is tried first, by all that share what is known");

    let both_silent = self::store(&[hosts[0].clone(), hosts[0].clone()], "connect_timeout=1");
    let error = both_silent.ping().await.unwrap_err().to_string();
    assert_eq!(error.matches("did not answer within 1s").count(), 2, "{error}");
    drop(server);
}

#[tokio::test]
async fn a_dead_address_of_a_name_is_passed_over_too() {
    let server = PrivateServer::start().await.unwrap();
    let link = SlowLink::start(server.url(), Duration::ZERO).await;
    // A machine without IPv6 has nothing to pass over.
    let mut silent = SilentHost::start_at(&format!("[::1]:{}", link.port())).await;
    let store = store(&[format!("localhost:{}", link.port())], "connect_timeout=1");
    for _ in 0..2 {
        store.ping().await.unwrap();
    }
    if let Some(silent) = &mut silent {
        assert!(silent.taken() <= 1);
    }
}

#[tokio::test]
async fn of_several_servers_the_one_that_takes_writes_is_found() {
    let (first, second) = (loopback_address(), loopback_address());
    let (reads, mut writes) = tokio::join!(server_at(first), server_at(second));
    let read_only = "alter database analytics set default_transaction_read_only = on";
    reads.client().await.batch_execute(read_only).await.unwrap();
    let hosts = [format!("{first}:5432"), format!("{second}:5432")];
    let stores = async |parameters: &str| {
        let proven = writer(&store(&hosts, parameters)).prove().await;
        proven.map_err(|error| error.to_string())
    };
    stores("").await.unwrap();
    stores("target_session_attrs=read-write").await.unwrap();
    let error = stores("target_session_attrs=any").await.unwrap_err();
    assert!(error.contains("the database is read-only"), "{error}");
    writes.stop().await.unwrap();
    let error = stores("").await.unwrap_err();
    assert!(error.contains("a standby, or read-only"), "{error}");
    let error = store(&[hosts[1].clone(), hosts[1].clone()], "").ping().await.unwrap_err().to_string();
    assert_eq!(error.matches(&hosts[1]).count(), 2, "{error}");
}

/// A copy of a server that is stopped, as a standby that does not follow it.
struct Copy {
    server: Embedded,
    address: String,
    _dir: tempfile::TempDir,
}

impl Copy {
    async fn of(old: &PrivateServer) -> Self {
        let (address, dir) = (loopback_address(), server_dir());
        let copied = std::process::Command::new("cp").arg("-a").arg(old.dir().join("native")).arg(dir.path()).status();
        assert!(copied.unwrap().success());
        std::fs::write(dir.path().join("native/data/standby.signal"), "").unwrap();
        let options = EmbeddedOptions {
            settings: vec![format!("listen_addresses={address}")],
            ..harness::embedded_options(dir.path(), db::Flavour::Postgres)
        };
        let server = Embedded::start(&options).await.unwrap();
        Self { server, address: format!("{address}:5432"), _dir: dir }
    }

    /// The promotion of a standby begins a new timeline; so does that of a copy.
    async fn promote(&self) {
        let (client, connection) = tokio_postgres::connect(self.server.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one("select pg_promote()", &[]).await.unwrap();
    }
}

async fn until_it_answers(store: &Store) {
    let answers = async {
        while store.ping().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), answers).await.expect("it takes writes");
}

/// What the old primary commits when nobody asks it any more, the new one does not have.
#[tokio::test]
async fn a_commit_that_the_old_primary_answers_after_another_one_took_over_is_not_taken_for_stored() {
    let old_address = loopback_address();
    let mut old = server_at(old_address).await;
    old.stop().await.unwrap();
    let new = Copy::of(&old).await;
    old.start_again().await.unwrap();
    let store = store(&[format!("{old_address}:5432"), new.address.clone()], "connect_timeout=5");
    let mut events = writer(&store);
    store_all(&mut events, &[click("2015-05-17T10:00:00Z", "anna")]).await;

    let hand = old.client().await;
    hand.batch_execute("set synchronous_commit = local").await.unwrap();
    hand.batch_execute("alter system set synchronous_standby_names = 'nobody'").await.unwrap();
    hand.batch_execute("select pg_reload_conf()").await.unwrap();
    until_commits_wait(&old).await;
    let waits = tokio::spawn(async move {
        let late = click("2015-05-17T10:00:00Z", "ben");
        events.ingest([&late]).await
    });
    let in_wait = "select from pg_stat_activity where wait_event = 'SyncRep'";
    while hand.query_opt(in_wait, &[]).await.unwrap().is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    // Nobody else gets in, so that the next connection is to the new one.
    hand.batch_execute("update pg_database set datallowconn = false where datname = current_database()").await.unwrap();
    let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                  where pid <> pg_backend_pid() and datname = current_database() and state = 'idle'";
    hand.query(others, &[]).await.unwrap();
    new.promote().await;
    until_it_answers(&store).await;

    hand.batch_execute("alter system set synchronous_standby_names = ''").await.unwrap();
    hand.batch_execute("select pg_reload_conf()").await.unwrap();
    let Err(WriteError::Undecided(undecided)) = waits.await.unwrap() else { panic!("its fate is not known") };
    let fate = undecided.find_out(&store, Duration::from_mins(1)).await;
    assert!(matches!(fate, Fate::NotStored { .. }), "{fate:?}");
}

#[tokio::test]
async fn a_primary_that_another_one_has_taken_over_from_is_refused_until_it_is_all_that_is_asked_for() {
    let old_address = loopback_address();
    let mut old = server_at(old_address).await;
    old.stop().await.unwrap();
    let new = Copy::of(&old).await;
    let hosts = [format!("{old_address}:5432"), new.address.clone()];
    let store = store(&hosts, "connect_timeout=5");
    let others = store.with_options(StoreOptions { application_name: "others".to_owned(), ..StoreOptions::default() });
    // As long as it is a standby nothing can be written there, and what is read may be old.
    store.ping().await.unwrap_err();
    let alone = self::store(&hosts[1..], "");
    let error = alone.ping().await.unwrap_err().to_string();
    assert!(error.contains("the server is a standby"), "{error}");
    self::store(&hosts[1..], "target_session_attrs=any").ping().await.expect("a standby will do");
    new.promote().await;
    until_it_answers(&store).await;

    old.start_again().await.unwrap();
    store.ping().await.unwrap();
    new.server.stop().await.unwrap();
    // These never were at the new one.
    for store in [&store, &others] {
        let error = store.ping().await.unwrap_err().to_string();
        assert!(error.contains("another one has taken over from") && error.contains("pg_rewind"), "{error}");
    }
    self::store(&hosts, "").ping().await.expect("a program that starts now knows of no other");
}
