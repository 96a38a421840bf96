//! Several generators at the same time, whose reports are judged together.

use std::path::{Path, PathBuf};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use serde_json::Value;

use crate::{
    liar::{Liar, Lie, Memory},
    liars::run_until,
    loadtest, result_of,
};

/// Makes three runs at the same time, and returns their reports.
async fn three_runs(host: &str, dir: &Path) -> Vec<PathBuf> {
    let run = async |name: &str| {
        let report_dir = dir.join(name);
        let mut command = loadtest();
        command.args(["--host", host, "--users", "4", "--run-time", "2s", "--part", "--report-dir"]).arg(&report_dir);
        let (code, printed) = result_of(&command.output().await.unwrap());
        // An event for a past hour may be one that only one of them knows of.
        assert!(code == Some(0) || printed.contains("FAILED ledger"), "{printed}");
        report_dir.join("report.json")
    };
    let (one, two, three) = tokio::join!(run("one"), run("two"), run("three"));
    vec![one, two, three]
}

async fn merge(reports: &[PathBuf], arguments: &[&str]) -> (Option<i32>, String) {
    result_of(&loadtest().arg("merge").args(reports).args(arguments).output().await.unwrap())
}

#[tokio::test]
async fn three_generators_at_the_same_time_are_proven_together() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let reports = three_runs(daemon.url(), dir.path()).await;
    let merged = dir.path().join("merged");
    for host in [&["--host", daemon.url()][..], &[]] {
        let summary = merged.join("summary.md");
        let outputs = ["--report-dir", merged.to_str().unwrap(), "--summary", summary.to_str().unwrap()];
        let arguments = [host, &["--max-error-rate", "0"], &outputs].concat();
        let (code, printed) = merge(&reports, &arguments).await;
        assert_eq!(code, Some(0), "{printed}");
        let summary = std::fs::read_to_string(&summary).unwrap();
        let (_, files) = summary.rsplit_once("Files: ").unwrap();
        for name in files.trim_end().trim_end_matches('.').split(", ") {
            let target = name.rsplit('(').next().unwrap().trim_end_matches(')');
            assert!(merged.join(target).exists(), "{target}: {files}");
        }
        let hours = database.store().brute_force_counts().await.unwrap();
        let stored: u64 = hours.iter().map(|(_, counts)| counts.clicks + counts.impressions).sum();
        let report: Value = serde_json::from_slice(&std::fs::read(merged.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["ledger"]["acknowledged"], stored);
        assert_eq!(report["runs"].as_array().unwrap().len(), 3);
        assert_eq!(report["plan"][0]["load"]["users"]["to"], 12);
    }
}

#[tokio::test]
async fn parts_that_share_a_folder_have_one_each_and_are_judged_by_the_folder() {
    let liar = Liar::start(Lie::None).await;
    let dir = tempfile::tempdir().unwrap();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let run = async |name: &str| {
        let mut command = loadtest();
        command.args(["--host", &*liar.url, "--users", "4", "--run-time", "1s", "--part", "--report-dir"]);
        command.arg(dir.path().join(name)).output().await.unwrap()
    };
    tokio::join!(run("one-{host}"), run("two-{host}"));
    assert!(dir.path().join(format!("one-{host}/report.json")).exists());
    let (code, printed) = merge(&[dir.path().to_owned()], &[]).await;
    assert_eq!(code, Some(0), "{printed}");
}

#[tokio::test]
async fn one_event_that_is_lost_or_counted_twice_is_found_though_each_alone_cannot_know() {
    for (lie, fault) in [(Lie::LosesOne(500), "1 missing"), (Lie::CountsOneTwice(500), "1 too many")] {
        let liar = Liar::start(lie).await;
        let dir = tempfile::tempdir().unwrap();
        let reports = three_runs(&liar.url, dir.path()).await;
        for host in [&["--host", &*liar.url][..], &[]] {
            let (code, printed) = merge(&reports, host).await;
            assert_eq!(code, Some(1), "{printed}");
            assert!(printed.contains(fault), "{printed}");
            assert_eq!(printed.contains("the report of a part was not given"), fault == "1 too many", "{printed}");
        }
    }
}

#[tokio::test]
async fn one_late_event_is_found_though_those_of_other_generators_are_counted_meanwhile() {
    let liar = Liar::start(Lie::DelaysOne(500)).await;
    let dir = tempfile::tempdir().unwrap();
    let dir_of = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let run = async |name: &str| {
        let folder = dir_of(name);
        let arguments = ["--users", "4", "--run-time", "1min", "--part", "--report-dir", &folder];
        run_until(&liar, &arguments, Memory::is_counted_late).await
    };
    tokio::join!(run("one"), run("two"), run("three"));
    let (code, printed) = merge(&[dir.path().to_owned()], &[]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED parts") && printed.contains("1 missing"), "{printed}");
    assert!(printed.contains("ok     ledger"), "{printed}");
}

#[tokio::test]
async fn reports_that_do_not_belong_together_are_refused() {
    let liar = Liar::start(Lie::None).await;
    let dir = tempfile::tempdir().unwrap();
    let reports = three_runs(&liar.url, dir.path()).await;
    let (code, printed) = merge(&[reports[0].clone(), reports[0].clone()], &[]).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("same run"), "{printed}");
    let (code, printed) = merge(&[reports[0].clone()], &[]).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("fewer than two reports"), "{printed}");
    let (code, printed) = merge(&[reports[0].clone(), dir.path().join("none.json")], &[]).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("none.json") && printed.contains("give a report.json"), "{printed}");

    let honest = std::fs::read_to_string(&reports[0]).unwrap();
    let other = dir.path().join("other.json");
    for (written, forged, said) in [
        (r#""faults":[]"#, r#""faults":["\u001b[31m"]"#, "counts \\u{1b}[31m"),
        (r#""began_at":""#, r#""began_at":"+262142-12-31T23:59:59Z","was":""#, "are impossible"),
        (r#""retries_made":0"#, r#""retries_made":18446744073709551615"#, "are impossible"),
    ] {
        let report = honest.replace(": ", ":").replace(":[\n", ":[").replacen(written, forged, 1);
        std::fs::write(&other, report).unwrap();
        let (code, printed) = merge(&[reports[1].clone(), other.clone()], &[]).await;
        assert!([Some(1), Some(2)].contains(&code), "{printed}");
        assert!(printed.contains(said) && !printed.contains('\u{1b}'), "{said}: {printed}");
    }
}
