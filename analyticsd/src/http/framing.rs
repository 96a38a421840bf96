//! The checks that every request must pass, whatever its route is.

use hyper::body::Body;
use model::Timestamp;
use warp::http::{
    HeaderMap, HeaderValue, Request, Version,
    header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING},
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
    if !reads_body && request.body().size_hint().exact() != Some(0) && has_parameters_in_body(request) {
        return Err(ApiError::FormBody);
    }
    // A batch is read until it is too long: a client that is still sending when the connection closes may never see the
    // answer.
    if !reads_body && request.body().size_hint().lower() > MAX_IGNORED_BYTES {
        return Err(ApiError::IgnoredBody { limit: MAX_IGNORED_BYTES });
    }
    Ok(())
}

/// Whether a client sends the parameters of an event as a form: they would be missing in the URL.
fn has_parameters_in_body(request: &Request<impl Body>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = [&b"application/x-www-form-urlencoded"[..], b"multipart/form-data"]
        .iter()
        .any(|form| kind.get(..form.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(form)));
    is_form && request.uri().query().is_none_or(|query| !query.contains(Timestamp::PARAMETER))
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
