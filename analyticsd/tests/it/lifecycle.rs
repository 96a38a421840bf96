use std::{fs, io, pin::pin, process::Output, sync::Arc, time::Duration};

use chrono::Utc;
use db::{Flavour, Store, StoreOptions, embedded::Embedded, schema};
use harness::{Daemon, TestDatabase, embedded_options, server_dir};
use reqwest::StatusCode;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    raw::{connect_and_send, read_to_the_end},
    support::{INGEST, counts, stored_events, until_waiting},
};

async fn run(arguments: &[&str]) -> Output {
    let run = Daemon::command().args(arguments).output();
    timeout(Duration::from_mins(2), run).await.expect("it ends by itself").unwrap()
}

#[tokio::test]
async fn without_a_database_the_error_names_the_settings() {
    let output = run(&[]).await;
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("--database-url") && message.contains("--embedded"), "{message}");
}

#[tokio::test]
async fn it_refuses_a_database_without_schema_and_names_the_command_to_run() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let output = run(&["--listen", "127.0.0.1:0", "--database-url", database.url()]).await;
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("analytics-cli migrate up") && message.contains("--migrate"), "{message}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "it never listened");
}

#[tokio::test]
async fn a_port_in_use_is_told_before_any_database_is_started_or_migrated() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, free) = (other.local_addr().unwrap().to_string(), "127.0.0.1:0");
    let folder = server_dir();
    let embedded = format!("--embedded={}", folder.path().join("trial").display());
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let url = database.url();
    for (arguments, flag) in [
        (&["--listen", &address, &embedded][..], "--listen"),
        (&["--listen", &address, "--migrate", "--database-url", url], "--listen"),
        (&["--listen", free, "--admin-listen", &address, "--migrate", "--database-url", url], "--admin-listen"),
    ] {
        let output = run(arguments).await;
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        let told = [
            format!("cannot listen on {address}: another process listens there"),
            format!("sport = :{}", other.local_addr().unwrap().port()),
            format!("give another address with {flag}"),
        ];
        assert!(told.iter().all(|part| message.contains(part)), "{message}");
    }
    assert!(!folder.path().join("trial").exists(), "no database was started");
    let schemas = "select count(*) from pg_namespace where nspname = 'analytics'";
    let schemas: i64 = database.client().await.query_one(schemas, &[]).await.unwrap().get(0);
    assert_eq!(schemas, 0, "no database was migrated");
}

#[tokio::test]
async fn it_says_which_database_it_waits_for_and_not_its_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://ann:hunter2@127.0.0.1:{port}/counter");
    let mut command = Daemon::command();
    command.args(["--listen", "127.0.0.1:0", "--database-url", &url]).stderr(std::process::Stdio::piped());
    let mut process = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let told = format!("waiting for the database counter at 127.0.0.1:{port}");
    timeout(Duration::from_mins(1), async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on waiting");
            assert!(!line.contains("hunter2"), "{line}");
            if line.contains(&told) {
                break;
            }
        }
    })
    .await
    .expect("it says so");
    process.kill().await.unwrap();
}

#[tokio::test]
async fn it_starts_on_a_compatible_newer_schema_and_refuses_an_incompatible_one() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let newer = "insert into analytics.schema_history (version, name, applied_on, checksum) \
                 select 9999, 'from_the_future', applied_on, checksum from analytics.schema_history where version = 1; \
                 update analytics.schema_functions set version = 9999, checksum = 'from the future'";
    database.client().await.batch_execute(newer).await.unwrap();
    let daemon = Daemon::start_with(["--migrate", "--database-url", database.url()]).await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    assert!(daemon.terminate().await.success());

    let contract = "update analytics.settings set oldest_compatible = 9999";
    database.client().await.batch_execute(contract).await.unwrap();
    let output = run(&["--listen", "127.0.0.1:0", "--migrate", "--database-url", database.url()]).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn with_migrate_it_makes_the_schema_and_is_ready() {
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--migrate", "--database-url", database.url()]).await;
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);

    database
        .client()
        .await
        .batch_execute("update analytics.schema_history set checksum = '1' where version = 1")
        .await
        .unwrap();
    // The last result is valid for half a second.
    let not_ready = loop {
        match daemon.get("/readyz").await {
            ready if ready.status() == StatusCode::OK => {}
            not_ready => break not_ready,
        }
    };
    assert_eq!(not_ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(not_ready.text().await.unwrap().contains("migrate verify"));
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK, "the process is alive all the same");
}

#[tokio::test]
async fn asked_to_stop_under_load_it_answers_what_it_accepted_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let database = TestDatabase::new(Flavour::Postgres).await;
        let daemon = Daemon::start(database.url()).await;
        let url = Arc::new(format!(
            "{}/analytics?timestamp={}&user=a&event=click",
            daemon.url(),
            Utc::now().timestamp_millis()
        ));

        let mut clients = JoinSet::new();
        for _ in 0..16 {
            let url = url.clone();
            clients.spawn(async move {
                let http = reqwest::Client::new();
                let mut acknowledged = 0_i64;
                loop {
                    match http.post(url.as_str()).send().await {
                        Ok(answer) if answer.status() == StatusCode::NO_CONTENT => acknowledged += 1,
                        Ok(answer) => panic!("an accepted request was answered {}", answer.status()),
                        // A connection that was never made was not accepted; one that breaks without an answer was.
                        Err(error) if error.is_connect() => return acknowledged,
                        Err(_) => {}
                    }
                }
            });
        }
        while stored_events(&database).await < 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        daemon.signal(signal).await;
        let mut acknowledged = 0;
        while let Some(client) = clients.join_next().await {
            acknowledged += client.unwrap();
        }
        assert_eq!(daemon.ended().await.code(), Some(0), "SIG{signal}");
        assert_eq!(
            stored_events(&database).await,
            acknowledged,
            "SIG{signal}: what was acknowledged is what is stored"
        );
        let left: i64 = {
            let writers = "select count(*) from analytics.writers where not fenced";
            database.client().await.query_one(writers, &[]).await.unwrap().get(0)
        };
        assert_eq!(left, 0, "its writers are retired");
    }
}

/// Whether the daemon has read everything that so many clients sent. The system's table of connections shows unread
/// bytes.
fn has_read_all(daemon: &Daemon, clients: usize) -> bool {
    let port: u16 = daemon.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let (local_port, established) = (format!(":{port:04X}"), "01");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_daemon = columns.filter(|line| line[1].ends_with(&local_port) && line[3] == established);
    let unread = of_daemon.map(|line| line[4].split_once(':').unwrap().1.to_owned()).collect::<Vec<_>>();
    unread.len() == clients && unread.iter().all(|bytes| bytes == "00000000")
}

#[tokio::test]
async fn a_stop_waits_for_a_delayed_commit_and_answers_all_requests_behind_it() {
    const CLIENTS: usize = 20;
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let now = Utc::now();
    // The partition exists, so that only the lock delays a commit.
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    let mut people = database.client().await;
    let observer = database.client().await;
    let lock = people.transaction().await.unwrap();
    lock.batch_execute("lock table analytics.events in share mode").await.unwrap();

    let request = |user: usize| {
        let query = format!("timestamp={}&user=user-{user}&event=click", now.timestamp_millis());
        format!("POST /analytics?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    let mut clients = vec![connect_and_send(&daemon, request(0).as_bytes()).await];
    until_waiting(&observer, INGEST, 1).await;
    for user in 1..CLIENTS {
        clients.push(connect_and_send(&daemon, request(user).as_bytes()).await);
    }
    // The additional connection is that of the first event, which stays open.
    while !has_read_all(&daemon, CLIENTS + 1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let address = daemon.url().strip_prefix("http://").unwrap().to_owned();
    daemon.signal("TERM").await;
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lock.commit().await.unwrap();
    for (user, client) in clients.iter_mut().enumerate() {
        let answer = read_to_the_end(client, Duration::from_secs(10)).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "user {user}: {answer:?}");
    }
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(stored_events(&database).await, 1 + i64::try_from(CLIENTS).unwrap());
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_open_does_not_keep_the_daemon_from_stopping() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let address = daemon.url().strip_prefix("http://").unwrap().to_owned();
    let _idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
    assert!(daemon.terminate().await.success());
}

async fn what_was_acknowledged_survives_a_kill(kind: &str) {
    let dir = server_dir();
    let embedded = format!("--embedded={}", dir.path().display());
    let arguments = [embedded.as_str(), "--embedded-kind", kind];
    let now = Utc::now();
    let mut acknowledged = 0;
    for _ in 0..3 {
        let daemon = Daemon::start_with(arguments).await;
        assert_eq!(daemon.counts(now).await, counts(u64::from(acknowledged > 0), acknowledged, 0));
        for _ in 0..20 {
            assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
            acknowledged += 1;
        }
        daemon.kill().await;
    }
    let daemon = Daemon::start_with(arguments).await;
    assert_eq!(daemon.counts(now).await, counts(1, acknowledged, 0));
    assert!(daemon.terminate().await.success());
}

#[tokio::test]
async fn the_native_embedded_database_keeps_acknowledged_events_when_the_daemon_is_killed() {
    what_was_acknowledged_survives_a_kill("native").await;
}

#[tokio::test]
async fn the_webassembly_embedded_database_keeps_acknowledged_events_when_the_daemon_is_killed() {
    what_was_acknowledged_survives_a_kill("wasm").await;
}

/// The processes that a process started.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: io::Result<fs::DirEntry>| fs::read_to_string(thread.unwrap().path().join("children"));
    threads
        .flat_map(|thread| of_thread(thread).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .map(|pid| pid.parse().unwrap())
        .collect()
}

#[tokio::test]
async fn the_next_daemon_waits_for_a_webassembly_database_that_outlives_the_last_one() {
    let dir = server_dir();
    let embedded = format!("--embedded={}", dir.path().display());
    let arguments = [embedded.as_str(), "--embedded-kind", "wasm"];
    let log = dir.path().join("daemon.log");
    let now = Utc::now();
    let mut acknowledged = 0;
    // A killed process leaves its socket behind; one that ends by itself removes it shortly before.
    for is_killed in [true, false] {
        let daemon = Daemon::start_with(arguments).await;
        assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
        acknowledged += 1;
        let [old] = children(daemon.pid())[..] else { panic!("the daemon has one child") };
        // It lives until its standard input ends. The daemon's death ends it, as long as no other process holds the
        // pipe.
        let keeps_it_alive = fs::File::options().write(true).open(format!("/proc/{old}/fd/0")).unwrap();
        daemon.kill().await;

        let mut next = Daemon::command();
        next.args(arguments).args(["--log", "info"]).stderr(fs::File::create(&log).unwrap());
        let mut next = pin!(Daemon::start_command_with_log(next));
        let waits = async {
            while !fs::read_to_string(&log).unwrap().contains("waiting for the last run's WebAssembly database") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = &mut next => panic!("it started beside the old one"),
            waits = timeout(Duration::from_secs(30), waits) => waits.expect("the log names what it waits for"),
        }
        if is_killed {
            let killed = tokio::process::Command::new("kill").args(["-KILL", &old.to_string()]).status().await.unwrap();
            assert!(killed.success());
        }
        drop(keeps_it_alive);
        let daemon = next.await;
        assert!(dir.path().join("wasm/socket/.s.PGSQL.5432").exists());
        assert_eq!(daemon.counts(now).await, counts(1, acknowledged, 0), "the old one was killed: {is_killed}");
        assert!(daemon.terminate().await.success());
    }
}

#[tokio::test]
async fn while_the_database_is_away_the_answer_is_503_and_when_it_is_back_it_is_served_without_a_restart() {
    let dir = server_dir();
    let options = embedded_options(dir.path(), Flavour::Postgres);
    let server = Embedded::start(&options).await.unwrap();
    schema::migrate(&Store::new(server.url(), StoreOptions::default()).unwrap(), None).await.unwrap();
    let daemon = Daemon::start_with(["--database-url", server.url(), "--allow-anonymous"]).await;
    let now = Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    server.stop().await.unwrap();

    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::SERVICE_UNAVAILABLE);
    let refused = daemon.get(&format!("/analytics?timestamp={}", now.timestamp_millis())).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);

    let server = Embedded::start(&options).await.unwrap();
    assert_eq!(daemon.counts(now).await, counts(1, 1, 0), "the refused event is not stored");
    while daemon.post(now, "ben", "click").await != StatusCode::NO_CONTENT {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(daemon.counts(now).await, counts(2, 2, 0));
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    assert!(daemon.terminate().await.success());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn when_its_embedded_database_dies_it_stops_and_says_so() {
    let dir = server_dir();
    let embedded = format!("--embedded={}", dir.path().display());
    let daemon = Daemon::start_with([embedded.as_str(), "--embedded-kind", "native"]).await;
    let pid_file = fs::read_to_string(dir.path().join("native/data/postmaster.pid")).unwrap();
    let postmaster = pid_file.lines().next().unwrap();
    let killed = tokio::process::Command::new("kill").args(["-KILL", postmaster]).status().await.unwrap();
    assert!(killed.success());
    assert_eq!(daemon.ended().await.code(), Some(1));
}
