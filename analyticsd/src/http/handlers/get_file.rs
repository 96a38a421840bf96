use hyper::body::Bytes;
use warp::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    reply::Response,
};

use crate::http::{chunked_body::in_chunks, entity_tag, error::ApiError, response, static_files::FILES};

/// The page loads nothing from other sites and has no inline script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' \
                      data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`, the page that shows the traffic, and its files; `GET /analytics.js`, the script for other sites.
pub(crate) fn get_file(path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let file = FILES.iter().find(|file| file.path == path).ok_or_else(|| ApiError::no_file(path))?;
    let tag = entity_tag::of(file.content);
    let is_known = entity_tag::is_known(&tag, headers);
    let mut response = in_chunks(Bytes::from_static(if is_known { b"" } else { file.content }));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fields = response.headers_mut();
    fields.insert(ETAG, tag);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if file.is_for_others {
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        response::allow_embedding(&mut response);
    } else {
        fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        // A share link is in the page's address.
        fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Ok(response)
}
