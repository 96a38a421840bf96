use std::{fs, time::Duration};

use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours};

use crate::{Run, command};

on_both_flavours!(a_partner_is_set_up_in_three_commands_and_sees_its_own_counts_only);

async fn run(database: &TestDatabase, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("DATABASE_URL", database.url());
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// Runs a command that must succeed, and returns what it prints.
async fn done(database: &TestDatabase, arguments: &[&str]) -> String {
    let run = run(database, arguments).await;
    assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
    run.stdout
}

async fn asks(daemon: &Daemon, token: &str, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    command.env("ANALYTICS_SERVER", daemon.url());
    if !token.is_empty() {
        command.env("ANALYTICS_TOKEN", token.trim());
    }
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// Repeats a command until it succeeds, as it must once the daemon knows what was made.
async fn comes_to_succeed(daemon: &Daemon, token: &str, arguments: &[&str]) -> String {
    let tries = async {
        loop {
            let run = asks(daemon, token, arguments).await;
            if run.code == 0 {
                return run.stdout;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), tries).await.unwrap_or_else(|_| panic!("{arguments:?} never succeeds"))
}

async fn a_partner_is_set_up_in_three_commands_and_sees_its_own_counts_only(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start_with(["--database-url", database.url()]).await;
    let operator = done(&database, &["token", "create", "operator", "--scope", "write,read"]).await;

    done(&database, &["site", "create", "shop"]).await;
    let page = ["token", "create", "shop page", "--public", "--origin", "https://shop.example", "--site", "shop"];
    let key = done(&database, &page).await;
    let partner = done(&database, &["token", "create", "shop read", "--scope", "read", "--site", "shop"]).await;

    // A daemon that knows the last of them knows them all.
    comes_to_succeed(&daemon, &partner, &["query"]).await;
    comes_to_succeed(&daemon, &operator, &["send", "--user", "ann", "--event", "click"]).await;
    let url = format!(
        "{}/analytics?timestamp={}&user=ann&event=impression&key={}",
        daemon.url(),
        chrono::Utc::now().timestamp_millis(),
        key.trim()
    );
    let counted = daemon.http().post(url).header("origin", "https://shop.example").send().await.unwrap();
    assert_eq!(counted.status(), 204);
    for arguments in [&["query", "--format", "csv"][..], &["query", "--format", "csv", "--site", "shop"]] {
        let seen = comes_to_succeed(&daemon, &partner, arguments).await;
        assert!(seen.contains(",1,0,1\n"), "{arguments:?}: {seen}");
    }
    let seen = comes_to_succeed(&daemon, &operator, &["query", "--format", "csv"]).await;
    assert!(seen.contains(",1,1,0\n"), "{seen}");
    let top = comes_to_succeed(&daemon, &operator, &["top", "--format", "csv", "--site", "shop"]).await;
    assert!(top.contains(",1,0,1\n"), "{top}");
    let refused = asks(&daemon, &partner, &["query", "--site", "rival"]).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("may not use this site"), "{}", refused.stderr);

    let tokens = done(&database, &["token", "list", "--format", "json"]).await;
    let tokens: serde_json::Value = serde_json::from_str(&tokens).unwrap();
    let sites: Vec<_> = tokens.as_array().unwrap().iter().map(|token| token["sites"].clone()).collect();
    assert_eq!(sites, [serde_json::json!(null), serde_json::json!(["shop"]), serde_json::json!(["shop"])]);
}

#[tokio::test]
async fn sites_are_made_listed_renamed_archived_and_deleted_and_what_cannot_be_done_says_why() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    done(&database, &["site", "create", "shop"]).await;
    done(&database, &["site", "create", "blog"]).await;
    let refused = async |arguments: &[&str], why: &str| {
        let run = run(&database, arguments).await;
        assert_ne!(run.code, 0, "{arguments:?}");
        assert!(run.stderr.contains(why), "{arguments:?}: {}", run.stderr);
    };
    refused(&["site", "create", "shop"], "there is a site shop already").await;
    refused(&["site", "create", "a b"], "holds something else").await;
    refused(&["site", "rename", "nothing", "x"], "there is no site nothing").await;
    refused(&["site", "rename", "blog", "shop"], "there is a site shop already").await;
    refused(&["site", "archive", "nothing"], "there is no site nothing").await;
    refused(&["site", "delete", "nothing"], "there is no site nothing").await;
    refused(&["site", "delete", "blog"], "give --yes").await;
    refused(&["token", "create", "x", "--scope", "read", "--site", "nothing"], "there is no site nothing").await;
    refused(&["token", "create", "x", "--scope", "admin", "--site", "shop"], "is for all sites").await;
    refused(&["verify", "--site", "nothing"], "there is no site nothing").await;
    refused(&["forget", "ann", "--site", "nothing"], "there is no site nothing").await;

    done(&database, &["site", "rename", "blog", "news"]).await;
    done(&database, &["site", "archive", "news"]).await;
    let listed: serde_json::Value =
        serde_json::from_str(&done(&database, &["site", "list", "--format", "json"]).await).unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|site| site["site"].as_str().unwrap()).collect();
    assert_eq!(names, ["news", "shop"]);
    assert!(listed[0]["archived_at"].is_string() && listed[1]["archived_at"].is_null(), "{listed}");
    done(&database, &["site", "archive", "news", "--undo"]).await;
    done(&database, &["site", "delete", "news", "--yes"]).await;
    let table = done(&database, &["site", "list"]).await;
    assert!(table.contains("shop") && !table.contains("news"), "{table}");
}

#[tokio::test]
async fn a_file_is_imported_into_a_site_its_hours_are_verified_and_its_visitors_forgotten_there_alone() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await;
    done(&database, &["site", "create", "shop"]).await;
    done(&database, &["site", "create", "blog"]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.csv");
    // The last one names its site itself.
    let rows =
        "timestamp,user,event,site\n1431857103000,ann,click,\n1431857103001,ben,click,\n1431857103002,ann,click,blog\n";
    fs::write(&file, rows).unwrap();
    let file = file.to_str().unwrap();
    comes_to_succeed(&daemon, "", &["import", "--format", "csv", "--site", "shop", file]).await;
    // Once more, and into another site, where it is another source.
    comes_to_succeed(&daemon, "", &["import", "--format", "csv", "--site", "shop", file]).await;
    comes_to_succeed(&daemon, "", &["import", "--format", "csv", file]).await;
    let counts = async |site: &[&str]| {
        let query = [&["query", "--at", "1431857103000", "--format", "csv"], site].concat();
        comes_to_succeed(&daemon, "", &query).await.lines().nth(1).unwrap().to_owned()
    };
    let row = |counts: &str| format!("2015-05-17T10:00:00Z,{counts}");
    assert_eq!(counts(&["--site", "shop"]).await, row("2,2,0"));
    assert_eq!(counts(&[]).await, row("2,2,0"));
    assert_eq!(counts(&["--site", "blog"]).await, row("1,2,0"));

    let verified = run(&database, &["verify"]).await;
    assert_eq!((verified.code, verified.stderr.as_str()), (0, "verified 3 hours, 6 events; 0 differ\n"));
    // Several writers may have a counter each.
    let tamper = "update analytics.hour_counts set clicks = clicks + 1 \
                  where ctid in (select min(ctid) from analytics.hour_counts where site > 0 group by site)";
    database.client().await.batch_execute(tamper).await.unwrap();
    let one = run(&database, &["verify", "--site", "blog", "--format", "csv"]).await;
    assert_eq!((one.code, one.stderr.as_str()), (1, "verified 1 hours, 2 events; 1 differ\n"));
    let line = one.stdout.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("2015-05-17T10:00:00Z,open,1,2,0,1,3,0,") && line.ends_with(",blog"), "{}", one.stdout);
    let advised = run(&database, &["verify", "--repair"]).await.stderr;
    assert!(advised.contains("`--repair --site blog --accept-loss 2015-05-17T10:00:00Z`"), "{advised}");
    let loss = ["verify", "--repair", "--site", "blog", "--accept-loss", "2015-05-17T10:00:00Z"];
    assert_eq!(run(&database, &loss).await.code, 0);
    let left = run(&database, &["verify"]).await;
    assert_eq!((left.code, left.stderr.as_str()), (1, "verified 3 hours, 6 events; 1 differ\n"));

    done(&database, &["forget", "ann", "--site", "blog", "--yes"]).await;
    assert_eq!(counts(&["--site", "blog"]).await, row("0,0,0"));
    assert_eq!(counts(&[]).await, row("2,2,0"), "another ann");
    done(&database, &["forget", "ann", "--yes"]).await;
    assert_eq!(counts(&[]).await, row("1,1,0"));
}
