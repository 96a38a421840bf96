use std::time::Duration;

use db::Flavour;
use harness::{TestDatabase, on_both_flavours};
use reliability::{options::Options, scenarios::hour_under_attack};

use crate::support::options;

on_both_flavours!(an_hour_that_is_written_settled_and_reopened_at_once_is_counted_exactly);

async fn an_hour_that_is_written_settled_and_reopened_at_once_is_counted_exactly(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let options = Options { duration: Duration::from_secs(20), ..options() };
    hour_under_attack::attack(&options, database.store()).await.unwrap().assert_kept(options.seed);
}
