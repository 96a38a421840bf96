//! What every request must be, whatever its route does with it.

use hyper::body::Body;
use warp::http::{
    HeaderMap, Request, Version,
    header::{CONTENT_ENCODING, HOST, TRANSFER_ENCODING},
};

use super::{error::ApiError, routes::Passes};

/// The longest body of a request that is not a batch, in bytes. It is not read: everything that counts is in the URL.
const MAX_IGNORED_BYTES: u64 = 64 * 1024;

/// Refuses a request that is not as it has to be.
pub(crate) fn check(passes: Passes, request: &Request<impl Body>) -> Result<(), ApiError> {
    let reads_body = passes == Passes::Batch;
    if !names_one_host(request.version(), request.headers()) {
        return Err(ApiError::Host);
    }
    // Only a body whose length is not known beforehand has a transfer coding, so nothing is looked up for any other.
    if request.body().size_hint().exact().is_none() && !is_only_chunked(request.headers()) {
        return Err(ApiError::TransferCoding);
    }
    if reads_body && !is_not_encoded(request.headers()) {
        return Err(ApiError::ContentCoding);
    }
    // A batch is read until it is too long, because a client that still sends when its connection is closed may never see the answer.
    if !reads_body && request.body().size_hint().lower() > MAX_IGNORED_BYTES {
        return Err(ApiError::IgnoredBody { limit: MAX_IGNORED_BYTES });
    }
    Ok(())
}

/// RFC 9112, section 3.2: whoever disagrees with a proxy about who is asked can be made to answer for another.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// RFC 9112, section 6.1: what was compressed besides would be read as if it were not, and whoever disagrees with a proxy about where a request ends can
/// be made to read its body as another request. The connection is closed, since the body is not read.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// RFC 9110, section 8.4: a coding that is not undone makes other content of it.
fn is_not_encoded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}
