use std::{borrow::Cow, sync::Arc};

use hyper::body::Bytes;
use utoipa_swagger_ui::{Config, SwaggerFile};
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS},
    },
    path::FullPath,
    reply::Response,
};

use crate::http::{chunked_body::in_chunks, error::ApiError, response};

/// Swagger UI sets inline styles and uses `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                      img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors \
                      'none'";

/// The path of the document that these pages show.
pub(crate) const OPENAPI_PATH: &str = "/openapi.json";

/// Whether there is a page at a path.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/docs" || page(path).is_some()
}

/// Ours in place of those of Swagger UI, which are not made for a small screen.
const FRAME: &str = include_str!("../../../assets/docs/index.html");
const STYLE: &str = include_str!("../../../assets/docs/index.css");

fn page(path: &str) -> Option<SwaggerFile<'static>> {
    let file = path.strip_prefix("/docs/").filter(|file| !file.starts_with('/'))?;
    let mut page = utoipa_swagger_ui::serve(file, Arc::new(Config::from(OPENAPI_PATH))).ok()??;
    match file {
        "" | "index.html" => page.bytes = Cow::Borrowed(FRAME.as_bytes()),
        "index.css" => page.bytes = Cow::Borrowed(STYLE.as_bytes()),
        _ => {}
    }
    Some(page)
}

/// `GET /docs/…`: Swagger UI, which shows the interface and can send requests.
pub(crate) fn get_docs(path: &FullPath) -> Result<Response, ApiError> {
    let path = path.as_str();
    if path == "/docs" {
        let mut response = response::empty(StatusCode::PERMANENT_REDIRECT);
        response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs/"));
        return Ok(response);
    }
    let page = page(path).ok_or_else(|| ApiError::no_file(path))?;
    let media_type = HeaderValue::try_from(page.content_type).map_err(|_| ApiError::no_file(path))?;
    let mut response = in_chunks(match page.bytes {
        Cow::Borrowed(of_the_program) => Bytes::from_static(of_the_program),
        Cow::Owned(made) => Bytes::from(made),
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
