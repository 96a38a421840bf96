//! The answer to a client whose connection is beyond a limit. It takes no place among the connections, little memory, and two
//! seconds at most.

use std::time::Duration;

use model::Problem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::http::error::{self, ApiError};

/// The most clients that are being refused at a time, at some 2 KiB each: as many as the system keeps waiting to be accepted. Beyond it a
/// connection is closed without a word.
pub(crate) const MAX_REFUSALS: usize = 4_096;
/// How long a refused client may take to begin its request, and again to read the answer and hang up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of what a refused client sends is read, in bytes, and how much at a time.
const MAX_DISCARDED: u64 = 64 * 1024;
const DISCARDED_AT_A_TIME: usize = 1024;

/// A complete answer, with which the connection ends.
pub(crate) fn answer(error: ApiError) -> Vec<u8> {
    let problem = error.answer().expect("this is answered").problem;
    let body = error::body_of(&problem);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nContent-Length: {}\r\nRetry-After: {}\r\nConnection: close\r\n\r\n",
        Problem::MEDIA_TYPE,
        body.len(),
        error::RETRY_AFTER_SECONDS,
    );
    [head.into_bytes(), body].concat()
}

/// Gives a client the answer and closes its connection.
pub(crate) async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    // Clients take an answer that comes before they asked for a fault of the protocol.
    let _ = timeout(PATIENCE, stream.peek(&mut [0])).await;
    // Closing while bytes from the client lie unread, or still arrive, makes the system reset the connection, and the client would lose the
    // answer. So it is the client who hangs up, within limits. If it did already, there is nobody left to tell.
    let _ = timeout(PATIENCE, async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut sent = stream.take(MAX_DISCARDED);
        while sent.read(&mut [0; DISCARDED_AT_A_TIME]).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::{ApiError, answer};

    #[test]
    fn no_cache_keeps_it_and_it_is_taken_for_nothing_else() {
        for error in [ApiError::Connections, ApiError::ConnectionsOfAddress] {
            let answer = String::from_utf8(answer(error)).unwrap();
            let (head, _) = answer.split_once("\r\n\r\n").unwrap();
            for header in ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Connection: close"] {
                assert!(head.lines().any(|line| line == header), "{head}");
            }
        }
    }
}
