use reliability::scenarios::rolling;

use crate::support::options;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_by_one_and_no_request_fails() {
    let options = options();
    rolling::restart(&options).await.unwrap().assert_kept(options.seed);
}

/// Builds the earlier daemon the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_an_earlier_commit_are_upgraded_one_by_one_and_no_request_fails() {
    let options = options();
    rolling::upgrade(&options).await.unwrap().assert_kept(options.seed);
}
