//! The content coding of a batch's body (RFC 9110, section 8.4), and its content.

use std::{io, pin::Pin};

use async_compression::{
    tokio::bufread::{GzipDecoder, ZstdDecoder},
    zstd::DParameter,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use hyper::body::Bytes;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};
use warp::{
    Buf,
    http::header::{CONTENT_ENCODING, HeaderMap},
};

use super::error::ApiError;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyCoding {
    Identity,
    Gzip,
    Zstd,
}

/// The window of zstd, as a power of two: 8 MiB, as much as RFC 8878, section 3.1.1.1.2, wants every decoder to take.
const ZSTD_WINDOW: u8 = 23;

type Content = Pin<Box<dyn Stream<Item = Result<Bytes, ApiError>> + Send>>;

impl BodyCoding {
    /// What is accepted, for the header `Accept-Encoding`.
    pub(crate) const ACCEPTED: &str = "gzip, zstd, identity";

    /// `None` for any other coding, and for several.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(CONTENT_ENCODING).iter();
        let codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
        let mut codings = codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
        match (codings.next(), codings.next()) {
            (None, _) => Some(Self::Identity),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"gzip") => Some(Self::Gzip),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"zstd") => Some(Self::Zstd),
            (Some(_), _) => None,
        }
    }

    /// The most memory in bytes that decoding takes beside the content.
    pub(crate) fn memory(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip => 64 * 1024,
            Self::Zstd => 1 << ZSTD_WINDOW,
        }
    }

    /// The content, in pieces of bounded size however many bytes become of few.
    pub(crate) fn content<S, B>(self, body: S) -> Content
    where
        S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
        B: Buf + Send + 'static,
    {
        let pieces = body.map_ok(|mut piece| piece.copy_to_bytes(piece.remaining()));
        if self == Self::Identity {
            return Box::pin(pieces.map_err(|_| ApiError::BodyEndedEarly));
        }
        let compressed = StreamReader::new(Box::pin(pieces.map_err(io::Error::other)));
        let content: Pin<Box<dyn AsyncRead + Send>> = if self == Self::Gzip {
            let mut decoder = GzipDecoder::new(compressed);
            decoder.multiple_members(true);
            Box::pin(decoder)
        } else {
            let mut decoder = ZstdDecoder::with_params(compressed, &[DParameter::window_log_max(ZSTD_WINDOW.into())]);
            decoder.multiple_members(true);
            Box::pin(decoder)
        };
        Box::pin(ReaderStream::new(content).map(move |piece| piece.map_err(|error| self.fault(&error))))
    }

    fn fault(self, error: &io::Error) -> ApiError {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<warp::Error>());
        if cause.is_some() { ApiError::BodyEndedEarly } else { ApiError::BodyNotDecoded(self) }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}
