use std::sync::Arc;

use db::MAX_LISTED_SOURCES;
use model::{ListedSource, SourceList};
use warp::{
    http::{HeaderValue, header::CACHE_CONTROL},
    reply::Response,
};

use crate::{
    auth::RequestSites,
    http::{error::ApiError, openapi, query_string::QueryString, response},
    query::reports::Reports,
};

/// `GET /analytics/sources`: where the sources of a site stand whose names begin so.
#[utoipa::path(
    get, path = "", operation_id = "getSources",
    summary = "Where sources stand",
    description = "Everything of a source before its position is stored. A source of which nothing is stored is not in the list.",
    params(
        openapi::Site,
        ("prefix" = String, Query, min_length = 1, max_length = 255, description = "With what the names begin; a whole name for one source"),
    ),
    responses(
        (status = 200, description = "The sources, by name; at most 1,000", body = SourceList, headers(("X-Content-Type-Options" = String, description = "`nosniff`"))),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_sources(
    query: QueryString,
    sites: RequestSites,
    reports: Arc<Reports>,
) -> Result<Response, ApiError> {
    let (prefix, site) = {
        let query = query.parse()?;
        (query.source_prefix()?, query.site()?)
    };
    let sources = match sites.of_sources(site.as_ref())? {
        Some(site) => reports.sources(site, &prefix).await?,
        None => Vec::new(),
    };
    let is_whole = sources.len() < MAX_LISTED_SOURCES;
    let sources = sources.into_iter().map(|(name, stands_at)| ListedSource::new(name, stands_at)).collect();
    let list = serde_json::to_vec(&SourceList { sources, is_whole }).expect("texts can be written as JSON");
    let mut response = response::json(list.into());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
