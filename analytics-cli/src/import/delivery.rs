use std::time::Duration;

use super::{batch::Batch, interruption::Interruption};
use crate::server::{Delivery, Server, ServerError};

/// How often a batch is sent in all before the import gives up.
const TRIES: u32 = 8;
/// The longest wait between two tries, whatever the server asks for. All waits come to a minute and a half with what it asks for usually.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The wait after the first try if the server does not ask for one. Each wait is twice the one before.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// Sends a batch, and sends it again while that may help and cannot store it twice.
///
/// A server that says that it is overloaded, or that too much was sent, promises that nothing is stored. A connection that broke promises nothing, so only what is under
/// keys is sent again after that. A server that cannot be reached is waited for only if it is known to exist, or a typing error would take long to
/// be told.
pub(crate) async fn deliver(
    server: &Server,
    batch: &Batch,
    mut exists: bool,
    interruption: &Interruption,
    tell: impl Fn(&str),
) -> Result<Delivery, ServerError> {
    let mut tries = 1;
    loop {
        let error = match server.send_batch(batch.body()).await {
            Ok(delivery) => return Ok(delivery),
            Err(error) => error,
        };
        let asked_for = match &error {
            ServerError::Refused { problem, retry_after } if matches!(problem.status, 429 | 503) => *retry_after,
            ServerError::Unreachable { .. } if exists => None,
            ServerError::NoAnswer { .. } if batch.is_keyed() => None,
            ServerError::Foreign { status, .. } if status.is_server_error() && batch.is_keyed() => None,
            _ => return Err(error),
        };
        exists = true;
        if tries == TRIES {
            return Err(error);
        }
        let wait = asked_for.unwrap_or(USUAL_WAIT).saturating_mul(1 << (tries - 1)).min(MAX_WAIT);
        tell(&format!("{error}; trying again in {} s", wait.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = interruption.happens() => return Err(error),
        }
        tries += 1;
    }
}
