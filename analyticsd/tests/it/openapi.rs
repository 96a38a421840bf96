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

/// Every answer to requests that are drawn from the document, right and wrong ones, is one that the document names.
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
    // Limits that nobody reaches, since a request that came too often would say nothing of what it holds; but all are told of them.
    let limits = ["--rate-limit-per-address", "1000000/s", "--rate-limit-per-token", "1000000/s"];
    let daemon = closed(&database, &[&["--trusted-proxies", "127.0.0.1"], &limits[..]].concat()).await;
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .current_dir(dir.path())
        .env("SCHEMATHESIS_HOOKS", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/hooks.py"))
        // Compiled hooks would stay beside the hooks.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .arg("run")
        .arg(format!("{}/openapi.json", daemon.url()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "40", "--seed", "1"])
        // A range may be written backwards, which no schema can forbid; and the one header that is required is added to those requests, too, that it
        // means to send without. Whether a token is needed is looked at by `ignored_auth`, which leaves it out.
        .args(["--exclude-checks", "positive_data_acceptance,missing_required_header", "--continue-on-failure"])
        // It goes on for ever, which is another test's affair.
        .args(["--exclude-path", "/analytics/stream", "--request-timeout", "20"])
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_mins(4), output).await.expect("it ends in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("Unresolvable"), "{said}");
}

#[tokio::test]
async fn the_documentation_is_served_without_anything_from_elsewhere() {
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
