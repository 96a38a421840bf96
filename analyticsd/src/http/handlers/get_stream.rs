use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::ready, stream};
use model::LiveCounts;
use tokio::time::sleep;
use warp::{Reply, reply::Response, sse};

use crate::{
    auth::{RequestSites, StillAllowed},
    http::{error::ApiError, openapi, query_string::QueryString},
    query::live::{Live, News},
};

/// When a client that lost its connection connects again.
const RETRY: Duration = Duration::from_secs(2);
/// How often a comment is sent on a quiet stream. Proxies close idle connections, and only a failed write shows that a
/// listener is gone and frees its place. The listener's token is checked again as often.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// `GET /analytics/stream`: the current hour as server-sent events, at once and then whenever it changes.
#[utoipa::path(
    get, path = "", operation_id = "getStream",
    summary = "The current hour, live",
    description = "Server-sent events: `counts` with the hour and what it counts, at once and then whenever they change, checked twice a second; `unavailable` while the database does not answer. The stream goes on until the daemon stops.",
    params(openapi::Site),
    responses(
        (status = 200, description = "The events", body = LiveCounts, content_type = "text/event-stream"),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_stream(
    query: QueryString,
    sites: RequestSites,
    live: Arc<Live>,
    still_allowed: StillAllowed,
) -> Result<Response, ApiError> {
    let name = query.parse()?.site()?;
    let site = sites.to_read(name.as_ref())?;
    let Some(news) = live.listen(site).await else {
        return Err(ApiError::TooManyListeners);
    };
    let first = stream::iter([sse::Event::default().retry(RETRY)]);
    // The stream ends when the token is revoked, or the site is deleted.
    let goes_on = move || still_allowed.to_read(site) && sites.is_live(site);
    let news = news.take_until(end_of(goes_on.clone())).take_while(move |_| ready(goes_on()));
    let events = first.chain(news.map(event)).map(Ok::<_, Infallible>);
    Ok(sse::reply(sse::keep_alive().interval(KEEP_ALIVE).text("").stream(events)).into_response())
}

/// Resolves once the listener may listen no longer.
async fn end_of(goes_on: impl Fn() -> bool) {
    while goes_on() {
        sleep(KEEP_ALIVE).await;
    }
}

fn event(news: News) -> sse::Event {
    match news {
        News::Counts((hour, counts)) => sse::Event::default()
            .event("counts")
            .json_data(LiveCounts { hour, counts })
            .expect("numbers and texts can be written as JSON"),
        News::Unavailable(None) => sse::Event::default().event("unavailable").data("{}"),
        News::Unavailable(Some(shard)) => {
            sse::Event::default().event("unavailable").data(format!("{{\"shard\":{shard}}}"))
        }
    }
}
