//! Sends long answers in chunks. The server copies the body behind the head of an answer, to write both at once.
//! Without chunks it would hold a copy of a long answer for each client that does not read.

use std::{convert::Infallible, iter};

use futures_util::stream;
use hyper::body::Bytes;
use warp::{
    Reply,
    http::header::CONTENT_LENGTH,
    reply::{self, Response},
};

/// The size of a chunk in bytes. The server asks for the next one only when less than the longest head is unsent.
const CHUNK: usize = 16 * 1024;

/// An answer with this body.
pub(crate) fn in_chunks(mut content: Bytes) -> Response {
    let length = content.len();
    if length <= CHUNK {
        return Response::new(Some(content).into());
    }
    let pieces = iter::from_fn(move || {
        let piece = content.split_to(content.len().min(CHUNK));
        (!piece.is_empty()).then_some(Ok::<_, Infallible>(piece))
    });
    let mut response = reply::stream(stream::iter(pieces)).into_response();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::Pin};

    use hyper::body::{Body, Bytes};

    use super::{CHUNK, in_chunks};

    #[tokio::test]
    async fn the_chunks_are_the_whole_body_and_none_is_too_long() {
        for length in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let response = in_chunks(Bytes::from(content.clone()));
            let length_header =
                response.headers().get("content-length").map(|length| length.to_str().unwrap().parse().unwrap());
            assert_eq!(length_header.or(response.body().size_hint().exact()), Some(length as u64));
            let mut body = response.into_body();
            let mut whole = Vec::new();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= CHUNK);
                whole.extend_from_slice(&piece);
            }
            assert_eq!(whole, content);
        }
    }
}
