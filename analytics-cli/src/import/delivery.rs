use std::time::Duration;

use client::{Client, ClientError, Delivery};

use super::{batch::Batch, interruption::Interruption};

/// How often a batch is sent before the import stops.
const TRIES: u32 = 8;
/// The longest wait between two tries, whatever the server asks for. With its usual answer all waits take a minute
/// and a half.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The wait after the first try if the server does not ask for one. Each wait is twice the one before.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// Sends a batch, and repeats the request while that may help and cannot store it twice.
///
/// A server that answers 429 or 503 has stored nothing. After a broken connection that is unknown, so only events
/// with keys are sent again. A server that cannot be reached is waited for only if it was reached before: a mistyped
/// address is reported at once.
pub(crate) async fn deliver(
    client: &Client,
    batch: &Batch,
    mut was_reached: bool,
    interruption: &Interruption,
    report: impl Fn(&str),
) -> Result<Delivery, ClientError> {
    let mut tries = 1;
    loop {
        let error = match client.send_batch(batch.body()).await {
            Ok(delivery) => return Ok(delivery),
            Err(error) => error,
        };
        let asked_for = match &error {
            ClientError::Refused { problem, retry_after } if matches!(problem.status, 429 | 503) => *retry_after,
            ClientError::Unreachable { .. } if was_reached => None,
            ClientError::NoAnswer { .. } if batch.is_keyed() => None,
            ClientError::Foreign { status, .. } if status.is_server_error() && batch.is_keyed() => None,
            _ => return Err(error),
        };
        was_reached = true;
        if tries == TRIES {
            return Err(error);
        }
        let wait = asked_for.unwrap_or(USUAL_WAIT).saturating_mul(1 << (tries - 1)).min(MAX_WAIT);
        report(&format!("{error}; trying again in {} s", wait.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = interruption.happens() => return Err(error),
        }
        tries += 1;
    }
}
