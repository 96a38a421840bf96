use std::time::Duration;

use db::Flavour;
use harness::{Daemon, TestDatabase, TestShards};
use model::Timestamp;
use reliability::{
    operation::{Action, Operation},
    report::Report,
    sabotage::Saboteur,
    scenarios::hour_under_attack,
    traffic::{Mix, Traffic},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::support::options;

/// Answers every request that has no body in the same way.
async fn answer(stream: TcpStream, answer: &'static str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// What clients object to when a daemon answers everything in the same way.
async fn objections(to: &'static str, mix: &Mix) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let daemon = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, to));
        }
    });
    let traffic = Traffic::start(1, 0, 4, mix, &[&url]);
    // Enough for every kind of request to have been among them.
    while traffic.acknowledged() + traffic.queued() + traffic.refused() < 100 {
        sleep(Duration::from_millis(2)).await;
    }
    let operations = traffic.stop().await.unwrap();
    daemon.abort();
    let protests = operations.into_iter().filter_map(|operation: Operation| match operation.action {
        Action::Protest { why } => Some(why),
        Action::Send { .. } | Action::Read { .. } | Action::Disturb { .. } => None,
    });
    protests.collect()
}

#[tokio::test]
async fn clients_object_to_answers_that_are_not_promised_and_to_no_others() {
    let mix = Mix { reads: 0.0, batches: 0.0, keyed: 0.8, ..Mix::usual() };
    let spooled = Mix { has_spool: true, ..mix.clone() };
    let table = [
        ("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", &mix, None),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", &mix, Some("to store events: 503")),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", &mix, Some("500 (Retry-After: none): \"no\"")),
        ("HTTP/1.1 204 Done\r\n\r\n", &mix, Some("to store other events under a used key: 204")),
        ("HTTP/1.1 202 Later\r\nContent-Length: 0\r\n\r\n", &mix, Some("to store events: 202")),
        ("HTTP/1.1 202 Later\r\nContent-Length: 0\r\n\r\n", &spooled, None),
    ];
    for (answer, mix, expected) in table {
        let found = objections(answer, mix).await;
        match expected {
            None => assert!(found.is_empty(), "{answer:?}: {found:?}"),
            Some(expected) => assert!(found.iter().any(|why| why.contains(expected)), "{answer:?}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn there_is_no_rest_before_a_commit_with_a_key_has_ended() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let saboteur = Saboteur::connect(database.url()).await.unwrap();
    let url = format!("{}/analytics?timestamp={}&user=a&event=click", daemon.url(), Timestamp::now().millis());
    // The partition is there, so that nothing but the lock holds a commit up.
    assert_eq!(reqwest::Client::new().post(&url).send().await.unwrap().status(), 204);
    for key in ["", "&id=k"] {
        let mut people = database.client().await;
        let lock = people.transaction().await.unwrap();
        lock.batch_execute("lock table analytics.events in share mode").await.unwrap();
        let sent = tokio::spawn(reqwest::Client::new().post(format!("{url}{key}")).send());
        let waits = "select exists (select from pg_locks as l join pg_database as d on d.oid = l.database \
                     where d.datname = current_database() and not l.granted)";
        while !lock.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {
            sleep(Duration::from_millis(5)).await;
        }
        let rest = timeout(Duration::from_millis(200), saboteur.wait_for_rest()).await;
        assert!(rest.is_err(), "a commit under way is no rest: {key:?}");
        lock.commit().await.unwrap();
        saboteur.wait_for_rest().await.unwrap();
        assert_eq!(sent.await.unwrap().unwrap().status(), 204);
    }
}

#[tokio::test]
async fn counters_of_an_hour_that_has_no_event_are_found() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let mut report = Report::new("tampering");
    report.audit_database(database.store(), &[]).await.unwrap();
    assert_eq!(report.broken, [""; 0]);
    let tamper = "insert into analytics.hour_counts (hour, writer, unique_users, clicks, impressions, written_at) \
                  values ('2015-05-17T10:00:00Z', 0, 1, 1, 0, now())";
    database.client().await.batch_execute(tamper).await.unwrap();
    report.audit_database(database.store(), &[]).await.unwrap();
    assert!(report.broken[0].contains("2015-05-17T10:00:00Z: it has counters but no raw events"), "{report:#?}");
}

#[tokio::test]
async fn an_event_in_the_shard_of_other_visitors_is_found() {
    let shards = TestShards::new(&[Flavour::Postgres; 2]).await;
    let daemon = Daemon::start_with(shards.arguments()).await;
    for number in 0..20 {
        assert_eq!(daemon.post(Timestamp::now().to_utc(), &format!("user-{number}"), "click").await, 204);
    }
    let mut report = Report::new("a hash that another program computes otherwise");
    report.audit_places(shards.shards()).await.unwrap();
    assert_eq!(report.broken, [""; 0]);
    let client = shards.databases()[1].client().await;
    let renamed = "update analytics.events set user_name = user_name || ' is another'";
    assert!(client.execute(renamed, &[]).await.unwrap() > 1);
    report.audit_places(shards.shards()).await.unwrap();
    assert!(report.broken.iter().any(|why| why.contains("are in shard 1 and must be in 0")), "{report:#?}");
}

#[tokio::test]
async fn a_successful_attack_is_reported_line_by_line() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let options = options();
    let tamper = async {
        let client = database.client().await;
        while client.execute("update analytics.hour_counts set clicks = clicks + 1", &[]).await.unwrap() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let (report, ()) = tokio::join!(hour_under_attack::attack(&options, database.store()), tamper);
    let evidence = report.unwrap().broken.join("\n");
    for expected in ["counts", "what came to pass, in milliseconds:", " sent ", "read Some(", "settled"] {
        assert!(evidence.contains(expected), "{expected:?} is not in:\n{evidence}");
    }
}
