//! What docs/operate/upgrades.md says, under this harness and behind the documented proxy: no request fails that is made
//! again, and no count is lost.

use std::{process::Stdio, time::Duration};

use db::{Flavour, schema};
use harness::{Daemon, TestDatabase, bare_command, signal};
use reliability::earlier;
use tokio::{
    process::Child,
    time::{sleep, timeout},
};

use crate::{loadtest, proxy::Proxy, result_of};

const PATIENCE: Duration = Duration::from_mins(2);

/// A run that continues until it is ended.
struct Load<'a> {
    process: Child,
    database: &'a TestDatabase,
}

impl<'a> Load<'a> {
    fn start(proxy: &Proxy, database: &'a TestDatabase) -> Self {
        let process = loadtest()
            .args(["--host", proxy.url(), "--users", "4", "--run-time", "10min"])
            .args(["--batch-share", "0.05", "--batch-size", "10"])
            .args(["--retries", "3", "--max-error-rate", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, database }
    }

    /// Returns once some hundred events more are stored.
    async fn goes_on(&self) {
        let client = self.database.client().await;
        let stored = async || {
            let count = "select count(*) from analytics.events";
            client.query_one(count, &[]).await.unwrap().get::<_, i64>(0)
        };
        let before = stored().await;
        let some_more = async {
            while stored().await < before + 300 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, some_more).await.expect("events are stored");
    }

    async fn end(self) {
        signal(self.process.id().expect("it runs"), "INT").await.unwrap();
        let output = timeout(PATIENCE, self.process.wait_with_output()).await.expect("it ends").unwrap();
        let (code, printed) = result_of(&output);
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("ok     ledger") && printed.contains("ok     reads"), "{printed}");
    }
}

/// Takes each daemon out of the proxy, stops it, and puts a new one in its place.
async fn replace_each(daemons: [Daemon; 2], proxy: &Proxy, load: &Load<'_>) -> [Daemon; 2] {
    let [first, second] = daemons;
    let start = async || Daemon::start_with(["--database-url", load.database.url(), "--allow-anonymous"]).await;
    proxy.point_at(&[second.url()]).await;
    assert!(first.terminate().await.success());
    let first = start().await;
    proxy.point_at(&[first.url(), second.url()]).await;
    load.goes_on().await;
    proxy.point_at(&[first.url()]).await;
    assert!(second.terminate().await.success());
    let second = start().await;
    proxy.point_at(&[first.url(), second.url()]).await;
    load.goes_on().await;
    [first, second]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_behind_the_documented_proxy_are_restarted_one_by_one_and_no_request_fails() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let start = async || Daemon::start_with(["--database-url", database.url(), "--allow-anonymous"]).await;
    let daemons = [start().await, start().await];
    let proxy = Proxy::start(&[daemons[0].url(), daemons[1].url()]).await;
    let load = Load::start(&proxy, &database);
    load.goes_on().await;
    let daemons = replace_each(daemons, &proxy, &load).await;
    // One stops that nobody took out of the proxy before: it closes its port at once, and the proxy asks the other one.
    let [first, second] = daemons;
    assert!(first.terminate().await.success());
    load.goes_on().await;
    load.end().await;
    proxy.stop().await;
    drop(second);
}

/// Builds the earlier daemon the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_of_an_earlier_commit_behind_the_documented_proxy_are_upgraded_one_by_one_and_no_request_fails() {
    let earlier = match earlier::daemon().await.unwrap() {
        Ok(earlier) => earlier,
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            return;
        }
    };
    let database = TestDatabase::without_schema(Flavour::Postgres).await;
    let start = async || {
        let mut command = bare_command(&earlier);
        command.args(["--database-url", database.url(), "--migrate"]);
        Daemon::start_command(command).await
    };
    let daemons = [start().await, start().await];
    let proxy = Proxy::start(&[daemons[0].url(), daemons[1].url()]).await;
    let load = Load::start(&proxy, &database);
    load.goes_on().await;
    assert!(!schema::migrate(database.store(), None).await.unwrap().applied.is_empty());
    load.goes_on().await;
    let daemons = replace_each(daemons, &proxy, &load).await;
    load.end().await;
    proxy.stop().await;
    drop(daemons);
}
