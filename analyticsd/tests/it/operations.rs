//! Compares what an operator gets (docs/operate, the alerts and the dashboard) with what the daemon exposes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use chrono::Utc;
use db::Flavour;
use harness::{Daemon, TestDatabase, server_dir};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{sleep, timeout},
};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn read(path: &str) -> String {
    fs::read_to_string(docs().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics of a daemon that did a little of everything.
async fn all_metrics() -> String {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let dir = server_dir();
    let spool = dir.path().join("spool");
    let daemon = Daemon::start_with([
        "--database-url",
        database.url(),
        "--admin-listen",
        "127.0.0.1:0",
        "--spool",
        spool.to_str().unwrap(),
    ])
    .await;
    assert_eq!(daemon.post(Utc::now(), "anna", "click").await, StatusCode::NO_CONTENT);
    let settling = async {
        while daemon.metric("analyticsd_settler_lag_seconds").await.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), settling).await.expect("the daemon becomes the settler");
    daemon.metrics().await
}

/// One metric: its type and its labels, in alphabetical order.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    kind: String,
    labels: BTreeSet<String>,
}

/// Every metric by the name that queries use: the family's name, with a suffix for counters.
fn exposed(metrics: &str) -> BTreeMap<String, Kind> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (family, kind) = line.split_once(' ').unwrap();
            let name = if kind == "counter" { format!("{family}_total") } else { family.to_owned() };
            let sample = if kind == "histogram" { format!("{family}_count") } else { name.clone() };
            let mut labels = BTreeSet::new();
            for line in metrics.lines() {
                if let Some(rest) = line.strip_prefix(&sample).and_then(|rest| rest.strip_prefix('{')) {
                    let inside = rest.split_once('}').unwrap().0;
                    labels.extend(inside.split(',').map(|label| label.split_once('=').unwrap().0.to_owned()));
                }
            }
            (name, Kind { kind: kind.to_owned(), labels })
        })
        .collect()
}

/// The items of docs/operate/metrics.md that explain a metric: `` - `name` (type; `label`, `label`). Meaning ``.
fn documented(text: &str) -> BTreeMap<String, Kind> {
    let mut items = BTreeMap::new();
    // An item may have several lines.
    let text = text.replace("\n  ", " ");
    for line in text.lines() {
        let item = line.strip_prefix("- `").and_then(|line| line.split_once("` ("));
        let Some((name, (kind, meaning))) = item.and_then(|(name, rest)| Some((name, rest.split_once("). ")?))) else {
            continue;
        };
        assert!(meaning.len() > 10, "{name} is explained");
        let (kind, labels) = kind.split_once("; ").unwrap_or((kind, ""));
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        let there = items.insert(name.to_owned(), Kind { kind: kind.to_owned(), labels });
        assert_eq!(there, None, "{name} is explained once");
    }
    items
}

/// Every name in a query that looks like one of ours or of the process.
fn names_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("analyticsd_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The names of all samples.
fn samples(metrics: &BTreeMap<String, Kind>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, Kind { kind, .. }) in metrics {
        if kind == "histogram" {
            names.extend(["bucket", "count", "sum"].map(|part| format!("{name}_{part}")));
        } else {
            names.insert(name.clone());
        }
    }
    names
}

#[tokio::test]
async fn the_documentation_explains_exactly_the_metrics_that_exist() {
    let exposed = exposed(&all_metrics().await);
    let documented = documented(&read("operate/metrics.md"));
    let missing: Vec<_> = exposed.keys().filter(|name| !documented.contains_key(*name)).collect();
    assert!(missing.is_empty(), "not explained: {missing:?}");
    let strange: Vec<_> = documented.keys().filter(|name| !exposed.contains_key(*name)).collect();
    assert!(strange.is_empty(), "explained, and not there: {strange:?}");
    for (name, kind) in &exposed {
        if name == "analyticsd_kafka_lag_messages" {
            // It has a series for each partition, and this daemon reads no topic.
            assert_eq!((&*documented[name].kind, kind.labels.len()), ("gauge", 0), "{name}");
        } else {
            assert_eq!(&documented[name], kind, "{name}");
        }
    }
}

#[tokio::test]
async fn dashboard_alerts_and_examples_use_only_metrics_that_exist() {
    let samples = samples(&exposed(&all_metrics().await));
    let mut used = BTreeSet::new();
    for file in ["prometheus/alerts.yml", "prometheus/alerts.test.yml", "grafana/operations.json"] {
        let names = names_in(&read(file));
        let strange: Vec<_> = names.difference(&samples).collect();
        assert!(strange.is_empty(), "{file} uses {strange:?}");
        used.extend(names);
    }
    assert!(used.len() > 30, "{used:?}");
}

#[test]
fn each_alert_is_explained_and_tested() {
    let text = read("prometheus/alerts.yml");
    let alerts: BTreeSet<_> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let explained = read("operate/alerts.md");
    let explained: BTreeSet<_> = explained
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|name| name.starts_with("Analytics"))
        .collect();
    assert_eq!(explained, alerts);
    let tests = read("prometheus/alerts.test.yml");
    for alert in alerts {
        assert!(text.contains(&format!("runbook: docs/operate/alerts.md#{}\n", alert.to_lowercase())), "{alert}");
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is tested");
    }
}

#[test]
fn the_dashboard_can_be_imported_and_describes_its_panels() {
    let dashboard: Value = serde_json::from_str(&read("grafana/operations.json")).unwrap();
    assert_eq!(dashboard["uid"], "analytics-operations");
    let source = &dashboard["templating"]["list"][0];
    assert_eq!(
        (&source["name"], &source["type"], &source["query"]),
        (&"source".into(), &"datasource".into(), &"prometheus".into())
    );
    let panels = dashboard["panels"].as_array().unwrap();
    let of_kind = |is_row: bool| panels.iter().filter(move |panel| (panel["type"] == "row") == is_row);
    let rows: Vec<_> = of_kind(true).map(|row| row["title"].as_str().unwrap()).collect();
    let questions =
        ["Is it losing anything?", "Is it keeping up?", "What is full?", "What do sites get?", "How do the shards do?"];
    assert_eq!(rows, questions);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    for panel in of_kind(false) {
        assert_eq!(panel["datasource"]["uid"], "${source}", "{panel}");
        assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{panel}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
    }
}

/// promtool reads the older format, in which the names of counters end with `_total` everywhere.
fn as_older_format(metrics: &str) -> String {
    let counters = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters: BTreeSet<_> = counters.collect();
    let lines = metrics.lines().filter(|line| *line != "# EOF").map(|line| {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                format!("# {what} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    });
    lines.collect()
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match command.spawn() {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: promtool is not installed (on Debian: apt-get install prometheus)");
            return;
        }
        Err(error) => panic!("promtool cannot be run: {error}"),
    };
    let metrics = as_older_format(&all_metrics().await);
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).await.unwrap();
    let done = promtool.wait_with_output().await.unwrap();
    let output = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    // This metric counts hours; it is not a duration.
    let faults: Vec<_> =
        output.lines().filter(|line| !line.ends_with("use base unit \"seconds\" instead of \"hours\"")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(output.contains("analyticsd_open_hours"), "it checked the metrics: {output}");
}
