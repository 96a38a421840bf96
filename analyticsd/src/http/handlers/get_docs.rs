use std::{borrow::Cow, sync::Arc};

use hyper::body::Bytes;
use utoipa_swagger_ui::Config;
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS},
    },
    path::FullPath,
    reply::Response,
};

use crate::http::{chunked_body::in_chunks, error::ApiError, response};

/// The pages set styles of their own as they go, and have their pictures in their text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; \
                      font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /docs/…`: Swagger UI, which shows the interface and tries it out.
pub(crate) fn get_docs(path: &FullPath, config: &Arc<Config<'static>>) -> Result<Response, ApiError> {
    let path = path.as_str();
    let Some(file) = path.strip_prefix("/docs/") else {
        let mut response = response::empty(StatusCode::PERMANENT_REDIRECT);
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs/"));
        return Ok(response);
    };
    let found = utoipa_swagger_ui::serve(file, Arc::clone(config)).ok().flatten();
    let found = found.ok_or_else(|| ApiError::no_file(path))?;
    let media_type = HeaderValue::try_from(found.content_type).map_err(|_| ApiError::no_file(path))?;
    let mut response = in_chunks(match found.bytes {
        Cow::Borrowed(of_the_program) => Bytes::from_static(of_the_program),
        Cow::Owned(made) => Bytes::from(made),
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
