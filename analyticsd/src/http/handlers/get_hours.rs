use std::{fmt::Write, ops::RangeInclusive, sync::Arc};

use db::RangeCounts;
use hyper::body::Bytes;
use model::{Hour, HourCounts, HourRow, HoursPage, SiteId, SiteName, Timestamp};
use warp::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LINK, VARY, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::{
    auth::RequestSites,
    http::{
        chunked_body::in_chunks,
        entity_tag,
        error::ApiError,
        openapi,
        query_string::{HoursFormat, HoursQuery, QueryString},
    },
    query::{counts::ReadError, reports::Reports},
};

/// `GET /analytics/hours`: every hour of a range, a page at a time.
#[utoipa::path(
    get, path = "", operation_id = "getHours",
    summary = "Every hour of a range",
    description = "At most 1,000 hours a page; a longer range names the next page in `next` and in the header `Link`. `unique_users` are the distinct users of all hours of the page together, which are not the sum of its hours.",
    params(
        openapi::Site,
        ("from" = Option<String>, Query, example = "2015-05-17T10:00:00Z",
            description = "The first hour: a UTC day, which begins with it, or an instant, as RFC 3339 or in milliseconds since 1970; 23 hours before the last one if not given"),
        ("to" = Option<String>, Query, example = "2015-05-17T12:00:00Z",
            description = "The last hour, which is included: a UTC day, which ends with it, or an instant; now if not given"),
        ("format" = Option<openapi::HoursFormat>, Query, description = "The format; without it the header `Accept` decides, and JSON if both are accepted alike"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The tag of the answer that the client has"),
    ),
    responses(
        (status = 200, description = "The hours, ascending, with zeros for those without events",
            content((HoursPage = "application/json"), (String = "text/csv; charset=utf-8")),
            headers(("ETag" = String, description = "The tag of the answer, if every hour is settled, or is over and has no event"),
                ("Link" = String, description = "The next page, if there is one"),
                ("X-Content-Type-Options" = String, description = "`nosniff`"))),
        (status = 304, description = "Every hour is settled, or is over and has no event, and the client has the current answer",
            headers(("ETag" = String, description = "The tag of the answer"))),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_hours(
    query: QueryString,
    sites: RequestSites,
    headers: HeaderMap,
    reports: Arc<Reports>,
) -> Result<Response, ApiError> {
    let (asked, name) = {
        let query = query.parse()?;
        (query.hours(&headers)?, query.site()?)
    };
    let site = sites.to_read(name.as_ref())?;
    let page = page(&asked, site, name.as_ref(), &reports).await?;
    Ok(answer(&page, asked.format, &headers))
}

async fn page(
    asked: &HoursQuery,
    site: SiteId,
    name: Option<&SiteName>,
    reports: &Reports,
) -> Result<HoursPage, ReadError> {
    let range = first_page(&asked.range);
    let RangeCounts { hours, unique_users } = reports.range_counts(site, &range).await?;
    let (unique_users, unique_users_unknown_in) = unique_users.told();
    Ok(HoursPage {
        from: *range.start(),
        to: *range.end(),
        totals: hours.iter().map(|row| row.counts).collect(),
        hours,
        unique_users,
        unique_users_unknown_in,
        next: next_page(asked, name, &range),
    })
}

fn first_page(range: &RangeInclusive<Hour>) -> RangeInclusive<Hour> {
    let most = i64::try_from(HoursPage::MAX_HOURS).unwrap_or(i64::MAX);
    *range.start()..=range.start().plus(most - 1).min(*range.end())
}

fn next_page(asked: &HoursQuery, site: Option<&SiteName>, page: &RangeInclusive<Hour>) -> Option<String> {
    let next = page.end().next().filter(|next| next <= asked.range.end())?;
    let format = match asked.format {
        HoursFormat::Json => "json",
        HoursFormat::Csv => "csv",
    };
    // No character of a name means anything in a URL.
    let site = site.map(|name| format!("&site={name}")).unwrap_or_default();
    Some(format!("/analytics/hours?from={next}&to={}&format={format}{site}", asked.range.end()))
}

fn answer(page: &HoursPage, format: HoursFormat, headers: &HeaderMap) -> Response {
    let (media_type, body) = match format {
        HoursFormat::Json => {
            ("application/json", serde_json::to_vec(page).expect("numbers and texts can be written as JSON"))
        }
        HoursFormat::Csv => ("text/csv; charset=utf-8", csv(&page.hours).into_bytes()),
    };
    // A settled hour hardly ever changes, but it may. So clients must revalidate, and the body is sent only if it
    // changed. An hour that is over and has no event is never settled.
    let current = Hour::containing(Timestamp::now());
    let is_settled =
        page.hours.iter().all(|row| row.settled || (row.counts == HourCounts::default() && row.hour < current));
    let tag = is_settled.then(|| entity_tag::of(&body));
    let is_known = tag.as_ref().is_some_and(|tag| entity_tag::is_known(tag, headers));
    let mut response = in_chunks(if is_known { Bytes::new() } else { body.into() });
    let fields = response.headers_mut();
    fields.insert(VARY, HeaderValue::from_static("accept"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(if is_settled { "no-cache" } else { "no-store" }));
    if let Some(tag) = tag {
        fields.insert(ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(link) =
        page.next.as_ref().and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok())
    {
        fields.insert(LINK, link);
    }
    response
}

fn csv(hours: &[HourRow]) -> String {
    let mut text = "hour,unique_users,clicks,impressions\n".to_owned();
    for HourRow { hour, counts, .. } in hours {
        let HourCounts { unique_users, clicks, impressions } = counts;
        writeln!(text, "{hour},{unique_users},{clicks},{impressions}").expect("memory can be written to");
    }
    text
}
