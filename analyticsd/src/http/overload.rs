//! Answers a client whose connection exceeds a limit. The answer needs no connection permit, little memory, and at most
//! two seconds.

use std::time::Duration;

use model::Problem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::http::error::{self, ApiError};

/// The most clients that are refused at a time, at some 2 KiB each: as many as the system's backlog holds. Beyond it a
/// connection is closed without an answer.
pub(crate) const MAX_REFUSALS: usize = 4_096;
/// How long a refused client may take to begin its request, and again to read the answer and hang up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes of a refused client are read, and how many at a time.
const MAX_DISCARDED: u64 = 64 * 1024;
const DISCARDED_AT_A_TIME: usize = 1024;

/// The bytes of a complete answer, after which the connection ends.
pub(crate) fn answer(error: ApiError) -> Vec<u8> {
    let problem = error.answer().expect("this is answered").problem;
    let body = error::body_of(&problem);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: \
         no-store\r\nContent-Length: {}\r\nRetry-After: {}\r\nConnection: close\r\n\r\n",
        Problem::MEDIA_TYPE,
        body.len(),
        error::RETRY_AFTER_SECONDS,
    );
    [head.into_bytes(), body].concat()
}

/// Sends the answer and closes the connection.
pub(crate) async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    // Clients treat an answer before their request as a protocol error.
    let _ = timeout(PATIENCE, stream.peek(&mut [0])).await;
    // If this side closes while bytes of the client are unread or arrive, the system resets the connection, and the
    // client loses the answer. So the client closes first, within limits. If it already did, the error does not matter.
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
    fn the_answer_is_not_cached_or_sniffed_and_closes_the_connection() {
        for error in [ApiError::Connections, ApiError::ConnectionsOfAddress] {
            let answer = String::from_utf8(answer(error)).unwrap();
            let (head, _) = answer.split_once("\r\n\r\n").unwrap();
            for header in ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Connection: close"] {
                assert!(head.lines().any(|line| line == header), "{head}");
            }
        }
    }
}
