use std::sync::Arc;

use model::SiteEvent;
use warp::reply::Response;

use crate::{
    auth::RequestSites,
    http::{
        error::ApiError,
        openapi,
        query_string::{KeySource, QueryString},
        response,
    },
    ingest::{lanes::EventLanes, limits::age::AgeLimits},
};

/// `POST /analytics?timestamp=…&user=…&event=…`: returns 204 once the event is committed. With an idempotency key the
/// event is stored once, however often it is sent.
#[utoipa::path(
    post, path = "", operation_id = "postEvent",
    summary = "Record a click or an impression",
    description = "204 means committed. Two equal requests are two events, unless they come under the same idempotency key.",
    params(
        ("timestamp" = i64, Query, minimum = 0, maximum = 253_402_300_799_999_i64, example = 1_431_857_103_000_i64,
            description = "When it happened, in milliseconds since 1970. A server may accept a smaller range, which its answer 400 names"),
        ("user" = String, Query, min_length = 1, max_length = 256, example = "anna",
            description = "Who: 1 to 256 bytes of UTF-8 without NUL, so fewer characters than `maxLength` if some take \
                           several bytes. Two names are one user only if they are the same bytes"),
        ("event" = openapi::EventKind, Query, description = "What happened"),
        openapi::Site, openapi::KeyInHeader, openapi::KeyAsParameter,
    ),
    responses(openapi::Stored, openapi::InvalidRequest, openapi::Conflict, openapi::TooLarge, openapi::TooLong, openapi::Denied, openapi::Unavailable),
)]
pub(crate) async fn post_event(
    query: QueryString,
    sites: RequestSites,
    key: Option<KeySource>,
    ages: AgeLimits,
    events: Arc<EventLanes>,
) -> Result<Response, ApiError> {
    let (event, key, name) = {
        let query = query.parse()?;
        (query.event()?, query.idempotency_key(key.as_ref())?, query.site()?)
    };
    ages.now().check(event.at)?;
    let site = sites.to_write(name.as_ref()).await?;
    let user_is_unset = event.user.looks_unset();
    let mut answer = response::stored(events.store_one(SiteEvent { site, event }, key).await?);
    if user_is_unset {
        response::warn_of_unset_user(&mut answer);
    }
    Ok(answer)
}
