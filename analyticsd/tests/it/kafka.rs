//! Topics of a broker that speaks the protocol of Kafka: see [`harness::Kafka`].

use std::{path::Path, time::Duration};

use db::Flavour;
use harness::{Daemon, Kafka, PrivateServer, ShardServers, TestDatabase, Topic, on_both_flavours};
use model::{HourCounts, SiteId};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{at, counts, stored_events};

on_both_flavours!(each_message_counts_once_whoever_reads_it_again);

const TEN: i64 = 1_431_856_800_000;
const HOUR: &str = "2015-05-17T10:30:00Z";
const PATIENCE: Duration = Duration::from_mins(1);

fn click(user: impl std::fmt::Display) -> String {
    format!(r#"{{"timestamp":{TEN},"user":"{user}","event":"click"}}"#)
}

/// The settings of a daemon that reads a topic, and the folder of what it rejects.
struct Reader {
    folder: TempDir,
    settings: Vec<String>,
}

impl Reader {
    fn new(kafka: &Kafka, topic: &Topic, database: &TestDatabase) -> Self {
        Self::on(kafka, topic, database.url())
    }

    fn on(kafka: &Kafka, topic: &Topic, database_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = folder.path().join("client");
        let session = kafka.session_timeout().as_millis();
        let settings =
            format!("session.timeout.ms={session}\nheartbeat.interval.ms=500\nreconnect.backoff.max.ms=200\n");
        std::fs::write(&client, settings).unwrap();
        let settings = [
            ("--database-url", database_url.to_owned()),
            ("--kafka", topic.address()),
            ("--kafka-config-file", client.display().to_string()),
            ("--kafka-rejected", folder.path().display().to_string()),
            // Topics of other tests on the same brokers have other daemons.
            ("--kafka-group", topic.name().to_owned()),
        ];
        let settings = settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        Self { folder, settings }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Some(place) = self.settings.iter().position(|setting| setting == name) {
            self.settings.drain(place..place + 2);
        }
        self.settings.extend([name.to_owned(), value.into()]);
        self
    }

    fn without(mut self, name: &str) -> Self {
        let place = self.settings.iter().position(|setting| setting == name).unwrap();
        self.settings.drain(place..place + 2);
        self
    }

    /// Adds settings of the client.
    fn client(&self, more: &str) {
        let file = self.folder.path().join("client");
        let settings = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, settings + more).unwrap();
    }

    async fn start(&self) -> Daemon {
        let mut settings = self.settings.clone();
        settings.extend(["--admin-listen".to_owned(), "127.0.0.1:0".to_owned()]);
        Daemon::start_with(settings).await
    }

    /// The lines of the file of messages that could not be stored.
    fn rejected(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("rejected.ndjson")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Their offsets, sorted: the database names one refused event at a time.
    fn rejected_offsets(&self) -> Vec<u64> {
        let mut offsets: Vec<u64> = self.rejected().iter().map(|line| line["offset"].as_u64().unwrap()).collect();
        offsets.sort_unstable();
        offsets
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn until_counted(daemon: &Daemon, expected: HourCounts) {
    let began = Instant::now();
    loop {
        let counted = daemon.counts(at(HOUR)).await;
        if counted == expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE && counted.clicks <= expected.clicks, "{counted:?} instead of {expected:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many messages had an outcome.
async fn messages(daemon: &Daemon, outcome: &str) -> f64 {
    daemon.metric(&format!("analyticsd_kafka_messages_total{{outcome=\"{outcome}\"}}")).await.unwrap()
}

/// Waits until a daemon has stored all that the brokers have of these partitions.
async fn until_level(daemon: &Daemon, partitions: i32) {
    until("nothing lags", async || {
        for partition in 0..partitions {
            let lag = daemon.metric(&format!("analyticsd_kafka_lag_messages{{partition=\"{partition}\"}}")).await;
            if lag != Some(0.0) {
                return false;
            }
        }
        true
    })
    .await;
}

async fn each_message_counts_once_whoever_reads_it_again(flavour: Flavour) {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(flavour).await;
    let topic = kafka.topic(3).await;
    for partition in 0..3 {
        topic.send_all(partition, (0..200).map(|user| click(format!("{partition}-{user}")))).await;
    }
    topic.send_with(0, Some(b"anna"), None).await;
    topic.send_all(1, [click("x"), String::new(), click("x")]).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(601, 602, 0)).await;
    until_level(&daemon, 3).await;
    assert_eq!((messages(&daemon, "stored").await, messages(&daemon, "empty").await), (602.0, 2.0));
    assert_eq!(daemon.metric("analyticsd_kafka_partitions").await, Some(3.0));
    assert!(daemon.terminate().await.success());

    // Whatever the group is said to have read, the database knows better.
    for (partition, offset) in [(0, 0), (1, 100), (2, 1_000)] {
        topic.set_group_offset(topic.name(), partition, offset).await;
    }
    let daemon = reader.start().await;
    for partition in 0..3 {
        topic.send(partition, click("late")).await;
    }
    until_counted(&daemon, counts(602, 605, 0)).await;
    until_level(&daemon, 3).await;
    assert_eq!((messages(&daemon, "stored").await, messages(&daemon, "repeated").await), (3.0, 0.0));
    assert_eq!(stored_events(&database).await, 605);
    assert_eq!(reader.rejected(), [] as [Value; 0]);
}

#[tokio::test]
async fn what_can_never_be_stored_is_kept_and_all_else_counts() {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    let keyed = |user: &str| format!(r#"{{"timestamp":{TEN},"user":"{user}","event":"click","id":"k"}}"#);
    let sent: [Vec<u8>; 9] = [
        click("anna").into(),
        b"no event".into(),
        b"{\xff".into(),
        br#"{"timestamp":1431856800,"user":"anna","event":"click"}"#.into(),
        br#"{"timestamp":1431856800000,"user":"anna","event":"click","site":"nowhere"}"#.into(),
        keyed("ben").into(),
        keyed("ben").into(),
        keyed("carla").into(),
        click("dora").into(),
    ];
    topic.send_all(0, sent).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(3, 3, 0)).await;
    until_level(&daemon, 1).await;
    let outcomes = ["stored", "repeated", "rejected", "empty"];
    let mut counted = Vec::new();
    for outcome in outcomes {
        counted.push(messages(&daemon, outcome).await);
    }
    assert_eq!(counted, [3.0, 1.0, 5.0, 0.0]);
    let rejected = reader.rejected();
    let kept: Vec<(u64, String)> = rejected
        .iter()
        .map(|line| {
            assert_eq!((&line["topic"], &line["partition"]), (&topic.name().into(), &0.into()));
            let value = line.get("value").or(line.get("value_base64")).unwrap();
            (
                line["offset"].as_u64().unwrap(),
                format!("{}: {}", line["reason"].as_str().unwrap(), value.as_str().unwrap()),
            )
        })
        .collect();
    insta::assert_debug_snapshot!(kept);
}

#[tokio::test]
async fn what_can_never_be_stored_goes_to_another_topic_as_it_came() {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let (topic, dead) = (kafka.topic(1).await, kafka.topic(1).await);
    topic.send(0, click("anna")).await;
    topic.send_with(0, Some(b"key"), Some(b"no event")).await;
    topic.send_all(0, (0..3_000).map(|n| format!("no event {n}"))).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let reader = reader.without("--kafka-rejected").with("--kafka-dead-letter", dead.name());
    let daemon = reader.start().await;
    until_counted(&daemon, counts(1, 1, 0)).await;
    let kept = dead.received(0, 1).await.remove(0);
    assert_eq!((kept.key.as_deref(), kept.payload.as_deref()), (Some(&b"key"[..]), Some(&b"no event"[..])));
    let headers: Vec<(&str, &str)> =
        kept.headers.iter().map(|(name, value)| (name.as_str(), str::from_utf8(value).unwrap())).collect();
    assert_eq!(
        headers[..3],
        [("analyticsd-topic", topic.name()), ("analyticsd-partition", "0"), ("analyticsd-offset", "1")]
    );
    assert!(headers[3].1.starts_with("the line is not an event: "), "{headers:?}");
    until_level(&daemon, 1).await;
    let kept = dead.messages(0, 3_001).await;
    assert_eq!(kept.last().map(Vec::as_slice), Some(&b"no event 2999"[..]));
    assert_eq!(daemon.metric("analyticsd_kafka_messages_total{outcome=\"rejected\"}").await, Some(3_001.0));
}

#[tokio::test]
async fn events_under_the_keys_of_others_are_left_out_and_all_else_counts() {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    let keyed =
        |user: &str, id: u32| format!(r#"{{"timestamp":{TEN},"user":"{user}-{id}","event":"click","id":"{id}"}}"#);
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    topic.send_all(0, (0..50).map(|id| keyed("first", id))).await;
    until_counted(&daemon, counts(50, 50, 0)).await;
    topic.send_all(0, (0..200).map(|id| keyed(if id < 50 { "other" } else { "first" }, id))).await;
    until_counted(&daemon, counts(200, 200, 0)).await;
    until_level(&daemon, 1).await;
    assert_eq!(reader.rejected_offsets(), (50..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_daemon_whose_name_in_the_group_another_took_joins_anew() {
    let Some(kafka) = Kafka::start().await else { return };
    if !kafka.is_apache() {
        eprintln!("SKIPPED: the broker in memory lets two members have one name; TEST_KAFKA names an Apache Kafka");
        return;
    }
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    let reader = Reader::new(&kafka, &topic, &database);
    reader.client("group.instance.id=one\n");
    let reads = async |daemon: &Daemon| daemon.metric("analyticsd_kafka_partitions").await == Some(1.0);
    let first = reader.start().await;
    until("the first reads", async || reads(&first).await).await;
    let second = reader.start().await;
    until("the second reads", async || reads(&second).await).await;
    until("the first does not", async || !reads(&first).await).await;
    second.kill().await;
    topic.send(0, click("anna")).await;
    until_counted(&first, counts(1, 1, 0)).await;
}

#[tokio::test]
async fn daemons_that_come_and_go_share_the_partitions_and_count_each_message_once() {
    const EACH: usize = 3_000;
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(4).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let sending = async {
        for first in (0..EACH).step_by(100) {
            for partition in 0..4 {
                topic.send_all(partition, (first..first + 100).map(|user| click(format!("{partition}-{user}")))).await;
            }
        }
    };
    let coming_and_going = async {
        let first = reader.start().await;
        until("one reads", async || first.metric("analyticsd_kafka_partitions").await == Some(4.0)).await;
        let second = reader.start().await;
        until("they share", async || second.metric("analyticsd_kafka_partitions").await == Some(2.0)).await;
        // As when its machine loses its power.
        first.signal("KILL").await;
        drop(first);
        let third = reader.start().await;
        until("the others share", async || third.metric("analyticsd_kafka_partitions").await == Some(2.0)).await;
        assert!(second.terminate().await.success());
        third
    };
    let ((), last) = tokio::join!(sending, coming_and_going);
    let all = u64::try_from(4 * EACH).unwrap();
    until_counted(&last, counts(all, all, 0)).await;
    until_level(&last, 4).await;
    assert_eq!(stored_events(&database).await, i64::try_from(all).unwrap());
}

#[tokio::test]
async fn a_partition_that_waits_for_messages_is_read_again_where_the_database_went_back() {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    topic.send_all(0, (0..10).map(click)).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(10, 10, 0)).await;
    until_level(&daemon, 1).await;
    // As a backup that was taken after the first seven, but for the events.
    let client = database.client().await;
    client.execute("update analytics.sources set position = 7, digest = null", &[]).await.unwrap();
    until_counted(&daemon, counts(10, 13, 0)).await;
}

#[tokio::test]
async fn a_topic_that_was_made_anew_waits_for_a_name_of_its_own() {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    topic.send_all(0, (0..10).map(click)).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(10, 10, 0)).await;
    assert!(daemon.terminate().await.success());
    topic.delete().await;
    let topic = topic.make_again().await;
    // First fewer than there were, then more. Only Apache Kafka says that there are fewer.
    for more in if kafka.is_apache() { vec![5, 20] } else { vec![20] } {
        topic.send_all(0, (0..more).map(|user| click(format!("new-{user}")))).await;
        let daemon = reader.start().await;
        let stalled = async || daemon.metric("analyticsd_kafka_stalled_partitions").await == Some(1.0);
        until("it stalls", stalled).await;
        assert_eq!(daemon.counts(at(HOUR)).await, counts(10, 10, 0));
        assert!(daemon.terminate().await.success());
    }
    let daemon = reader.with("--kafka-source", "second").start().await;
    let all = if kafka.is_apache() { counts(30, 35, 0) } else { counts(30, 30, 0) };
    until_counted(&daemon, all).await;
}

#[tokio::test]
async fn a_cluster_in_the_place_of_another_is_a_source_of_its_own() {
    let Some(mut kafka) = Kafka::start_own().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(2).await;
    topic.send_all(0, (0..10).map(click)).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(10, 10, 0)).await;
    assert!(daemon.terminate().await.success());
    kafka.start_anew().await;
    let topic = topic.make_again().await;
    let daemon = reader.start().await;
    topic.send_all(0, (10..15).map(click)).await;
    topic.send_all(1, (15..20).map(click)).await;
    until_counted(&daemon, counts(20, 20, 0)).await;
}

#[tokio::test]
async fn what_a_database_lost_is_read_again() {
    let Some(kafka) = Kafka::start().await else { return };
    let mut server = PrivateServer::start().await.unwrap();
    let topic = kafka.topic(2).await;
    let daemon = Reader::on(&kafka, &topic, server.url()).start().await;
    let send = async |from: u32, to: u32| {
        for partition in 0..2 {
            topic.send_all(partition, (from..to).map(|user| click(format!("{partition}-{user}")))).await;
        }
    };
    send(0, 100).await;
    until_counted(&daemon, counts(200, 200, 0)).await;
    server.stop().await.unwrap();
    // Messages that come while the database is away wait in the topic.
    send(100, 200).await;
    let (data, backup) = (server.dir().join("native/data"), server.dir().join("backup"));
    copy(&data, &backup);
    server.start_again().await.unwrap();
    until_counted(&daemon, counts(400, 400, 0)).await;

    server.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    server.start_again().await.unwrap();
    send(200, 210).await;
    until_counted(&daemon, counts(420, 420, 0)).await;
    until_level(&daemon, 2).await;
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test]
async fn a_daemon_whose_brokers_do_not_answer_serves_and_stops_in_order() {
    let Some(mut kafka) = Kafka::start_own().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    topic.send(0, click("anna")).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(1, 1, 0)).await;
    kafka.pause().await;
    assert_eq!(daemon.post(at(HOUR), "ben", "click").await, 204);
    assert!(daemon.terminate().await.success());
    kafka.resume().await;
    kafka.kill().await;
    let daemon = reader.start().await;
    assert_eq!(daemon.post(at(HOUR), "carla", "click").await, 204);
    assert_eq!(daemon.counts(at(HOUR)).await, counts(3, 3, 0));
    assert!(daemon.terminate().await.success());
}

#[tokio::test]
async fn messages_of_an_hour_that_cannot_be_counted_any_more_are_kept_elsewhere() {
    let Some(kafka) = Kafka::start().await else { return };
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    let of_a_day =
        |day: u32, user: &str| format!(r#"{{"timestamp":"2015-05-{day}T10:05:00Z","user":"{user}","event":"click"}}"#);
    let reader = Reader::new(&kafka, &topic, &database).with("--settle-after", "0s");
    let daemon = reader.start().await;
    topic.send(0, of_a_day(16, "anna")).await;
    let settled = async || daemon.metric("analyticsd_settled_hours_total").await == Some(1.0);
    until("the hour is settled", settled).await;
    database.client().await.execute("delete from analytics.events", &[]).await.unwrap();
    topic.send_all(0, [of_a_day(16, "ben"), of_a_day(17, "ben"), of_a_day(16, "carla"), of_a_day(17, "carla")]).await;
    until_counted(&daemon, counts(2, 2, 0)).await;
    until_level(&daemon, 1).await;
    assert_eq!(daemon.counts(at("2015-05-16T10:30:00Z")).await, counts(1, 1, 0));
    assert_eq!(reader.rejected_offsets(), [1, 3]);
}

#[tokio::test]
async fn what_the_topic_deleted_before_it_was_stored_is_counted_as_lost() {
    let Some(kafka) = Kafka::start().await else { return };
    if !kafka.is_apache() {
        eprintln!("SKIPPED: the broker in memory deletes no messages; TEST_KAFKA names an Apache Kafka");
        return;
    }
    let database = TestDatabase::new(Flavour::Postgres).await;
    let topic = kafka.topic(1).await;
    // What was deleted before the first look is not missed.
    topic.send_all(0, (0..10).map(click)).await;
    topic.delete_before(0, 4).await;
    let reader = Reader::new(&kafka, &topic, &database);
    let daemon = reader.start().await;
    until_counted(&daemon, counts(6, 6, 0)).await;
    assert_eq!(daemon.metric("analyticsd_kafka_lost_messages_total").await, Some(0.0));
    assert!(daemon.terminate().await.success());
    topic.send_all(0, (10..20).map(click)).await;
    topic.delete_before(0, 13).await;
    let daemon = reader.start().await;
    until_counted(&daemon, counts(13, 13, 0)).await;
    let lost = async || daemon.metric("analyticsd_kafka_lost_messages_total").await;
    until("three are lost", async || lost().await == Some(3.0)).await;
}

#[tokio::test]
async fn messages_that_only_some_shards_have_are_completed_in_the_others() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.topic(1).await;
    let servers = ShardServers::start(2).await.unwrap();
    let mut reader = Reader::on(&kafka, &topic, "postgres://none/none").without("--database-url");
    reader.settings.extend(servers.arguments());
    let send = async |users: std::ops::Range<u64>| topic.send_all(0, users.map(click)).await;
    send(0..200).await;
    let daemon = reader.start().await;
    until_counted(&daemon, counts(200, 200, 0)).await;

    // Shard 1 lets nothing be stored for now, and shard 0 has more.
    let client = servers.servers[1].client().await;
    client.batch_execute("begin; lock analytics.sources in share mode").await.unwrap();
    send(200..300).await;
    until("shard 0 has its part", async || {
        let sources = servers.shards().first().sources(SiteId::NAMELESS, "analyticsd:kafka:").await.unwrap();
        sources.first().is_some_and(|(_, at)| at.position > 200)
    })
    .await;
    daemon.kill().await;
    client.batch_execute("rollback").await.unwrap();

    // The batch that comes next would go on behind the end of that part.
    send(300..350).await;
    let daemon = reader.start().await;
    until_counted(&daemon, counts(350, 350, 0)).await;
    assert_eq!(reader.rejected(), [] as [Value; 0]);
}
