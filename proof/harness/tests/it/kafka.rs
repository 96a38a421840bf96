//! The broker for tests keeps what is sent to it, and can be taken away.

use std::time::Duration;

use harness::{Kafka, Received};

#[tokio::test]
async fn what_is_sent_to_a_topic_can_be_read() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.topic(2).await;
    assert_eq!(topic.address(), format!("{}/{}", kafka.brokers(), topic.name()));
    assert_eq!(topic.send(0, "first").await, 0);
    assert_eq!(topic.send_with(0, Some(b"key"), None).await, 1);
    assert_eq!(topic.send_all(1, (0..5_000).map(|number: u32| number.to_string())).await, 4_999);

    let first = Received { offset: 0, key: None, payload: Some(b"first".to_vec()), headers: Vec::new() };
    let tombstone = Received { offset: 1, key: Some(b"key".to_vec()), payload: None, headers: Vec::new() };
    assert_eq!(topic.received(0, 2).await, [first, tombstone]);
    let numbers: Vec<Vec<u8>> = (0..5_000).map(|number: u32| number.to_string().into_bytes()).collect();
    assert_eq!(topic.messages(1, 5_000).await, numbers);
}

#[tokio::test]
async fn a_group_without_members_can_be_set_to_an_offset() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.topic(1).await;
    topic.send_all(0, ["a", "b", "c"]).await;
    assert_eq!(topic.group_offset(topic.name(), 0).await, None);
    topic.set_group_offset(topic.name(), 0, 2).await;
    assert_eq!(topic.group_offset(topic.name(), 0).await, Some(2));
}

#[tokio::test]
async fn messages_before_an_offset_can_be_deleted() {
    let Some(kafka) = Kafka::start().await else { return };
    if !kafka.is_apache() {
        eprintln!("SKIPPED: TEST_KAFKA names no Apache Kafka, which alone can delete messages");
        return;
    }
    let topic = kafka.topic(1).await;
    topic.send_all(0, ["a", "b", "c"]).await;
    topic.delete_before(0, 2).await;
    assert_eq!(topic.received(0, 1).await[0].offset, 2);
}

#[tokio::test]
async fn a_topic_that_is_deleted_and_made_again_is_empty() {
    let Some(kafka) = Kafka::start().await else { return };
    let topic = kafka.topic(1).await;
    topic.send_all(0, ["a", "b"]).await;
    topic.delete().await;
    let topic = topic.make_again().await;
    assert_eq!(topic.send(0, "c").await, 0);
    assert_eq!(topic.messages(0, 1).await, [b"c".to_vec()]);
}

#[tokio::test]
async fn a_broker_that_is_killed_and_started_again_has_its_topics_unless_they_were_in_memory() {
    let Some(mut kafka) = Kafka::start_own().await else { return };
    let brokers = kafka.brokers().to_owned();
    let topic = kafka.topic(1).await;
    topic.send(0, "first").await;
    kafka.kill().await;
    assert!(std::net::TcpStream::connect(&brokers).is_err());
    kafka.start_again().await;
    assert_eq!(kafka.brokers(), brokers);
    if kafka.keeps_its_topics() {
        assert_eq!(topic.send(0, "second").await, 1);
        assert_eq!(topic.messages(0, 2).await, [b"first", b"second".as_slice()]);
    } else {
        assert_eq!(topic.make_again().await.send(0, "second").await, 0);
    }
}

#[tokio::test]
async fn a_broker_that_is_started_anew_is_an_empty_one_at_the_same_address() {
    let Some(mut kafka) = Kafka::start_own().await else { return };
    let brokers = kafka.brokers().to_owned();
    let topic = kafka.topic(1).await;
    topic.send(0, "lost").await;
    kafka.start_anew().await;
    assert_eq!(kafka.brokers(), brokers);
    let topic = topic.make_again().await;
    assert_eq!(topic.send(0, "kept").await, 0);
}

#[tokio::test]
async fn what_a_sender_sends_while_the_broker_stands_still_is_there_once() {
    let Some(mut kafka) = Kafka::start_own().await else { return };
    let topic = kafka.topic(1).await;
    let sender = topic.sender();
    assert_eq!(sender.send_all(0, ["a", "b"]).await, [Some(0), Some(1)]);
    kafka.pause().await;
    let sending = sender.send_all(0, ["c", "d"]);
    tokio::pin!(sending);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut sending).await.is_err());
    kafka.resume().await;
    assert_eq!(sending.await, [Some(2), Some(3)]);
    assert_eq!(topic.messages(0, 4).await, ["a", "b", "c", "d"].map(str::as_bytes));
}

#[tokio::test]
async fn a_broker_that_is_paused_answers_once_it_is_resumed() {
    let Some(mut kafka) = Kafka::start_own().await else { return };
    let topic = kafka.topic(1).await;
    kafka.pause().await;
    let sending = topic.send(0, "late");
    tokio::pin!(sending);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut sending).await.is_err());
    kafka.resume().await;
    assert_eq!(sending.await, 0);
}
