//! Goose's own page about a run, while it lasts.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use goose::config::GooseConfiguration;
use tempfile::TempDir;
use thiserror::Error;
use tokio::time::sleep;

use super::ending;
use crate::traffic::Traffic;

const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Error)]
pub(crate) enum DashboardError {
    #[error("the dashboard cannot listen on {0}: {1}; give an address of this machine and a free port")]
    Address(SocketAddr, #[source] io::Error),
    #[error("the dashboard needs a temporary folder: {0}")]
    Folder(#[source] io::Error),
}

#[derive(Debug)]
pub(super) struct Dashboard {
    address: SocketAddr,
    /// None if only this machine can reach it.
    token: Option<String>,
    /// Goose writes a report there, which is in `--report-dir` already if it is wanted.
    folder: TempDir,
}

impl Dashboard {
    /// Finds a free port if none is given. Goose would find one too, but tells it only in its log.
    pub(super) fn new(address: SocketAddr) -> Result<Self, DashboardError> {
        let address = TcpListener::bind(address)
            .and_then(|listener| listener.local_addr())
            .map_err(|cause| DashboardError::Address(address, cause))?;
        let token = (!address.ip().is_loopback()).then(|| format!("{:032x}", rand::random::<u128>()));
        Ok(Self { address, token, folder: tempfile::tempdir().map_err(DashboardError::Folder)? })
    }

    pub(super) fn link(&self) -> String {
        let token = self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        format!("http://{}/{token}", self.address)
    }

    /// The run must be ended by [`end_without_waiting`].
    pub(super) fn configure(&self, configuration: &mut GooseConfiguration) {
        configuration.run_time = None;
        configuration.dashboard = true;
        configuration.dashboard_host = Some(self.address.ip().to_string());
        configuration.dashboard_port = Some(self.address.port());
        configuration.dashboard_auth_token.clone_from(&self.token);
        configuration.output_dir = Some(self.folder.path().join("run").display().to_string());
    }
}

/// Goose would wait for the pages that are open, until Ctrl-C, after a run that it ended itself.
pub(super) async fn end_without_waiting(traffic: Arc<Traffic>, run_time: Duration) {
    while traffic.schedule.elapsed() < run_time {
        sleep(PAUSE).await;
    }
    ending::end(&traffic).await;
}

#[cfg(test)]
mod tests {
    use super::Dashboard;

    #[test]
    fn only_a_page_that_others_can_reach_needs_a_token() {
        for (address, has_token) in [("127.0.0.1:0", false), ("[::1]:0", false), ("0.0.0.0:0", true)] {
            let dashboard = match Dashboard::new(address.parse().unwrap()) {
                Ok(dashboard) => dashboard,
                Err(error) => {
                    assert!(address.starts_with('['), "every machine has the address of IPv4: {error}");
                    continue;
                }
            };
            let link = dashboard.link();
            assert!(!link.contains(":0/"), "{link} has the port that was found");
            assert_eq!(link.contains("/?token="), has_token, "{link}");
        }
    }
}
