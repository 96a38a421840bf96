use std::fmt::Write;

use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};
use model::{
    Problem,
    wire::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_HOURS},
};
use reqwest::StatusCode;

use crate::support::{at, counts, stored_events};

on_both_flavours!(a_batch_is_stored_and_counted_whole);

fn line(millis: i64, user: &str, event: &str) -> String {
    format!("{{\"timestamp\":{millis},\"user\":\"{user}\",\"event\":\"{event}\"}}\n")
}

const TEN: i64 = 1_431_856_800_000;

async fn a_batch_is_stored_and_counted_whole(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start(database.url()).await;
    let mut body = String::new();
    for n in 0..5_000 {
        body += &line(TEN + n * 1_000, &format!("user-{}", n % 700), if n % 2 == 0 { "click" } else { "impression" });
    }
    // Lines may end with CR LF, some may be empty, and the last may have no newline.
    body += "\r\n";
    body += line(TEN, "last", "click").trim_end();
    assert_eq!(daemon.post_batch(body).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stored_events(&database).await, 5_001);
    assert_eq!(daemon.counts(at("2015-05-17T10:30:00Z")).await, counts(701, 1_801, 1_800));
    assert_eq!(daemon.counts(at("2015-05-17T11:00:00Z")).await, counts(700, 700, 700));
}

#[tokio::test]
async fn an_empty_batch_is_accepted_and_stores_nothing() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for body in ["", "\n", "\r\n\r\n"] {
        assert_eq!(daemon.post_batch(body).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn a_bad_line_gets_400_with_its_number_and_nothing_of_the_batch_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let table = [
        ("not json".to_owned(), None, "not an event"),
        ("{\"timestamp\":1,\"user\":\"a\"}".to_owned(), None, "missing field `event`"),
        ("{\"timestamp\":1,\"event\":\"click\"}".to_owned(), Some("user"), "is missing"),
        (line(1_706_796_001, "a", "click"), Some("timestamp"), "looks like seconds"),
        (line(1, "a", "click").replace("\"user\"", "\"address\""), Some("address"), "is no IP address"),
        (line(-1, "a", "click"), Some("timestamp"), "is negative"),
        (line(1, "", "click"), Some("user"), "is empty"),
        (line(1, &"x".repeat(257), "click"), Some("user"), "has 257 bytes"),
        (line(1, "a", "Click"), Some("event"), "is unknown"),
    ];
    for (bad, parameter, fault) in table {
        let body =
            format!("{}\n{}{bad}\n{}", line(TEN, "a", "click"), line(TEN, "b", "click"), line(TEN, "c", "click"));
        let answer = daemon.post_batch(body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
        let problem: Problem = answer.json().await.unwrap();
        assert_eq!((problem.line, problem.parameter.as_deref()), (Some(4), parameter), "{bad}");
        assert!(problem.detail.starts_with("Line 4: ") && problem.detail.contains(fault), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn the_timestamps_of_a_batch_are_read_as_the_request_says() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let at = chrono::DateTime::from_timestamp_millis(TEN).unwrap();
    for (query, written, status) in [
        ("", TEN.to_string(), 204),
        ("", format!("\"{TEN}\""), 204),
        ("", format!("{TEN}.0"), 204),
        ("", format!("\"{}\"", at.to_rfc3339()), 204),
        ("?timestamps=s", format!("{}.5", TEN / 1_000), 204),
        ("?timestamps=s", format!("\"{}\"", TEN / 1_000), 204),
        ("?timestamps=rfc3339", format!("\"{}\"", at.to_rfc3339()), 204),
        ("?timestamps=ms", "1706796001".to_owned(), 204),
        ("?timestamps=ms", format!("\"{}\"", at.to_rfc3339()), 400),
        ("?timestamps=rfc3339", TEN.to_string(), 400),
        ("?timestamps=minutes", TEN.to_string(), 400),
        ("", format!("{}", TEN / 1_000), 400),
    ] {
        let body = format!("{{\"timestamp\":{written},\"user\":\"a\",\"event\":\"click\"}}\n");
        let url = format!("{}/analytics/batch{query}", daemon.url());
        let answer = reqwest::Client::new().post(url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{query} {written}");
    }
    assert_eq!(daemon.counts(at).await, counts(1, 7, 0));
    assert_eq!(stored_events(&database).await, 8);
}

#[tokio::test]
async fn a_batch_may_be_compressed_or_one_array_and_is_bounded_by_what_it_becomes() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let gzip = |content: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, content).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |content: &[u8]| zstd::encode_all(content, 3).unwrap();
    let lines = (0..1_000).map(|n| line(TEN, &format!("user{n}"), "click")).collect::<String>();
    let array = format!("[{}]", lines.trim_end().replace('\n', ",\n"));
    let (lines, array) = (lines.as_bytes(), array.as_bytes());
    let nothing = vec![b' '; MAX_BATCH_BYTES];
    let too_much = vec![b' '; 4 * MAX_BATCH_BYTES];
    let cut = |whole: Vec<u8>| whole[..whole.len() - 20].to_vec();
    for (name, coding, body, status) in [
        ("lines", "gzip", gzip(lines), 204),
        ("two members", "gzip", [gzip(&lines[..100]), gzip(&lines[100..])].concat(), 204),
        ("lines", "zstd", zstd(lines), 204),
        ("array", "gzip", gzip(array), 204),
        ("array", "identity", array.to_vec(), 204),
        ("as much as fits", "gzip", gzip(&nothing), 204),
        ("as much as fits", "zstd", zstd(&nothing), 204),
        ("a bomb", "gzip", gzip(&too_much), 413),
        ("a bomb", "zstd", zstd(&too_much), 413),
        ("cut off", "gzip", cut(gzip(lines)), 400),
        ("cut off", "zstd", cut(zstd(lines)), 400),
        ("something else", "gzip", lines.to_vec(), 400),
        ("something else", "zstd", gzip(lines), 400),
        ("an array that does not end", "identity", array[..array.len() - 1].to_vec(), 400),
    ] {
        let request = reqwest::Client::new().post(format!("{}/analytics/batch", daemon.url())).body(body);
        let answer = request.header("content-encoding", coding).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name} {coding}");
    }
    let broken = daemon.post_batch(array[..array.len() - 1].to_vec()).await;
    let problem: serde_json::Value = broken.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("The body begins as a JSON array and is not a whole one: EOF"), "{detail}");
    assert!(detail.ends_with("Nothing of the batch was stored.") && problem["line"].is_null(), "{problem}");
    assert_eq!(daemon.counts(chrono::DateTime::from_timestamp_millis(TEN).unwrap()).await, counts(1_000, 5_000, 0));
}

#[tokio::test]
async fn a_user_that_a_program_writes_for_none_is_stored_with_a_warning() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (user, warns) in [("undefined", true), ("null", true), ("%20", true), ("anna", false)] {
        let url = format!("{}/analytics?timestamp={TEN}&event=click&user={user}", daemon.url());
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers().contains_key("analytics-warning"), warns, "{user}");
    }
    let answer = daemon.post_batch(line(TEN, "anna", "click") + &line(TEN, "undefined", "click")).await;
    assert!(answer.headers().contains_key("analytics-warning"));
}

#[tokio::test]
async fn a_batch_may_name_visitors_by_address_and_browser_as_the_pixel_does_and_neither_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let now = chrono::Utc::now();
    let line = |address: &str, agent: &str| {
        let at = now.timestamp_millis();
        format!("{{\"timestamp\":{at},\"address\":\"{address}\",\"agent\":\"{agent}\",\"event\":\"impression\"}}\n")
    };
    let pixel = reqwest::Client::new().get(format!("{}/analytics.gif", daemon.url())).header("user-agent", "Firefox");
    assert_eq!(pixel.send().await.unwrap().status(), StatusCode::OK);
    let lines = [
        line("127.0.0.1", "Firefox"),
        line("::ffff:127.0.0.1", "Firefox"),
        line("127.0.0.1:50718", "Chrome"),
        line("192.0.2.1", "Firefox"),
    ];
    assert_eq!(daemon.post_batch(lines.concat()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(now).await, counts(3, 0, 5));
    let names = database.client().await.query("select user_name from analytics.events", &[]).await.unwrap();
    assert!(names.iter().all(|row| row.get::<_, &str>(0).starts_with("anonymous-")));
}

#[tokio::test]
async fn a_batch_beyond_a_limit_gets_413_which_names_the_limit_and_nothing_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut too_many = String::new();
    for n in 0..=MAX_BATCH_EVENTS {
        too_many += &line(TEN, &n.to_string(), "click");
    }
    let mut too_many_hours = String::new();
    for n in 0..=i64::try_from(MAX_BATCH_HOURS).unwrap() {
        too_many_hours += &line(TEN + n * 3_600_000, "a", "click");
    }
    let mut too_long = String::new();
    while too_long.len() <= MAX_BATCH_BYTES {
        let _ = writeln!(
            too_long,
            "{{\"timestamp\":1,\"user\":\"a\",\"event\":\"click\",\"more\":\"{}\"}}",
            "x".repeat(10_000)
        );
    }
    for (body, limit) in [(too_many, MAX_BATCH_EVENTS), (too_many_hours, MAX_BATCH_HOURS), (too_long, MAX_BATCH_BYTES)]
    {
        let answer = daemon.post_batch(body).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{limit}");
        let problem: Problem = answer.json().await.unwrap();
        assert!(problem.detail.contains(&limit.to_string()), "{problem:?}");
    }
    assert_eq!(stored_events(&database).await, 0);
}

#[tokio::test]
async fn the_largest_batch_is_accepted() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let mut body = String::new();
    for n in 0..MAX_BATCH_EVENTS {
        let hour = i64::try_from(n % MAX_BATCH_HOURS).unwrap();
        body += &line(TEN + hour * 3_600_000, &format!("{n:0256}"), "click");
    }
    assert_eq!(daemon.post_batch(body).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stored_events(&database).await, i64::try_from(MAX_BATCH_EVENTS).unwrap());
}
