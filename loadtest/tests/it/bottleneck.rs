//! A generator that does not come to its turn.

use std::{process::Stdio, time::Duration};

use harness::signal;
use tokio::time::sleep;

use crate::{
    liar::{Liar, Lie},
    loadtest, result_of,
};

/// The latencies that it measured are short, since a request that is under way when it stops is one of thousands.
#[tokio::test]
async fn a_run_in_which_the_generator_was_late_says_so_and_its_latencies_prove_nothing() {
    let liar = Liar::start(Lie::None).await;
    let mut run = loadtest()
        .args([
            "--host",
            &liar.url,
            "--users",
            "4",
            "--run-time",
            "3s",
            "--max-p50-ms",
            "100",
            "--max-p90-ms",
            "5000",
            "--min-rps",
            "1",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = run.id().unwrap();
    while run.try_wait().unwrap().is_none() {
        // It may have ended since.
        let _ = signal(pid, "STOP").await;
        sleep(Duration::from_millis(150)).await;
        let _ = signal(pid, "CONT").await;
        sleep(Duration::from_millis(100)).await;
    }
    let (code, printed) = result_of(&run.wait_with_output().await.unwrap());
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("DOUBT  generator") && printed.contains("THE GENERATOR WAS THE BOTTLENECK"), "{printed}");
    assert!(printed.contains("FAILED gate: p50 of all requests") && printed.contains("proves nothing"), "{printed}");
    assert!(printed.contains("ok     gate: answers a second"), "{printed}");
    // By more than the generator was late.
    assert!(printed.contains("ok     gate: p90"), "{printed}");
}
