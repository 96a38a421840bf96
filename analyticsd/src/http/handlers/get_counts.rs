use std::sync::Arc;

use model::SiteHour;
use warp::reply::Response;

use crate::{
    auth::RequestSites,
    http::{error::ApiError, openapi, query_string::QueryString, response},
    query::lanes::CountLanes,
};

/// `GET /analytics?timestamp=…`: the exact counts of the hour that holds the timestamp.
#[utoipa::path(
    get, path = "", operation_id = "getCounts",
    summary = "The exact counts of an hour",
    description = "Counts every event that was acknowledged before the request was sent. Three lines: unique_users,N clicks,N impressions,N.",
    params(openapi::Site, ("timestamp" = i64, Query, minimum = 0, maximum = 253_402_300_799_999_i64, example = 1_431_857_103_000_i64,
        description = "Any instant of the UTC hour, in milliseconds since 1970")),
    responses(
        (status = 200, description = "The counts; zeros for an hour without events", body = String, content_type = "text/plain; charset=utf-8",
            example = "unique_users,2\nclicks,1\nimpressions,1\n"),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_counts(
    query: QueryString,
    sites: RequestSites,
    lanes: Arc<CountLanes>,
) -> Result<Response, ApiError> {
    let (hour, name) = {
        let query = query.parse()?;
        (query.hour()?, query.site()?)
    };
    let site = sites.to_read(name.as_ref())?;
    let counts = lanes.counts(SiteHour { hour, site }).await?;
    Ok(response::text(counts.text))
}
