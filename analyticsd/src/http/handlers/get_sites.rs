use model::SiteList;
use warp::{
    http::{HeaderValue, header::CACHE_CONTROL},
    reply::Response,
};

use crate::{
    auth::RequestSites,
    http::{error::ApiError, openapi, response},
};

/// `GET /analytics/sites`: the sites that the client may read.
#[utoipa::path(
    get, path = "", operation_id = "getSites",
    summary = "The sites that the token may read",
    description = "By name. A token that is for some sites is told of no other.",
    responses(
        (status = 200, description = "The sites", body = SiteList, headers(("X-Content-Type-Options" = String, description = "`nosniff`"))),
        openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) fn get_sites(sites: &RequestSites) -> Result<Response, ApiError> {
    let list = serde_json::to_vec(&sites.list()?).expect("texts can be written as JSON");
    let mut response = response::json(list.into());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
