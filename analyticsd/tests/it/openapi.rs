use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use model::access::Scope;
use reqwest::StatusCode;
use tokio::{process::Command, time::timeout};

use crate::tokens::{closed, token};

/// Where `make test` installs schemathesis.
fn schemathesis() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join(".tools/schemathesis/bin/st")
}

/// Every answer to requests that are generated from the document, right and wrong ones, is one that the document names.
#[tokio::test]
async fn the_document_and_the_server_agree() {
    let program = schemathesis();
    assert!(
        program.is_file(),
        "{} is not there: run `scripts/prerequisites tests`, which needs Python 3",
        program.display()
    );
    let database = TestDatabase::new(Flavour::Postgres).await;
    let token = token(&database, &[Scope::Write, Scope::Read]).await;
    // Limits that no request exceeds, because a refused request would test nothing else; but every answer has their
    // headers.
    let limits = ["--rate-limit-per-address", "1000000/s", "--rate-limit-per-token", "1000000/s"];
    let daemon = closed(&database, &[&["--trusted-proxies", "127.0.0.1"], &limits[..]].concat()).await;
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .current_dir(dir.path())
        .env("SCHEMATHESIS_HOOKS", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/hooks.py"))
        // Otherwise Python would write compiled hooks beside the hooks.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .arg("run")
        .arg(format!("{}/openapi.json", daemon.url()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "1"])
        // No schema can forbid a range that ends before it begins. The one required header is added also to requests
        // that are meant to lack it. `ignored_auth`, which leaves the token out, checks whether one is needed.
        .args(["--exclude-checks", "positive_data_acceptance,missing_required_header", "--continue-on-failure"])
        // The stream never ends; another test covers it.
        .args(["--exclude-path", "/analytics/stream", "--request-timeout", "20"])
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_mins(4), output).await.expect("it ends in time").unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!report.contains("Unresolvable"), "{report}");
}

#[tokio::test]
async fn the_documentation_is_served_without_files_of_other_sites() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let page = daemon.get("/docs").await;
    assert_eq!(page.url().path(), "/docs/");
    let page = page.text().await.unwrap();
    assert!(page.contains("swagger-ui-bundle.js") && !page.contains("https://"), "{page}");
    for file in ["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css", "swagger-initializer.js"]
    {
        assert_eq!(daemon.get(&format!("/docs/{file}")).await.status(), StatusCode::OK, "{file}");
    }
    assert_eq!(daemon.get("/docs/../Cargo.toml").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(daemon.get("/docs/nothing").await.status(), StatusCode::NOT_FOUND);
}
