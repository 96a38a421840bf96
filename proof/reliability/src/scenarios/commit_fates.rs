//! Connections that break during the commit of a batch.

use std::time::Duration;

use super::faulty_commits;
use crate::{options::Options, proxy::Fault, report::Report};

/// With each, the daemon gets no answer to its commit, or a late one.
const FAULTS: [Fault; 6] = [
    Fault::CutBeforeStatement,
    Fault::CutBeforeCommit,
    Fault::CutDuringCommit,
    Fault::CutBeforeReply,
    Fault::CutInReply,
    Fault::DelayReply(Duration::from_millis(300)),
];
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The connection breaks at every point of a commit, under load.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    faulty_commits::run(options, "connection cut during the commit", LONGEST_PAUSE, |_| FAULTS.to_vec()).await
}
