//! Processes that a test did not start itself.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::{process::Command, time::sleep};

const PATIENCE: Duration = Duration::from_mins(1);

pub fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Those of them that have not ended get the signal.
pub async fn signal_some(pids: &[u32], name: &str) -> anyhow::Result<()> {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).args(pids.iter().map(u32::to_string)).stderr(Stdio::null()).status().await?;
    Ok(())
}

pub async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await?;
    ensure!(status.success(), "kill -{name} {pid}: {status}");
    Ok(())
}

/// Waits until all of them have ended.
pub async fn ended(pids: &[u32]) -> anyhow::Result<()> {
    let began = Instant::now();
    while let Some(pid) = pids.iter().find(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        ensure!(began.elapsed() < PATIENCE, "the process {pid} did not end");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
