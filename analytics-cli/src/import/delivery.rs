use std::time::Duration;

use crate::server::{Delivery, Server, ServerError};

/// How often a batch is sent in all before the import gives up on an overloaded server.
const TRIES: u32 = 5;
/// The longest wait between two tries, whatever the server asks for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The wait if the server does not ask for one.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// Sends a batch, and sends it again while the server says that it is overloaded. It promises then that nothing is stored. A
/// broken connection promises nothing, so nothing is sent again after one.
pub(crate) async fn deliver(server: &Server, body: &[u8], tell: impl Fn(&str)) -> Result<Delivery, ServerError> {
    let mut tries = 1;
    loop {
        let wait = match server.send_batch(body).await {
            Err(ServerError::Refused { problem, retry_after }) if problem.status == 503 && tries < TRIES => {
                retry_after.unwrap_or(USUAL_WAIT).min(MAX_WAIT)
            }
            outcome => return outcome,
        };
        tell(&format!("the server is overloaded; try {tries} of {TRIES} failed, the next is in {} s", wait.as_secs()));
        tokio::time::sleep(wait).await;
        tries += 1;
    }
}
