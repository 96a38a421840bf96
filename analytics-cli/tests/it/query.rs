use crate::{
    Run, command, run,
    server::{Answer, TestServer},
};

/// Answers with the number of the hour since 1970 as clicks.
fn counting_server() -> TestServer {
    TestServer::with(|request| {
        Answer::of_periods(request, |hour| u64::try_from(hour.start().millis() / 3_600_000).unwrap())
    })
}

/// The first column, and the lines after the table.
fn periods_and_rest(run: &Run) -> (Vec<&str>, Vec<&str>) {
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut lines = run.stdout.lines();
    let periods = lines.by_ref().skip(1).take_while(|line| !line.is_empty());
    let periods = periods.map(|line| line.split_whitespace().next().unwrap()).collect();
    (periods, lines.collect())
}

#[test]
fn a_range_is_read_at_once_and_printed_in_order() {
    let server = counting_server();
    let run = run(&server, &["query", "--from", "3599999", "--to", "1970-01-03T00:00:00Z", "--format", "csv"], b"");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let clicks: Vec<_> = run.stdout.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..=48).map(|hour| hour.to_string()).collect();
    assert_eq!(clicks, expected);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_range_of_several_pages_is_read_to_its_end_and_asked_once_more_for_its_unique_users() {
    let server = counting_server();
    let run = run(&server, &["query", "--from", "0", "--to", "1970-02-20", "--step", "hour"], b"");
    let (periods, rest) = periods_and_rest(&run);
    assert_eq!((periods.len(), periods[1223]), (51 * 24, "1970-02-20T23:00:00Z"));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let whole = "from=1970-01-01T00:00:00Z&to=1970-02-20T23:00:00Z&step=month&time_zone=UTC&cut=true";
    assert!(requests[2].head.contains(whole), "{requests:?}");
    let sum: u64 = (0..51 * 24).sum();
    let in_all = format!("1 unique user, {sum} clicks, 0 impressions");
    assert_eq!(rest, ["1970-01-01T00:00:00Z to 1970-02-20T23:00:00Z, UTC", &in_all]);
}

#[test]
fn days_weeks_and_months_are_those_of_the_time_zone() {
    for (step, zone, periods, summary) in [
        ("day", "UTC", &["2015-05-16", "2015-05-17", "2015-05-18"][..], "2015-05-16 to 2015-05-18, UTC"),
        (
            "day",
            "Europe/Berlin",
            &["2015-05-16", "2015-05-17", "2015-05-18"],
            "2015-05-16 to 2015-05-18, Europe/Berlin",
        ),
        ("week", "UTC", &["2015-05-11", "2015-05-18"], "2015-05-11 to 2015-05-24, UTC"),
        ("month", "America/New_York", &["2015-05"], "2015-05, America/New_York"),
    ] {
        let server = counting_server();
        let range = ["query", "--from", "2015-05-16", "--to", "2015-05-18", "--step", step, "--time-zone", zone];
        let run = run(&server, &range, b"");
        let (seen, rest) = periods_and_rest(&run);
        assert_eq!(seen, periods, "{step} of {zone}");
        assert_eq!(rest[0], summary, "{step} of {zone}");
        assert!(rest[1].starts_with("1 unique user, ") && rest[1].ends_with(" clicks, 0 impressions"), "{rest:?}");
        assert!(run.stdout.starts_with(step), "{}", run.stdout);
    }
}

#[test]
fn a_range_without_a_step_has_one_that_fits_its_length() {
    for (range, step, first) in [
        (&["--from", "2015-05-11", "--to", "2015-05-17"][..], "hour", "2015-05-11T00:00:00Z"),
        (&["--from", "2015-05", "--to", "2015-05"], "day", "2015-05-01"),
        (&["--from", "2014-05-19", "--to", "2015-05-17"], "week", "2014-05-19"),
        (&["--from", "2000-01-01"], "month", "2000-01"),
        (&["--last", "all"], "month", "2015-05"),
        (&["--last", "all", "--step", "day"], "day", "2015-05-17"),
        (&["--at", "2015-05"], "month", "2015-05"),
        (&["--at", "2015-05", "--step", "week"], "week", "2015-04-27"),
    ] {
        let run = run(&counting_server(), &[&["query"], range].concat(), b"");
        assert_eq!(periods_and_rest(&run).0[0], first, "{range:?}");
        assert!(run.stdout.starts_with(step), "{range:?}: {}", run.stdout);
    }
    let top = run(&counting_server(), &["top", "--last", "all", "--by", "clicks"], b"");
    assert!(top.stdout.starts_with("day "), "hours would be too many: {}", top.stdout);
}

#[test]
fn the_last_thirty_days_are_thirty_days_and_yesterday_is_one() {
    let server = counting_server();
    let days = run(&server, &["query", "--last", "30d", "--step", "day"], b"");
    let (seen, rest) = periods_and_rest(&days);
    let today = chrono::Utc::now().date_naive();
    // It may be midnight meanwhile.
    assert!(seen.len() == 30 && seen[29] <= today.to_string().as_str(), "{seen:?}");
    assert!(rest[0].ends_with(" so far, UTC"), "{rest:?}");
    let yesterday = run(&server, &["query", "--at", "yesterday"], b"");
    assert!(yesterday.stdout.starts_with("day "), "{}", yesterday.stdout);
    let hour = run(&server, &["query", "--at", "2015-05-17T10", "--time-zone", "Europe/Berlin"], b"");
    assert_eq!(periods_and_rest(&hour).0, ["2015-05-17T10:00:00+02:00"]);
}

#[test]
fn a_plot_fits_the_width_and_says_what_it_groups() {
    let server = counting_server();
    for (range, columns, shown) in [
        (&["--from", "2015-05-17", "--to", "2015-05-17"][..], "80", "clicks each hour"),
        (
            &["--from", "2015-05-01", "--to", "2015-05-17", "--step", "hour"],
            "80",
            "clicks each day\n(408 hours do not fit in a line)",
        ),
        (
            &["--from", "2015-01-01", "--to", "2015-05-17", "--step", "hour"],
            "80",
            "clicks each week\n(3288 hours do not fit in a line)",
        ),
        (
            &["--from", "2013-01-01", "--to", "2015-05-17", "--step", "day"],
            "60",
            "clicks each month\n(867 days do not fit in a line)",
        ),
        (&["--from", "2013-01-01", "--to", "2015-05-17", "--step", "day"], "1000", "clicks each day"),
        (
            &["--from", "1970-01-01", "--to", "2015-05-17", "--step", "month"],
            "80",
            "clicks each month\n(545 months do not fit in a line)",
        ),
    ] {
        let mut command = command(&[&["query", "--plot", "clicks"], range].concat());
        let drawn: Run = command.env("ANALYTICS_SERVER", server.url()).env("COLUMNS", columns).output().unwrap().into();
        assert_eq!(drawn.code, 0, "{}", drawn.stderr);
        assert!(format!("\n{}", drawn.stdout).contains(&format!("\n{shown}\n")), "{range:?}: {}", drawn.stdout);
        let widest = drawn.stdout.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns.parse().unwrap(), "{widest} columns: {}", drawn.stdout);
    }
}

#[test]
fn a_narrow_plot_has_longer_steps_but_the_same_range() {
    let at = |columns: &str| {
        let server = counting_server();
        let range = ["query", "--from", "2015-05-17T10", "--to", "2015-05-18T21", "--plot", "--compare"];
        let mut command = command(&range);
        let drawn: Run = command.env("ANALYTICS_SERVER", server.url()).env("COLUMNS", columns).output().unwrap().into();
        let (plot, rest) = drawn.stdout.split_once("\n2015-05-17T10:00:00Z to").unwrap();
        let asked: Vec<String> = server.requests().into_iter().map(|request| request.head).collect();
        (plot.to_owned(), rest.to_owned(), asked)
    };
    let ((wide, asked, _), (narrow, asked_narrow, requests)) = (at("80"), at("40"));
    assert!(wide.contains("each hour") && narrow.contains("each day"), "{wide}{narrow}");
    assert_eq!(asked, asked_narrow);
    assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    let drawn = "from=2015-05-17T10:00:00Z&to=2015-05-18T21:00:00Z&step=day&time_zone=UTC&cut=true";
    assert!(requests.iter().any(|request| request.contains(drawn)), "{requests:?}");
}

#[test]
fn a_comparison_is_of_like_with_like_and_says_that_the_last_period_is_not_over() {
    let server = counting_server();
    let compare =
        |range: &[&str]| run(&server, &[&["query", "--compare", "--step", "day"], range].concat(), b"").stdout;
    let note = "is not over, ";
    let unfinished = compare(&["--last", "2d"]);
    let (cut, whole) = (
        "the last day is not over, so before has only as many hours as have begun\n",
        "the last hour is not over, and is compared with a whole one\n",
    );
    // In the last hour of a day as many hours have begun as a day has.
    assert!(unfinished.ends_with(cut) || unfinished.ends_with(whole), "{unfinished}");
    let whole = compare(&["--from", "2015-05-16", "--to", "2015-05-17"]);
    assert!(whole.contains("these days    in all  before  change\nunique_users       1       1  +0.0 %"), "{whole}");
    assert!(!whole.contains(note), "{whole}");
}

#[test]
fn what_nobody_knows_is_told_with_what_finds_it_out() {
    let server = TestServer::with(|request| {
        let Answer::Text(page) = Answer::of_periods(request, |_| 1) else { unreachable!() };
        let mut page: serde_json::Value = serde_json::from_str(&page).unwrap();
        page["unique_users"] = serde_json::Value::Null;
        if page["step"] == "day" {
            page["periods"][1]["unique_users"] = serde_json::Value::Null;
        }
        page["unique_users_unknown_in"] = serde_json::json!(["2015-05-17T10:00:00Z"]);
        Answer::Text(page.to_string())
    });
    let days = ["query", "--from", "2015-05-16", "--to", "2015-05-17", "--step", "day"];
    let table = run(&server, &days, b"");
    assert!(table.stdout.contains("2015-05-17       unknown       1"), "{}", table.stdout);
    assert!(table.stdout.ends_with("UTC\nunknown unique users, 2 clicks, 0 impressions\n"), "{}", table.stdout);
    let csv = run(&server, &[&days[..], &["--format", "csv"]].concat(), b"");
    assert_eq!(csv.stdout, "day,unique_users,clicks,impressions\n2015-05-16,1,1,0\n2015-05-17,,1,0\n");
    let top = run(
        &server,
        &["top", "--from", "2015-05-16", "--to", "2015-05-17", "--step", "day", "--by", "unique-users"],
        b"",
    );
    let quiet = run(&server, &["query", "--from", "2015-05-16", "--to", "2015-05-16T00", "--format", "csv"], b"");
    assert_eq!(quiet.stderr, "", "each number that is printed is known");
    for run in [table, csv, top] {
        assert_eq!(run.code, 0);
        assert_eq!(
            run.stderr,
            "warning: unique users are unknown, because the hour 2015-05-17T10:00:00Z was settled without its visitors: run `analytics-cli backfill`\n"
        );
    }
}

#[test]
fn the_busiest_are_searched_in_any_range_which_is_told() {
    let server = counting_server();
    for (range, busiest) in [
        (&["--from", "2015-05-16", "--to", "2015-05-17"][..], "2015-05-17T23:00:00Z"),
        (&["--from", "2015-05-16T05", "--to", "2015-05-16T07"], "2015-05-16T07:00:00Z"),
        (&["--from", "2015-05-16", "--to", "2015-05-17", "--step", "day"], "2015-05-17"),
    ] {
        let top = run(&server, &[&["top", "--by", "clicks", "-n", "1"], range].concat(), b"");
        assert_eq!(periods_and_rest(&top).0, [busiest], "{range:?}");
    }
    let none = run(&server, &["top", "--from", "2015-05-16", "--to", "2015-05-17", "--step", "day"], b"");
    let (periods, rest) = periods_and_rest(&none);
    assert_eq!((periods.len(), rest[0]), (0, "2015-05-16 to 2015-05-17, UTC"), "none has impressions");
    assert!(rest[1].starts_with("1 unique user, ") && rest[1].ends_with(", 0 impressions"), "{rest:?}");
    let contradiction = run(&server, &["top", "--from", "yesterday", "--last", "1d"], b"");
    assert_eq!(contradiction.code, 2);
}

#[test]
fn a_query_without_a_time_asks_for_the_current_hour() {
    let server = counting_server();
    let run = run(&server, &["query", "--format", "json"], b"");
    let hours: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let hour = hours[0]["hour"].as_str().unwrap();
    let age = chrono::Utc::now() - chrono::DateTime::parse_from_rfc3339(hour).unwrap().to_utc();
    assert!(age >= chrono::TimeDelta::zero() && age < chrono::TimeDelta::hours(2), "{hour}");
}

#[test]
fn an_overloaded_server_and_a_foreign_one_are_different_errors() {
    for (answer, code, reason) in [
        (Answer::Problem(503, "Too many requests.", None), 1, "refused with 503 (A problem): Too many requests."),
        (Answer::Text("<html>".to_owned()), 2, "which is no answer of analyticsd; is the address right?"),
        (Answer::Foreign(404), 1, "which is no answer of analyticsd; is the address right?"),
        (Answer::Nothing, 2, "did not answer the request"),
    ] {
        let server = TestServer::answering(std::slice::from_ref(&answer));
        let run = run(&server, &["query", "--at", "now"], b"");
        assert_eq!(run.code, code, "{answer:?}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{answer:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = command(&["query", "--server", &format!("http://127.0.0.1:{port}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("cannot reach http://127.0.0.1:{port}")), "{stderr}");
    assert!(stderr.contains("Start it with `analyticsd --embedded`"), "{stderr}");
}
