//! Small files of the kinds that people bring, each with the counts that are right.

use db::Flavour;
use harness::{Daemon, TestDatabase};

use crate::{Run, command};

/// A file, more options, and what is right: the exit code, unique users of all hours together by name, clicks,
/// impressions, and words of the messages.
struct Case {
    file: &'static str,
    options: &'static [&'static str],
    code: i32,
    users: &'static [&'static str],
    clicks: u64,
    impressions: u64,
    says: &'static [&'static str],
}

const CASES: [Case; 13] = [
    Case {
        file: "k1-vhost-combined.log",
        options: &["--own-host", "shop.example"],
        code: 0,
        users: &["192.0.2.1", "192.0.2.2", "192.0.2.3"],
        clicks: 1,
        impressions: 2,
        says: &["read as combined"],
    },
    Case {
        file: "k1-xff-list.log",
        options: &["--format", "combined", "--trusted-proxies", "10.0.0.0/8"],
        code: 0,
        users: &["192.0.2.1"],
        clicks: 0,
        impressions: 3,
        says: &[],
    },
    Case {
        file: "k1-xff-list.log",
        options: &[],
        code: 1,
        users: &["192.0.2.1"],
        clicks: 0,
        impressions: 1,
        says: &["--trusted-proxies", "skipped: 2"],
    },
    Case {
        file: "k1-addresses.log",
        options: &[],
        code: 1,
        users: &["192.0.2.1", "2001:db8::1", "fe80::a00:27ff:fe00:1", "host-1.example.net"],
        clicks: 0,
        impressions: 8,
        says: &["\"unix:\", which is neither an address nor a host", "skipped: 1"],
    },
    Case {
        file: "k4-access.log.gz",
        options: &[],
        code: 0,
        users: &["192.0.2.1"],
        clicks: 0,
        impressions: 2,
        says: &["read as combined"],
    },
    Case {
        file: "k4-utf16.csv",
        options: &["--format", "csv"],
        code: 0,
        users: &["anna"],
        clicks: 1,
        impressions: 0,
        says: &[],
    },
    Case {
        file: "k5-assets.log",
        options: &["--own-host", "bücher.example", "--own-host", "shop.example"],
        code: 0,
        users: &[
            "192.0.2.18",
            "192.0.2.2",
            "192.0.2.23",
            "192.0.2.26",
            "192.0.2.27",
            "192.0.2.28",
            "192.0.2.30",
            "192.0.2.31",
            "192.0.2.32",
            "192.0.2.33",
        ],
        clicks: 3,
        impressions: 7,
        says: &[],
    },
    Case { file: "k6-id-column.csv", options: &[], code: 0, users: &["anna"], clicks: 1, impressions: 0, says: &[] },
    Case {
        file: "k6-seconds.csv",
        options: &[],
        code: 2,
        users: &[],
        clicks: 0,
        impressions: 0,
        says: &["k6-seconds.csv:2: timestamp looks like seconds", "--timestamps s"],
    },
    Case {
        file: "k6-seconds.csv",
        options: &["--timestamps", "s"],
        code: 0,
        users: &["anna", "ben"],
        clicks: 1,
        impressions: 1,
        says: &[],
    },
    Case {
        file: "k6-variants.ndjson",
        options: &[],
        code: 1,
        users: &[" a22 ", "a1", "a10", "a11", "a16", "a17", "a2", "a4", "a6", "a7", "undefined"],
        clicks: 11,
        impressions: 0,
        says: &["skipped: 10"],
    },
    Case {
        file: "k7-common.log",
        options: &[],
        code: 0,
        users: &["192.0.2.1", "192.0.2.2"],
        clicks: 0,
        impressions: 2,
        says: &["read as common"],
    },
    Case {
        file: "k7-caddy.json",
        options: &[],
        code: 0,
        users: &["192.0.2.1"],
        clicks: 0,
        impressions: 1,
        says: &["read as json"],
    },
];

#[tokio::test]
async fn files_of_every_kind_are_counted_rightly_or_refused_with_the_reason() {
    for Case { file, options, code, users, clicks, impressions, says } in CASES {
        let database = TestDatabase::new(Flavour::Postgres).await;
        let daemon = Daemon::start(database.url()).await;
        let path = format!("{}/tests/cases/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut import = command(&["import", &path]);
        import.args(options).env("ANALYTICS_SERVER", daemon.url());
        let run: Run = tokio::task::spawn_blocking(move || import.output().unwrap().into()).await.unwrap();
        assert_eq!(run.code, code, "{file}: {}{}", run.stdout, run.stderr);
        for words in says {
            assert!(run.stderr.contains(words), "{file}: {words} in {}", run.stderr);
        }
        let counts = database.store().brute_force_counts().await.unwrap();
        let sum = |of: fn(&model::HourCounts) -> u64| counts.iter().map(|(_, counts)| of(counts)).sum::<u64>();
        assert_eq!((sum(|it| it.clicks), sum(|it| it.impressions)), (clicks, impressions), "{file}: {}", run.stderr);
        let rows =
            database.client().await.query("select distinct user_name from analytics.events order by 1", &[]).await;
        let seen: Vec<String> = rows.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(seen, users, "{file}");
    }
}

#[tokio::test]
async fn with_address_and_agent_two_browsers_at_one_address_are_two_visitors_and_neither_is_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let path = format!("{}/tests/cases/k4-access.log.gz", env!("CARGO_MANIFEST_DIR"));
    let mut import = command(&["import", "--visitor", "address+agent", &path]);
    import.env("ANALYTICS_SERVER", daemon.url());
    let run: Run = tokio::task::spawn_blocking(move || import.output().unwrap().into()).await.unwrap();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let counts = database.store().brute_force_counts().await.unwrap();
    assert_eq!((counts[0].1.unique_users, counts[0].1.impressions), (2, 2));
    let rows = database.client().await.query("select user_name from analytics.events", &[]).await.unwrap();
    assert!(rows.iter().all(|row| row.get::<_, &str>(0).starts_with("anonymous-")));
}
