//! Every file of the corpus, whole and damaged, through the real command line into the real daemon. The many
//! arbitrary ones go through the reader alone, in its unit tests.

use std::{fs, path::Path};

use db::Flavour;
use harness::{Daemon, TestDatabase};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{Run, command};

fn corpus(format: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/event-files/tests/corpus").join(format);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_file_gives_one_of_three_exit_codes_and_events_that_are_reported_as_stored_are_stored() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let url = daemon.url().to_owned();
    let client = database.client().await;
    let runtime = tokio::runtime::Handle::current();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("input");
    let check = move |format: &str, input: &[u8]| {
        let stored = || {
            let count = "select count(*) from analytics.events";
            runtime.block_on(client.query_one(count, &[])).unwrap().get::<_, i64>(0)
        };
        let before = stored();
        fs::write(&file, input).unwrap();
        let arguments = ["import", "--format", format, "--batch-size", "2", "--without-source", file.to_str().unwrap()];
        let run: Run = command(&arguments).env("ANALYTICS_SERVER", &url).output().unwrap().into();
        assert!((0..=2).contains(&run.code), "{format}: {} {}", run.code, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        let said = run.stdout.lines().find_map(|line| line.strip_prefix("events,"));
        assert!(
            said.is_some() || run.code == 2,
            "only a file that is refused as a whole has no summary: {}",
            run.stderr
        );
        let said: i64 = said.map_or(0, |events| events.parse().unwrap());
        assert_eq!(stored() - before, said, "{format}: {}{}", run.stdout, run.stderr);
        said
    };
    tokio::task::spawn_blocking(move || {
        let config = Config { cases: 15, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        for format in ["ndjson", "csv", "common", "combined", "json", "w3c", "elb"] {
            let seeds = corpus(format);
            let most = seeds.iter().map(|seed| check(format, seed)).max();
            assert!(most > Some(0), "the corpus of {format} holds good lines too");
            let damaged = (prop::sample::select(seeds), any::<prop::sample::Index>(), any::<[u8; 3]>());
            let tried = runner.run(&damaged, |(mut input, at, bytes)| {
                let at = at.index(input.len());
                input.splice(at..(at + 2).min(input.len()), bytes);
                check(format, &input);
                check("auto", &input);
                Ok(())
            });
            tried.unwrap_or_else(|error| panic!("{error}"));
        }
    })
    .await
    .unwrap();
}
