use db::Flavour;
use harness::{Daemon, TestDatabase, on_both_flavours, settle};
use model::{Hour, Period, PeriodsPage, Problem, StoredHours, Timestamp, Totals};
use reqwest::StatusCode;

use crate::support::at;

on_both_flavours!(a_day_of_a_time_zone_has_the_events_between_its_midnights,);

async fn page(daemon: &Daemon, path: &str) -> PeriodsPage {
    let response = daemon.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.unwrap()
}

/// What each period has: when it begins, and its unique users, clicks and impressions.
fn rows(page: &PeriodsPage) -> Vec<(&str, Option<u64>, u64, u64)> {
    fn row(period: &Period) -> (&str, Option<u64>, u64, u64) {
        (&period.start, period.unique_users, period.clicks, period.impressions)
    }
    page.periods.iter().map(row).collect()
}

async fn a_day_of_a_time_zone_has_the_events_between_its_midnights(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await;
    for (time, user, event) in [
        ("2015-05-16T21:59:59Z", "before", "click"),
        ("2015-05-16T22:00:00Z", "anna", "click"),
        ("2015-05-17T12:00:00Z", "anna", "impression"),
        ("2015-05-17T21:59:59Z", "ben", "click"),
        ("2015-05-17T22:00:00Z", "ben", "impression"),
    ] {
        assert_eq!(daemon.post(at(time), user, event).await, StatusCode::NO_CONTENT);
    }
    let client = database.client().await;
    for hour in ["2015-05-16T22:00:00Z", "2015-05-17T12:00:00Z"] {
        settle(&client, hour, &[0]).await;
    }
    let range = "from=2015-05-16T21:00:00Z&to=2015-05-17T23:00:00Z";
    let berlin = page(&daemon, &format!("/analytics/periods?{range}&time_zone=Europe/Berlin")).await;
    let expected = [
        ("2015-05-16T00:00:00+02:00", Some(1), 1, 0),
        ("2015-05-17T00:00:00+02:00", Some(2), 2, 1),
        ("2015-05-18T00:00:00+02:00", Some(1), 0, 1),
    ];
    assert_eq!(rows(&berlin), expected);
    assert_eq!((berlin.unique_users, berlin.totals), (Some(3), Totals { clicks: 3, impressions: 2 }));
    let hour = |text: &str| text.parse::<Hour>().unwrap();
    assert_eq!((berlin.from, berlin.to), (hour("2015-05-15T22:00:00Z"), hour("2015-05-18T21:00:00Z")));

    for (from, to) in [("2015-05-16", "2015-05-18"), ("2015-05-16", "2015-05-17T22:00:00Z")] {
        let dates = page(&daemon, &format!("/analytics/periods?from={from}&to={to}&time_zone=Europe/Berlin")).await;
        assert_eq!(dates, berlin, "a date is a day of the time zone");
    }

    let utc = page(&daemon, &format!("/analytics/periods?{range}")).await;
    let expected = [("2015-05-16T00:00:00+00:00", Some(2), 2, 0), ("2015-05-17T00:00:00+00:00", Some(2), 1, 2)];
    assert_eq!(rows(&utc), expected);
    for (step, start, settled) in
        [("week", "2015-05-11T00:00:00+00:00", false), ("month", "2015-05-01T00:00:00+00:00", false)]
    {
        let page = page(&daemon, &format!("/analytics/periods?{range}&step={step}")).await;
        assert_eq!(rows(&page), [(start, Some(3), 3, 2)], "{step}");
        assert_eq!(page.periods[0].settled, settled);
    }
    let hours = page(&daemon, "/analytics/periods?from=2015-05-17T11:00:00Z&to=2015-05-17T12:00:00Z&step=hour").await;
    let settled: Vec<bool> = hours.periods.iter().map(|period| period.settled).collect();
    assert_eq!((hours.unique_users, settled), (Some(1), vec![false, true]), "an hour without events is not settled");
}

#[tokio::test]
async fn a_range_may_be_cut_within_its_first_and_last_period() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (time, user) in [
        ("2015-05-17T10:59:59Z", "before"),
        ("2015-05-17T11:00:00Z", "anna"),
        ("2015-05-18T12:00:00Z", "ben"),
        ("2015-05-19T12:59:59Z", "anna"),
        ("2015-05-19T13:00:00Z", "behind"),
    ] {
        assert_eq!(daemon.post(at(time), user, "click").await, StatusCode::NO_CONTENT);
    }
    let range = "from=2015-05-17T11:00:00Z&to=2015-05-19T12:00:00Z";
    let cut = page(&daemon, &format!("/analytics/periods?{range}&cut=true")).await;
    let expected = [
        ("2015-05-17T11:00:00+00:00", Some(1), 1, 0),
        ("2015-05-18T00:00:00+00:00", Some(1), 1, 0),
        ("2015-05-19T00:00:00+00:00", Some(1), 1, 0),
    ];
    assert_eq!(rows(&cut), expected);
    assert_eq!((cut.unique_users, cut.totals.clicks), (Some(2), 3));
    let month = page(&daemon, &format!("/analytics/periods?{range}&step=month&cut=true")).await;
    assert_eq!(rows(&month), [("2015-05-17T11:00:00+00:00", Some(2), 3, 0)]);
    let whole = page(&daemon, &format!("/analytics/periods?{range}&cut=false")).await;
    assert_eq!((whole.unique_users, whole.totals.clicks), (Some(4), 5));
}

#[tokio::test]
async fn an_answer_says_where_the_site_has_events() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "1h"]).await;
    let path = "/analytics/periods?from=2020-01-01T00:00:00Z&to=2020-01-01T00:00:00Z";
    assert_eq!(page(&daemon, path).await.stored, None);
    for time in ["2015-05-17T10:30:00Z", "2015-05-18T23:00:00Z", "2016-02-29T12:00:00Z"] {
        assert_eq!(daemon.post(at(time), "anna", "click").await, StatusCode::NO_CONTENT);
    }
    let hour = |text: &str| text.parse::<Hour>().unwrap();
    let stored = StoredHours { first: hour("2015-05-17T10:00:00Z"), last: hour("2016-02-29T12:00:00Z") };
    assert_eq!(page(&daemon, path).await.stored, Some(stored));
    let client = database.client().await;
    for settled in ["2015-05-17T10:00:00Z", "2015-05-18T23:00:00Z", "2016-02-29T12:00:00Z"] {
        settle(&client, settled, &[0]).await;
        assert_eq!(page(&daemon, path).await.stored, Some(stored), "{settled} is settled");
    }
}

#[tokio::test]
async fn a_long_range_comes_in_pages() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    let first =
        page(&daemon, "/analytics/periods?from=2010-01-01T00:00:00Z&to=2015-05-17T10:00:00Z&time_zone=Europe/Berlin")
            .await;
    assert_eq!(first.periods.len(), PeriodsPage::MAX_PERIODS);
    let next = first.next.unwrap();
    assert_eq!(
        next,
        "/analytics/periods?from=2012-09-26T22:00:00Z&to=2015-05-17T10:00:00Z&step=day&time_zone=Europe/Berlin"
    );
    let of_etc = page(&daemon, "/analytics/periods?from=0&to=1431857103000&time_zone=Etc/GMT%2B2").await;
    assert_eq!(page(&daemon, &of_etc.next.unwrap()).await.time_zone, "Etc/GMT+2");
    let last = page(&daemon, &next).await;
    assert_eq!((last.periods[0].start.as_str(), last.next), ("2012-09-27T00:00:00+02:00", None));
}

#[tokio::test]
async fn without_a_range_it_is_the_last_periods_up_to_the_current_one() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (step, periods) in [("hour", 24), ("day", 30), ("week", 12), ("month", 12)] {
        let before = Hour::containing(Timestamp::now());
        let page = page(&daemon, &format!("/analytics/periods?step={step}&time_zone=America/New_York")).await;
        assert_eq!(page.periods.len(), periods, "{step}");
        assert!(page.to >= before, "{step}");
    }
}

#[tokio::test]
async fn an_error_names_the_parameter_and_the_accepted_values() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    let daemon = Daemon::start(database.url()).await;
    for (query, parameter) in [
        ("step=year", "step"),
        ("step=day&step=day", "step"),
        ("cut=yes", "cut"),
        ("time_zone=Berlin", "time_zone"),
        ("time_zone=Asia/Kolkata", "time_zone"),
        ("from=yesterday", "from"),
        ("from=7200000&to=0", "from"),
        ("from=2011-12-30&to=2011-12-31&time_zone=Pacific/Apia", "from"),
        ("to=1960-01-01", "to"),
        ("from=2015-02-30", "from"),
    ] {
        let refused = daemon.get(&format!("/analytics/periods?{query}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(refused.json::<Problem>().await.unwrap().parameter.as_deref(), Some(parameter), "{query}");
    }
}
