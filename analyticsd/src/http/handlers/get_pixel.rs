use std::sync::Arc;

use model::{Event, SiteEvent, Timestamp, UserName};
use warp::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, USER_AGENT},
    },
    reply::Response,
};

use crate::{
    auth::RequestSites,
    http::{error::ApiError, extract::Client, openapi, query_string::QueryString, visitor_names::VisitorNames},
    ingest::{job::Accepted, lanes::EventLanes},
};

/// One transparent pixel, as small as the format allows (`GIF89a`).
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// `GET /analytics.gif`: records an event at the current time, for pages without scripts, and returns a transparent
/// pixel.
#[utoipa::path(
    get, path = "", operation_id = "getPixel",
    summary = "Record an event from a page without scripts",
    description = "Records an event at the current time. A client that asks not to be tracked (`DNT: 1`, `Sec-GPC: 1`) gets the pixel, and no event is recorded.",
    params(
        openapi::Site,
        ("event" = Option<openapi::EventKind>, Query, description = "An impression if not given"),
        ("user" = Option<String>, Query, min_length = 1, max_length = 256,
            description = "Who: 1 to 256 bytes of UTF-8 without NUL, so fewer characters than `maxLength` if some take several bytes; if not given, a name derived from address and browser, which is the same for a day"),
    ),
    responses(
        (status = 200, description = "A transparent pixel; the event is committed", body = String, content_type = "image/gif"),
        (status = 202, description = "A transparent pixel; the event is in the spool until the database is back", body = String, content_type = "image/gif"),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_pixel(
    query: QueryString,
    sites: RequestSites,
    headers: HeaderMap,
    Client(client): Client,
    events: Arc<EventLanes>,
    names: Arc<VisitorNames>,
) -> Result<Response, ApiError> {
    let ((user, kind), name) = {
        let query = query.parse()?;
        (query.pixel_event()?, query.site()?)
    };
    if asks_not_to_be_tracked(&headers) {
        return Ok(pixel(StatusCode::OK));
    }
    let site = sites.to_write(name.as_ref()).await?;
    let at = Timestamp::now();
    let browser = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    let user: UserName = match user {
        Some(user) => user,
        None => names.of(at, client, browser).await?,
    };
    Ok(pixel(match events.store_one(SiteEvent { site, event: Event { at, user, kind } }, None).await? {
        Accepted::Committed(_) => StatusCode::OK,
        Accepted::Spooled => StatusCode::ACCEPTED,
    }))
}

/// Do Not Track, or Global Privacy Control.
fn asks_not_to_be_tracked(headers: &HeaderMap) -> bool {
    ["dnt", "sec-gpc"].iter().any(|name| headers.get(*name).is_some_and(|value| value == "1"))
}

fn pixel(status: StatusCode) -> Response {
    let mut response = Response::new(GIF.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
