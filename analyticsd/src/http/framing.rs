//! The checks that every request must pass, whatever its route is.

use hyper::body::Body;
use warp::http::{
    HeaderMap, Request, Version,
    header::{HOST, TRANSFER_ENCODING},
};

use super::{body_coding::BodyCoding, error::ApiError, routes::Passes};

/// The longest body of a request that is not a batch, in bytes. It is not read: the event is in the URL.
const MAX_IGNORED_BYTES: u64 = 64 * 1024;

/// Checks the host, the transfer coding, the content coding and the length of an unused body.
pub(crate) fn check(passes: Passes, request: &Request<impl Body>) -> Result<(), ApiError> {
    let reads_body = passes == Passes::Batch;
    if !names_one_host(request.version(), request.headers()) {
        return Err(ApiError::Host);
    }
    // Only a body of unknown length has a transfer coding, so the header is read for no other.
    if request.body().size_hint().exact().is_none() && !is_only_chunked(request.headers()) {
        return Err(ApiError::TransferCoding);
    }
    if reads_body && BodyCoding::of(request.headers()).is_none() {
        return Err(ApiError::ContentCoding);
    }
    // A batch is read until it is too long: a client that is still sending when the connection closes may never see the
    // answer.
    if !reads_body && request.body().size_hint().lower() > MAX_IGNORED_BYTES {
        return Err(ApiError::IgnoredBody { limit: MAX_IGNORED_BYTES });
    }
    Ok(())
}

/// RFC 9112, section 3.2: if server and proxy read the host differently, a request can reach another host's content.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// RFC 9112, section 6.1: a compressed body would be read as if it were not compressed. And if server and proxy
/// disagree on where a request ends, its body can be read as another request (request smuggling). The connection is
/// closed, because the body is not read.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}
