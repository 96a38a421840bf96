use std::{borrow::Cow, sync::Arc};

use hyper::body::Bytes;
use utoipa_swagger_ui::Config;
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::http::chunked_body::in_pieces;

/// Where the document is that the pages below `/docs` show.
pub(crate) const OPENAPI_PATH: &str = "/openapi.json";

/// The pages set styles of their own as they go, and have their pictures in their text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; \
                      font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /docs/…`: Swagger UI, which shows the interface and tries it out. `file` is what comes after `/docs`. None if there is no such file.
pub(crate) fn get_docs(file: &str, config: &Arc<Config<'static>>) -> Option<Response> {
    if file.is_empty() {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs/"));
        return Some(response);
    }
    let found = utoipa_swagger_ui::serve(file.strip_prefix('/')?, Arc::clone(config)).ok()??;
    let mut response = in_pieces(match found.bytes {
        Cow::Borrowed(of_the_program) => Bytes::from_static(of_the_program),
        Cow::Owned(made) => Bytes::from(made),
    });
    let said = response.headers_mut();
    said.insert(CONTENT_TYPE, HeaderValue::try_from(found.content_type).ok()?);
    said.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    said.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Some(response)
}
