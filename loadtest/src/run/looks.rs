//! Reads the current hour at the same moments as the other parts of a run do, by the clock that they have in common.

use std::{sync::Arc, time::Duration};

use model::Timestamp;
use tokio::time::sleep;

use super::{RunError, ending};
use crate::{checks::daemon::Daemon, traffic::Traffic, trust::Trust};

/// In milliseconds, as the next.
const EVERY: u64 = 200;
/// In a tenth of a second, events of the one before it should be answered by then.
const WITHIN: u64 = 75;

/// Runs until it is aborted.
pub(super) async fn look(traffic: Arc<Traffic>, daemons: Vec<Daemon>) {
    ending::until_begun(&traffic).await;
    let sites = u64::from(traffic.requests.sites.all().end);
    while !traffic.schedule.has_ended() {
        let now = Timestamp::now().millis().unsigned_abs();
        let next = (now.saturating_sub(WITHIN) / EVERY + 1) * EVERY + WITHIN;
        sleep(Duration::from_millis(next - now)).await;
        let site = u32::try_from(next / EVERY % sites).expect("sites are few");
        for daemon in &daemons {
            traffic.look(daemon, site).await;
        }
    }
}

/// The hosts that are loaded.
pub(super) fn daemons(traffic: &Traffic, trust: &Trust) -> Result<Vec<Daemon>, RunError> {
    Ok(traffic.counters.hosts().map(|(host, _)| Daemon::new(host, trust)).collect::<Result<_, _>>()?)
}
