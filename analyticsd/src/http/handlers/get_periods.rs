use std::{ops::RangeInclusive, sync::Arc};

use db::PeriodCounts;
use model::{Hour, Period, PeriodsPage, SiteName, StoredHours, Totals};
use warp::{
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE, LINK, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::{
    auth::RequestSites,
    http::{
        chunked_body::in_chunks,
        error::ApiError,
        openapi,
        query_string::{PeriodsQuery, QueryString},
    },
    query::reports::Reports,
};

/// `GET /analytics/periods`: the hours, days, weeks or months of a range, a page at a time.
#[utoipa::path(
    get, path = "", operation_id = "getPeriods",
    summary = "Every hour, day, week or month of a range",
    description = "From the period that holds `from` to the one that holds `to`, each as a whole unless `cut` is true, at most 1,000 a page; a longer range names the next page in `next` and in the header `Link`. Unique users are exact for each period and for all of them together, also of hours whose raw events are deleted.",
    params(
        openapi::Site,
        ("from" = Option<String>, Query, example = "2015-05-01",
            description = "A day of the time zone or an instant, as RFC 3339 or in milliseconds since 1970, of the first period; if not given, the range has 24 hours, 30 days, 12 weeks or 12 months"),
        ("to" = Option<String>, Query, example = "2015-05-31",
            description = "The same of the last period, which is included; now if not given"),
        ("step" = Option<model::Step>, Query, description = "How long the periods are; a day if not given. A week begins on Monday"),
        ("time_zone" = Option<String>, Query, example = "Europe/Berlin",
            description = "The time zone whose midnight days begin with, by its IANA name; UTC if not given. Its offset from UTC must be whole hours"),
        ("cut" = Option<bool>, Query, description = "Whether the first and the last period have only their hours from `from` to `to`; false if not given"),
    ),
    responses(
        (status = 200, description = "The periods, ascending, with zeros for those without events", body = PeriodsPage,
            headers(("Link" = String, description = "The next page, if there is one"),
                ("X-Content-Type-Options" = String, description = "`nosniff`"))),
        openapi::InvalidRequest, openapi::TooLong, openapi::Denied, openapi::Unavailable,
    ),
)]
pub(crate) async fn get_periods(
    query: QueryString,
    sites: RequestSites,
    reports: Arc<Reports>,
) -> Result<Response, ApiError> {
    let (asked, name) = {
        let query = query.parse()?;
        (query.periods()?, query.site()?)
    };
    let site = sites.to_read(name.as_ref())?;
    let counts = reports.period_counts(site, &asked.periods).await?;
    Ok(answer(&page(&asked, name.as_ref(), counts)))
}

fn page(asked: &PeriodsQuery, site: Option<&SiteName>, counts: PeriodCounts) -> PeriodsPage {
    let (unique_users, mut unique_users_unknown_in) = counts.unique_users.told();
    unique_users_unknown_in.truncate(PeriodsPage::MAX_PERIODS);
    let period = |(hours, row): (&RangeInclusive<Hour>, db::PeriodRow)| Period {
        start: asked.calendar.local(*hours.start()),
        from: *hours.start(),
        to: *hours.end(),
        unique_users: row.unique_users.told().0,
        clicks: row.clicks,
        impressions: row.impressions,
        settled: row.settled,
    };
    let periods: Vec<Period> = asked.periods.iter().zip(counts.periods).map(period).collect();
    PeriodsPage {
        from: *asked.first().start(),
        to: *asked.last().end(),
        step: asked.step,
        time_zone: asked.calendar.to_string(),
        totals: Totals {
            clicks: periods.iter().map(|period| period.clicks).sum(),
            impressions: periods.iter().map(|period| period.impressions).sum(),
        },
        periods,
        unique_users,
        unique_users_unknown_in,
        stored: counts.stored.map(|(first, last)| StoredHours { first, last }),
        next: next_page(asked, site),
    }
}

fn next_page(asked: &PeriodsQuery, site: Option<&SiteName>) -> Option<String> {
    let next = asked.last().end().next().filter(|next| *next <= asked.to)?;
    // No character of a name means anything in a URL.
    let site = site.map(|name| format!("&site={name}")).unwrap_or_default();
    let PeriodsQuery { step, calendar, to, .. } = asked;
    // A plus, as in Etc/GMT+2, would be read as a blank.
    let zone = calendar.to_string().replace('+', "%2B");
    let cut = if asked.is_cut { "&cut=true" } else { "" };
    Some(format!("/analytics/periods?from={next}&to={to}&step={step}&time_zone={zone}{cut}{site}"))
}

fn answer(page: &PeriodsPage) -> Response {
    let body = serde_json::to_vec(page).expect("numbers and texts can be written as JSON");
    let mut response = in_chunks(body.into());
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(link) =
        page.next.as_ref().and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok())
    {
        fields.insert(LINK, link);
    }
    response
}
