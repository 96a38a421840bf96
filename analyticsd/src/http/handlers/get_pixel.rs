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
    batches::VisitorNames,
    http::{
        error::ApiError,
        extract::Client,
        openapi,
        query_string::{KeySource, PixelEvent, QueryString},
        response,
    },
    ingest::{job::Accepted, lanes::EventLanes, limits::age::AgeLimits},
};

/// One transparent pixel, as small as the format allows (`GIF89a`).
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// The parts of the daemon that record an event.
#[derive(Clone)]
pub(crate) struct PixelServices {
    pub(crate) ages: AgeLimits,
    pub(crate) events: Arc<EventLanes>,
    pub(crate) names: Arc<VisitorNames>,
}

/// `GET /analytics.gif`: records an event and returns a transparent pixel, for pages without scripts and for those whose
/// policy forbids their scripts to connect. The script sends an event here under the key under which it may have sent it
/// to `POST /analytics`.
#[utoipa::path(
    get, path = "", operation_id = "getPixel",
    summary = "Record an event by an image",
    description = "Records an event. A client that asks not to be tracked (`DNT: 1`, `Sec-GPC: 1`) gets the pixel, and no event is recorded; so does a browser that loads it in case somebody visits the page (`Sec-Purpose: prefetch`, and `Purpose`, `X-Purpose` or `X-Moz` of older ones).",
    params(
        openapi::Site,
        ("event" = Option<openapi::EventKind>, Query, description = "An impression if not given"),
        ("user" = Option<String>, Query, min_length = 1, max_length = 256,
            description = "Who: 1 to 256 bytes of UTF-8 without NUL, so fewer characters than `maxLength` if some take several bytes; if not given, a name derived from address and browser, which is the same for a day"),
        ("timestamp" = Option<i64>, Query, minimum = 0, maximum = 253_402_300_799_999_i64,
            description = "When it happened, in milliseconds since 1970; now if not given. An idempotency key needs it"),
        openapi::KeyInHeader, openapi::KeyAsParameter,
    ),
    responses(
        (status = 200, description = "A transparent pixel; the event is committed", body = String, content_type = "image/gif", headers(("Cross-Origin-Resource-Policy" = String, description = "`cross-origin`"))),
        (status = 202, description = "A transparent pixel; the event is in the spool until the database is back", body = String, content_type = "image/gif", headers(("Cross-Origin-Resource-Policy" = String, description = "`cross-origin`"))),
        openapi::InvalidRequest, openapi::Conflict, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_pixel(
    query: QueryString,
    sites: RequestSites,
    key: Option<KeySource>,
    headers: HeaderMap,
    Client(client): Client,
    services: PixelServices,
) -> Result<Response, ApiError> {
    let (PixelEvent { at, user, kind, key }, name) = {
        let query = query.parse()?;
        (query.pixel_event(key.as_ref())?, query.site()?)
    };
    let at = at.unwrap_or_else(Timestamp::now);
    services.ages.now().check(at)?;
    if asks_not_to_be_tracked(&headers) || is_prefetch(&headers) {
        return Ok(pixel(StatusCode::OK));
    }
    let site = sites.to_write(name.as_ref()).await?;
    let browser = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    let user: UserName = match user {
        Some(user) => user,
        None => services.names.of(at, client, browser).await?,
    };
    Ok(pixel(match services.events.store_one(SiteEvent { site, event: Event { at, user, kind } }, key).await? {
        Accepted::Committed(_) => StatusCode::OK,
        Accepted::Spooled => StatusCode::ACCEPTED,
    }))
}

/// Whether a browser loads this in case somebody wants to see it: the header `Sec-Purpose` of the Fetch standard, and
/// those that browsers had before it.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        let purpose = headers.get(*name).map(HeaderValue::as_bytes).unwrap_or_default();
        // Parameters may follow, as in `prefetch;prerender`.
        let purpose = purpose.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        [&b"prefetch"[..], b"preview"].iter().any(|early| purpose.eq_ignore_ascii_case(early))
    })
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
    response::allow_embedding(&mut response);
    response
}
