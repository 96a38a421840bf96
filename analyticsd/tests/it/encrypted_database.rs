//! A database that lets nobody in without TLS, and has to prove its name.

use std::time::Duration;

use chrono::Utc;
use harness::{Authority, Daemon, TlsServer, Validity};
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use crate::support::counts;

#[tokio::test]
async fn a_daemon_serves_over_tls_and_goes_on_when_the_certificates_are_renewed() {
    let tls = TlsServer::start().await;
    let url = tls.url(&format!("sslmode=verify-full&sslrootcert={}", tls.root_file(&tls.authority)));
    let daemon = Daemon::start(&url).await;
    let now = Utc::now();
    assert_eq!(daemon.post(now, "anna", "click").await, StatusCode::NO_CONTENT);
    assert_eq!(daemon.counts(now).await, counts(1, 1, 0));
    let client = tls.server.client().await;
    let sessions = "select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid) \
                    where application_name like 'analyticsd%'";
    let row = client.query_one(sessions, &[]).await.unwrap();
    let (encrypted, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(encrypted > 0 && encrypted == all, "{encrypted} of {all} sessions are encrypted");

    let next = Authority::new("the next authority");
    tls.show(&next.server(&["db.test"], Validity::Now)).await;
    tls.root_file(&next);
    let all = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'analyticsd%'";
    client.batch_execute(all).await.unwrap();
    let until_stored = async {
        while daemon.post(now, "ben", "click").await != StatusCode::NO_CONTENT {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), until_stored).await.expect("it connects with the new certificates");
    assert_eq!(daemon.counts(now).await, counts(2, 2, 0));
    assert!(daemon.terminate().await.success());
}
