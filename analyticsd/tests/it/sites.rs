use std::{
    collections::{HashMap, HashSet},
    future::Future,
    time::Duration,
};

use db::{DeletedSite, Flavour, Sites, Store, StoreOptions};
use harness::{Daemon, TestDatabase, on_both_flavours};
use model::{HourCounts, HoursPage, ListedSite, Problem, SiteId, SiteList, SiteName, access::Scope};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{sleep, timeout};

use crate::{
    spool::{Away, until_replayed},
    support::{at, counts, stored_events},
    tokens::{closed, public_key, public_key_of, revoke, send, share_of, token, token_of},
};

on_both_flavours!(
    each_site_counts_by_itself_open_and_settled,
    a_deleted_site_is_gone_at_once_and_its_events_after_a_while_and_no_other_site_notices,
);

const TEN: &str = "2015-05-17T10:00:00Z";
const SHOP: &str = "https://shop.example";

fn name(text: &str) -> SiteName {
    SiteName::new(text).unwrap()
}

async fn make_sites(store: &Store, names: &[&str]) {
    for text in names {
        Sites(store).create(&name(text), None).await.unwrap();
    }
}

/// `&site=…`, or nothing for the site without a name.
fn parameter(site: &str) -> String {
    if site.is_empty() { String::new() } else { format!("&site={site}") }
}

fn event(user: &str, kind: &str, site: &str) -> String {
    let millis = at(TEN).timestamp_millis();
    format!("/analytics?timestamp={millis}&user={user}&event={kind}{}", parameter(site))
}

async fn post(daemon: &Daemon, user: &str, kind: &str, site: &str) -> StatusCode {
    send(daemon, Method::POST, &event(user, kind, site), &[]).await.status()
}

fn hour_of(site: &str) -> String {
    format!("/analytics?timestamp={}{}", at(TEN).timestamp_millis(), parameter(site))
}

async fn read(response: Response) -> HourCounts {
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap().parse().unwrap()
}

async fn counts_of(daemon: &Daemon, site: &str) -> HourCounts {
    read(daemon.get(&hour_of(site)).await).await
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), waiting).await.unwrap_or_else(|_| panic!("{what} within a minute"));
}

async fn each_site_counts_by_itself_open_and_settled(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    make_sites(database.store(), &["shop", "blog"]).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "10ms"]).await;
    for (site, kinds) in [("", &["click"][..]), ("shop", &["click", "click", "impression"]), ("blog", &["impression"])]
    {
        for kind in kinds {
            assert_eq!(post(&daemon, "anna", kind, site).await, StatusCode::NO_CONTENT, "{site:?}");
        }
    }
    let expected = [("", counts(1, 1, 0)), ("shop", counts(1, 2, 1)), ("blog", counts(1, 0, 1))];
    for (site, expected) in expected {
        assert_eq!(counts_of(&daemon, site).await, expected, "{site:?}");
    }
    let client = database.client().await;
    until("all are settled", async || {
        let settled: i64 = client.query_one("select count(*) from analytics.settled_hours", &[]).await.unwrap().get(0);
        settled == 3
    })
    .await;
    for (site, expected) in expected {
        assert_eq!(counts_of(&daemon, site).await, expected, "{site:?} is settled");
    }

    // A late event reopens the hour of its own site only.
    assert_eq!(post(&daemon, "ben", "click", "shop").await, StatusCode::NO_CONTENT);
    for (site, expected) in [("", counts(1, 1, 0)), ("shop", counts(2, 3, 1)), ("blog", counts(1, 0, 1))] {
        assert_eq!(counts_of(&daemon, site).await, expected, "{site:?}");
        let page = daemon.get(&format!("/analytics/hours?from={TEN}&to={TEN}{}", parameter(site))).await;
        let page: HoursPage = page.json().await.unwrap();
        assert_eq!((page.hours[0].counts, page.unique_users), (expected, Some(expected.unique_users)), "{site:?}");
    }
    let rows = client.query("select site, clicks from analytics.hourly order by site", &[]).await.unwrap();
    let rows: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [(String::new(), 1), ("blog".to_owned(), 0), ("shop".to_owned(), 3)]);
}

#[tokio::test]
async fn a_batch_names_a_site_in_its_lines_or_for_all_that_name_none() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop", "blog"]).await;
    let daemon = Daemon::start(database.url()).await;
    let millis = at(TEN).timestamp_millis();
    let line = |user: &str, site: &str| {
        let site = if site.is_empty() { String::new() } else { format!(r#","site":"{site}""#) };
        format!(r#"{{"timestamp":{millis},"user":"{user}","event":"click","id":"k"{site}}}"#) + "\n"
    };
    let send = async |query: &str, lines: &[String]| {
        let url = format!("{}/analytics/batch{query}", daemon.url());
        daemon.http().post(url).body(lines.concat()).send().await.unwrap()
    };
    let lines = [line("anna", ""), line("anna", "shop"), line("ben", "blog")];
    assert_eq!(send("", &lines).await.status(), StatusCode::NO_CONTENT, "a key is one of its site");
    assert_eq!(send("?site=blog", &lines[..2]).await.status(), StatusCode::CONFLICT, "ben has it in the blog");
    assert_eq!(send("?site=shop", &[line("anna", "")]).await.status(), StatusCode::NO_CONTENT, "it is there already");
    for site in ["", "shop", "blog"] {
        assert_eq!(counts_of(&daemon, site).await, counts(1, 1, 0), "{site:?}");
    }

    let refused = send("", &[line("carl", ""), line("carl", "nothing")]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let problem: Problem = refused.json().await.unwrap();
    assert!(problem.detail.contains("There is no site nothing") && problem.line == Some(2), "{problem:?}");
    assert_eq!(stored_events(&database).await, 3, "all or nothing");
}

#[tokio::test]
async fn a_site_that_is_not_there_or_is_archived_takes_no_events() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop"]).await;
    let daemon = Daemon::start(database.url()).await;
    for (site, fault) in [
        ("nothing", "There is no site nothing."),
        ("Shop", "There is no site Shop."),
        ("a%20b", "holds something else"),
        ("-a", "begins with neither"),
        ("a&site=b", "is given more than once"),
    ] {
        for (method, target) in [(Method::POST, event("anna", "click", site)), (Method::GET, hour_of(site))] {
            let refused = send(&daemon, method, &target, &[]).await;
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{target}");
            let problem: Problem = refused.json().await.unwrap();
            assert_eq!(problem.parameter.as_deref(), Some("site"), "{target}");
            assert!(problem.detail.contains(fault), "{target}: {problem:?}");
        }
    }
    assert_eq!(stored_events(&database).await, 0);

    assert_eq!(post(&daemon, "anna", "click", "shop").await, StatusCode::NO_CONTENT);
    assert!(Sites(database.store()).archive(&name("shop"), true).await.unwrap());
    until("the daemon knows it", async || post(&daemon, "anna", "click", "shop").await == StatusCode::BAD_REQUEST)
        .await;
    let stored = counts(1, counts_of(&daemon, "shop").await.clicks, 0);
    let problem: Problem =
        send(&daemon, Method::POST, &event("anna", "click", "shop"), &[]).await.json().await.unwrap();
    assert!(problem.detail.contains("archived"), "{problem:?}");
    assert_eq!(counts_of(&daemon, "shop").await, stored);

    assert!(Sites(database.store()).archive(&name("shop"), false).await.unwrap());
    until("it takes events again", async || post(&daemon, "anna", "click", "shop").await == StatusCode::NO_CONTENT)
        .await;
}

#[tokio::test]
async fn who_has_a_token_of_one_site_cannot_tell_which_others_there_are() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop", "rival"]).await;
    let daemon = closed(&database, &[]).await;
    let everything = token(&database, &[Scope::Write, Scope::Read]).await;
    let own = token_of(&database, &[Scope::Write, Scope::Read], &["shop"]).await;
    let both = token_of(&database, &[Scope::Read], &["shop", "rival"]).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let ask = async |method: Method, target: &str, token: &str| {
        send(&daemon, method, target, &[("authorization", &bearer(token))]).await
    };
    until("the daemon knows the tokens", async || {
        ask(Method::GET, &hour_of(""), &own).await.status() == StatusCode::OK
            && ask(Method::GET, &hour_of("rival"), &both).await.status() == StatusCode::OK
    })
    .await;
    for site in ["rival", "shop", ""] {
        let stored = ask(Method::POST, &event("rita", "click", site), &everything).await;
        assert_eq!(stored.status(), StatusCode::NO_CONTENT, "{site:?}");
    }
    assert_eq!(ask(Method::POST, &event("anna", "click", ""), &own).await.status(), StatusCode::NO_CONTENT);
    for target in [hour_of(""), hour_of("shop")] {
        assert_eq!(read(ask(Method::GET, &target, &own).await).await, counts(2, 2, 0), "{target}");
    }

    let range = |site: &str| format!("/analytics/hours?from={TEN}&to={TEN}{}", parameter(site));
    let stream = |site: &str| format!("/analytics/stream?x{}", parameter(site));
    for (method, target) in
        [(Method::GET, hour_of as fn(&str) -> String), (Method::POST, |site| event("anna", "click", site))]
    {
        same_answer(&ask, &method, &target("rival"), &target("nothing"), &own).await;
    }
    let pixel = |site: &str| format!("/analytics.gif?user=anna{}", parameter(site));
    same_answer(&ask, &Method::GET, &pixel("rival"), &pixel("nothing"), &own).await;
    same_answer(&ask, &Method::GET, &range("rival"), &range("nothing"), &own).await;
    same_answer(&ask, &Method::GET, &stream("rival"), &stream("nothing"), &own).await;

    let several = ask(Method::GET, &hour_of(""), &both).await;
    assert_eq!(several.status(), StatusCode::BAD_REQUEST, "it is for two sites, and names none");
    let listed =
        async |token: &str| ask(Method::GET, "/analytics/sites", token).await.json::<SiteList>().await.unwrap();
    let site = |name: &str| ListedSite { name: name.to_owned(), archived: false };
    assert_eq!(listed(&own).await, SiteList { sites: vec![site("shop")], nameless: false });
    assert_eq!(listed(&both).await, SiteList { sites: vec![site("rival"), site("shop")], nameless: false });
    assert_eq!(listed(&everything).await, SiteList { sites: vec![site("rival"), site("shop")], nameless: true });
}

/// Whether two requests get the same refusal, but for what every answer has of its own.
async fn same_answer(
    ask: &impl AsyncFn(Method, &str, &str) -> Response,
    method: &Method,
    one: &str,
    other: &str,
    token: &str,
) {
    let mut answers = Vec::new();
    for target in [one, other] {
        let answer = ask(method.clone(), target, token).await;
        let mut headers = answer.headers().clone();
        headers.remove("date");
        headers.remove("x-request-id");
        answers.push((answer.status(), headers, answer.text().await.unwrap()));
    }
    assert_eq!(answers[0].0, StatusCode::FORBIDDEN, "{method} {one}");
    assert_eq!(answers[0], answers[1], "{method} {one} and {other}");
}

#[tokio::test]
async fn a_public_key_counts_for_its_site_or_for_the_one_without_a_name_and_for_no_other() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop", "rival"]).await;
    let daemon = closed(&database, &[]).await;
    let of_shop = public_key_of(&database, SHOP, "shop").await;
    let of_none = public_key(&database, &[SHOP]).await;
    let count = async |key: &str, site: &str| {
        let target = format!("{}&key={key}", event("anna", "click", site));
        send(&daemon, Method::POST, &target, &[("origin", SHOP)]).await.status()
    };
    let pixel = async |key: &str, site: &str| {
        let target = format!("/analytics.gif?user=ben&key={key}{}", parameter(site));
        send(&daemon, Method::GET, &target, &[("origin", SHOP)]).await.status()
    };
    until("the daemon knows the keys", async || count(&of_none, "").await == StatusCode::NO_CONTENT).await;
    let nameless = stored_events(&database).await;
    assert_eq!(count(&of_shop, "").await, StatusCode::NO_CONTENT);
    assert_eq!(count(&of_shop, "shop").await, StatusCode::NO_CONTENT);
    assert_eq!(pixel(&of_shop, "").await, StatusCode::OK);
    for (key, site) in [(&of_shop, "rival"), (&of_shop, "nothing"), (&of_none, "shop"), (&of_none, "nothing")] {
        assert_eq!(count(key, site).await, StatusCode::FORBIDDEN, "{site}");
        assert_eq!(pixel(key, site).await, StatusCode::FORBIDDEN, "{site}");
    }
    let of_sites = "select count(*) filter (where site = 0), count(*) filter (where site > 0) from analytics.events";
    let row = database.client().await.query_one(of_sites, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (nameless, 3));
}

#[tokio::test]
async fn a_site_keeps_its_counts_and_its_tokens_when_it_gets_another_name() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop"]).await;
    let daemon = closed(&database, &[]).await;
    let own = token_of(&database, &[Scope::Write, Scope::Read], &["shop"]).await;
    let headers = [("authorization", &*format!("Bearer {own}"))];
    let status = async |method: Method, target: String| send(&daemon, method, &target, &headers).await.status();
    until("the daemon knows the token", async || {
        status(Method::POST, event("anna", "click", "")).await == StatusCode::NO_CONTENT
    })
    .await;
    Sites(database.store()).rename(&name("shop"), &name("store")).await.unwrap();
    until("the daemon knows the name", async || status(Method::GET, hour_of("store")).await == StatusCode::OK).await;
    assert_eq!(status(Method::GET, hour_of("shop")).await, StatusCode::FORBIDDEN);
    let stored = read(send(&daemon, Method::GET, &hour_of(""), &headers).await).await;
    assert_eq!((stored.unique_users, stored.impressions), (1, 0));
}

async fn a_deleted_site_is_gone_at_once_and_its_events_after_a_while_and_no_other_site_notices(flavour: Flavour) {
    let database = TestDatabase::new(flavour).await;
    make_sites(database.store(), &["shop", "blog"]).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--settle-after", "10ms"]).await;
    for site in ["", "shop", "blog"] {
        assert_eq!(post(&daemon, "anna", "click", site).await, StatusCode::NO_CONTENT);
    }
    let client = database.client().await;
    let rows = async |table: &str| -> i64 {
        client.query_one(&format!("select count(*) from analytics.{table} where site = 1"), &[]).await.unwrap().get(0)
    };
    until("it is settled", async || rows("settled_hours").await == 1).await;

    assert_eq!(Sites(database.store()).delete(&name("shop")).await.unwrap(), DeletedSite::Deleted);
    assert_eq!(Sites(database.store()).delete(&name("shop")).await.unwrap(), DeletedSite::Unknown, "it is gone");
    until("the daemon knows it", async || {
        let answer = daemon.get(&hour_of("shop")).await;
        answer.status() == StatusCode::BAD_REQUEST
    })
    .await;
    until("its events are deleted", async || {
        let mut left = 0;
        for table in ["events", "hour_counts", "hour_users", "event_keys", "settled_hours"] {
            left += rows(table).await;
        }
        left == 0
    })
    .await;
    for site in ["", "blog"] {
        assert_eq!(counts_of(&daemon, site).await, counts(1, 1, 0), "{site:?}");
    }

    // Another site of the name begins with nothing.
    make_sites(database.store(), &["shop"]).await;
    until("the daemon knows the new one", async || daemon.get(&hour_of("shop")).await.status() == StatusCode::OK).await;
    assert_eq!(counts_of(&daemon, "shop").await, HourCounts::default());
    assert_eq!(post(&daemon, "ben", "click", "shop").await, StatusCode::NO_CONTENT);
    assert_eq!(counts_of(&daemon, "shop").await, counts(1, 1, 0));
    let numbers = Sites(database.store()).list().await.unwrap();
    assert!(numbers.iter().all(|site| site.id != SiteId::new(1).unwrap()), "{numbers:?}");
    let auditor = db::Auditor::connect(database.store()).await.unwrap();
    let hour = model::Hour::starting_at(at(TEN)).unwrap();
    for audited in auditor.audit(&(hour..=hour), None).await.unwrap() {
        assert_eq!(audited.differences(), [], "{audited:?}");
    }
}

#[tokio::test]
async fn events_of_sites_are_spooled_in_an_outage_and_those_of_a_site_that_is_deleted_meanwhile_are_set_aside() {
    let mut database = Away::not_yet().await;
    let store = Store::new(database.url(), StoreOptions::default()).unwrap();
    make_sites(&store, &["shop", "gone"]).await;
    database.daemon(&[]).await.kill().await;
    database.go().await;
    // It knows the sites from what the last run wrote to disk.
    let daemon = database.daemon(&[]).await;
    for site in ["", "shop", "gone"] {
        assert_eq!(post(&daemon, "anna", "click", site).await, StatusCode::ACCEPTED, "{site:?}");
    }
    assert_eq!(post(&daemon, "anna", "click", "nothing").await, StatusCode::BAD_REQUEST);
    let for_two = line("ben", "click", "gone") + &line("ben", "click", "shop") + &line("carl", "click", "gone");
    let batch =
        daemon.http().post(format!("{}/analytics/batch?id=k", daemon.url())).body(for_two).send().await.unwrap();
    assert_eq!(batch.status(), StatusCode::ACCEPTED);
    daemon.kill().await;
    database.come_back().await;
    assert_eq!(Sites(&store).delete(&name("gone")).await.unwrap(), DeletedSite::Deleted);
    let daemon = database.daemon(&[]).await;
    until_replayed(&daemon).await;
    assert_eq!(counts_of(&daemon, "").await, counts(1, 1, 0));
    assert_eq!(
        counts_of(&daemon, "shop").await,
        counts(2, 2, 0),
        "a request for two sites is stored for the one that is left"
    );
    let events = store.stored_events().await.unwrap();
    assert_eq!(events.len(), 3, "{events:?}");
}

/// Who asks: may write, may read, and the sites that it is for; none: for all.
#[derive(Clone, Copy)]
struct Caller {
    may_write: bool,
    may_read: bool,
    sites: Option<&'static [&'static str]>,
    /// Whether the site is there still that is deleted on the way.
    knows_news: bool,
}

/// Beside the one without a name. The last one is never made.
const NAMES: [&str; 4] = ["shop", "blog", "news", "nothing"];
const CALLERS: [Caller; 6] = [
    Caller { may_write: true, may_read: true, sites: None, knows_news: true },
    Caller { may_write: true, may_read: true, sites: Some(&["shop"]), knows_news: true },
    Caller { may_write: true, may_read: false, sites: Some(&["blog"]), knows_news: true },
    Caller { may_write: false, may_read: true, sites: Some(&["shop", "blog"]), knows_news: true },
    Caller { may_write: true, may_read: true, sites: Some(&["news", "shop"]), knows_news: true },
    Caller { may_write: false, may_read: true, sites: None, knows_news: true },
];

impl Caller {
    /// The site that a request counts for or reads, or the status that refuses it.
    fn site(self, is_write: bool, named: &'static str) -> Result<&'static str, StatusCode> {
        if !(if is_write { self.may_write } else { self.may_read }) {
            return Err(StatusCode::FORBIDDEN);
        }
        match (self.sites, named) {
            (None, "nothing") => Err(StatusCode::BAD_REQUEST),
            (None, "news") if !self.knows_news => Err(StatusCode::BAD_REQUEST),
            (Some(_), "news") if !self.knows_news => Err(StatusCode::FORBIDDEN),
            (None, named) => Ok(named),
            (Some(_), "") => match self.list()[..] {
                [only] => Ok(only),
                _ => Err(StatusCode::BAD_REQUEST),
            },
            (Some(sites), named) if sites.contains(&named) => Ok(named),
            (Some(_), _) => Err(StatusCode::FORBIDDEN),
        }
    }
}

impl Caller {
    /// The sites with names that it is told of.
    fn list(self) -> Vec<&'static str> {
        let is_there = |name: &&str| *name != "nothing" && (*name != "news" || self.knows_news);
        let may_read = |name: &&str| self.sites.is_none_or(|sites| sites.contains(name));
        let mut names: Vec<_> = NAMES.into_iter().filter(is_there).filter(may_read).collect();
        names.sort_unstable();
        names
    }
}

fn line(user: &str, kind: &str, site: &str) -> String {
    let site = if site.is_empty() { String::new() } else { format!(r#","site":"{site}""#) };
    format!(r#"{{"timestamp":{},"user":"{user}","event":"{kind}"{site}}}"#, at(TEN).timestamp_millis()) + "\n"
}

/// What was sent to each site, counted in the simplest way.
#[derive(Default)]
struct Sent {
    clicks: HashMap<&'static str, u64>,
    impressions: HashMap<&'static str, u64>,
    users: HashSet<(&'static str, u8)>,
}

impl Sent {
    fn add(&mut self, site: &'static str, user: u8, is_click: bool) {
        let kinds = if is_click { &mut self.clicks } else { &mut self.impressions };
        *kinds.entry(site).or_default() += 1;
        self.users.insert((site, user));
    }

    fn counts(&self, site: &str) -> HourCounts {
        let of = |kinds: &HashMap<&'static str, u64>| kinds.get(site).copied().unwrap_or_default();
        let users = self.users.iter().filter(|(seen, _)| *seen == site).count();
        counts(u64::try_from(users).unwrap(), of(&self.clicks), of(&self.impressions))
    }
}

#[tokio::test]
async fn whoever_asks_whatever_each_site_counts_what_was_sent_to_it_and_nobody_learns_of_another() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &NAMES[..3]).await;
    let daemon = closed(&database, &["--settle-after", "10ms"]).await;
    let mut tokens = Vec::new();
    for Caller { may_write, may_read, sites, .. } in CALLERS {
        let scopes = [(may_write, Scope::Write), (may_read, Scope::Read)];
        let scopes: Vec<Scope> = scopes.into_iter().filter_map(|(may, scope)| may.then_some(scope)).collect();
        tokens.push(token_of(&database, &scopes, sites.unwrap_or_default()).await);
    }
    let last = format!("Bearer {}", tokens[5]);
    until("the daemon knows the tokens", async || {
        send(&daemon, Method::GET, &hour_of(""), &[("authorization", &last)]).await.status() == StatusCode::OK
    })
    .await;

    let mut rng = StdRng::seed_from_u64(20_150_517);
    let mut sent = Sent::default();
    for step in 0..600 {
        if step == 400 {
            assert_eq!(Sites(database.store()).delete(&name("news")).await.unwrap(), DeletedSite::Deleted);
            until("the daemon knows it", async || {
                let all = format!("Bearer {}", tokens[0]);
                let answer = send(&daemon, Method::GET, &hour_of("news"), &[("authorization", &all)]).await;
                answer.status() == StatusCode::BAD_REQUEST
            })
            .await;
        }
        let place = rng.random_range(0..CALLERS.len());
        let caller = Caller { knows_news: step < 400, ..CALLERS[place] };
        let authorization = format!("Bearer {}", tokens[place]);
        let headers = [("authorization", &*authorization)];
        let mut draw = || if rng.random_bool(0.3) { "" } else { NAMES[rng.random_range(0..NAMES.len())] };
        let (named, in_line) = (draw(), draw());
        let (user, is_click) = (rng.random_range(0..5), rng.random_bool(0.5));
        let (user_name, kind) = (format!("user{user}"), if is_click { "click" } else { "impression" });
        match rng.random_range(0..5) {
            0 => {
                let answer = send(&daemon, Method::POST, &event(&user_name, kind, named), &headers).await;
                let expected = caller.site(true, named).map(|site| sent.add(site, user, is_click)).err();
                assert_eq!(answer.status(), expected.unwrap_or(StatusCode::NO_CONTENT), "step {step}: {named:?}");
            }
            1 => {
                // The second line names a site itself, or is for that of the request.
                let lines = line(&user_name, kind, "") + &line(&user_name, kind, in_line);
                let url = format!("{}/analytics/batch?x{}", daemon.url(), parameter(named));
                let request = daemon.http().post(url).header("authorization", &authorization).body(lines);
                let answer = request.send().await.unwrap().status();
                let second = if in_line.is_empty() { named } else { in_line };
                let found = caller.site(true, named).and_then(|first| Ok((first, caller.site(true, second)?)));
                let expected = match found {
                    Ok((first, second)) => {
                        sent.add(first, user, is_click);
                        sent.add(second, user, is_click);
                        StatusCode::NO_CONTENT
                    }
                    Err(status) => status,
                };
                assert_eq!(answer, expected, "step {step}: {named:?} {in_line:?}");
            }
            2 => {
                let answer = send(&daemon, Method::GET, &hour_of(named), &headers).await;
                match caller.site(false, named) {
                    Ok(site) => assert_eq!(read(answer).await, sent.counts(site), "step {step}: {site:?}"),
                    Err(status) => assert_eq!(answer.status(), status, "step {step}: {named:?}"),
                }
            }
            3 => {
                let target = format!("/analytics/hours?from={TEN}&to={TEN}{}", parameter(named));
                let answer = send(&daemon, Method::GET, &target, &headers).await;
                match caller.site(false, named) {
                    Ok(site) => {
                        let page: HoursPage = answer.json().await.unwrap();
                        let expected = sent.counts(site);
                        assert_eq!(page.hours[0].counts, expected, "step {step}: {site:?}");
                        assert_eq!(page.unique_users, Some(expected.unique_users), "step {step}: {site:?}");
                    }
                    Err(status) => assert_eq!(answer.status(), status, "step {step}: {named:?}"),
                }
            }
            _ => {
                let answer = send(&daemon, Method::GET, "/analytics/sites", &headers).await;
                if !caller.may_read {
                    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "step {step}");
                    continue;
                }
                let told: SiteList = answer.json().await.unwrap();
                let of_token: Vec<String> = told.sites.into_iter().map(|site| site.name).collect();
                assert_eq!(of_token, caller.list(), "step {step}");
            }
        }
    }
    let everything = format!("Bearer {}", tokens[0]);
    for site in ["", "shop", "blog"] {
        let answer = send(&daemon, Method::GET, &hour_of(site), &[("authorization", &everything)]).await;
        assert_eq!(read(answer).await, sent.counts(site), "{site:?}");
    }
}

#[tokio::test]
async fn events_make_sites_only_where_that_is_set_with_a_token_for_all_sites_and_not_without_end() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop"]).await;
    let all = token(&database, &[Scope::Write, Scope::Read]).await;
    let own = token_of(&database, &[Scope::Write], &["shop"]).await;
    let reads = token(&database, &[Scope::Read]).await;
    let strict = closed(&database, &[]).await;
    let daemon = closed(&database, &["--new-sites", "3"]).await;
    let ask = async |daemon: &Daemon, method: Method, target: &str, token: &str| {
        let answer = send(daemon, method, target, &[("authorization", &format!("Bearer {token}"))]).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    until("the daemons know the tokens", async || {
        let knows = async |daemon| ask(daemon, Method::GET, &hour_of(""), &reads).await.0 == 200;
        knows(&strict).await && knows(&daemon).await
    })
    .await;
    let event = |site: &str| event("anna", "click", site);
    assert_eq!(ask(&strict, Method::POST, &event("one"), &all).await.0, 400);
    assert_eq!(ask(&daemon, Method::GET, &hour_of("one"), &all).await.0, 400, "a request that reads makes none");
    assert_eq!(ask(&daemon, Method::POST, &event("one"), &own).await.0, 403);
    let batch = async |lines: String| {
        let request = daemon.http().post(format!("{}/analytics/batch", daemon.url())).bearer_auth(&all);
        request.body(lines).send().await.unwrap().status().as_u16()
    };
    assert_eq!(batch(line("anna", "click", "one") + "nonsense").await, 400, "what is refused makes none");
    assert_eq!(Sites(database.store()).list().await.unwrap().len(), 1);

    // At the same time, so that some find it made by another.
    let target = event("one");
    let posts = [(); 8].map(|()| ask(&daemon, Method::POST, &target, &all));
    for (status, text) in futures_util::future::join_all(posts).await {
        assert_eq!(status, 204, "{text}");
    }
    let lines = line("anna", "click", "two") + &line("anna", "click", "shop") + &line("ben", "click", "two");
    assert_eq!(batch(lines).await, 204);
    assert_eq!(ask(&daemon, Method::GET, &hour_of("two"), &all).await.1, "unique_users,2\nclicks,2\nimpressions,0\n");
    let (status, text) = ask(&daemon, Method::POST, &event("three"), &all).await;
    assert!(status == 400 && text.contains("fewer than 3"), "{text}");
    let names: Vec<String> = Sites(database.store()).list().await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["one", "shop", "two"]);
    assert_eq!(ask(&daemon, Method::GET, &hour_of("one"), &all).await.1, "unique_users,1\nclicks,8\nimpressions,0\n");
}

#[tokio::test]
async fn a_share_link_reads_its_one_site_and_only_where_the_daemon_accepts_such_links() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop", "blog"]).await;
    let share = share_of(&database, "shop").await;
    let (strict, daemon) = (closed(&database, &[]).await, closed(&database, &["--share-links"]).await);
    let ask = async |daemon: &Daemon, method: Method, target: &str| {
        let answer = send(daemon, method, target, &[("authorization", &format!("Bearer {share}"))]).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    until("the daemon knows it", async || ask(&daemon, Method::GET, &hour_of("")).await.0 == 200).await;
    until("the other knows it too", async || ask(&strict, Method::GET, &hour_of("")).await.1.contains("--share-links"))
        .await;
    assert_eq!(ask(&strict, Method::GET, &hour_of("shop")).await.0, 401);
    assert_eq!(ask(&daemon, Method::GET, &hour_of("shop")).await.0, 200);
    assert_eq!(ask(&daemon, Method::GET, &hour_of("blog")).await.0, 403);
    assert_eq!(ask(&daemon, Method::POST, &event("anna", "click", "")).await.0, 403);
    let in_url = daemon.get(&format!("{}&key={share}", hour_of(""))).await;
    assert_eq!(in_url.status(), StatusCode::BAD_REQUEST, "it is a secret all the same");
    revoke(&database, &share).await;
    until("it is revoked", async || ask(&daemon, Method::GET, &hour_of("")).await.0 == 401).await;
}

#[tokio::test]
async fn a_site_that_gets_more_requests_than_it_may_is_told_so_and_no_other() {
    let database = TestDatabase::new(Flavour::Postgres).await;
    make_sites(database.store(), &["shop", "blog", "news"]).await;
    let daemon = Daemon::start_with(["--database-url", database.url(), "--rate-limit-per-site", "1/h:3"]).await;
    for _ in 0..3 {
        assert_eq!(post(&daemon, "anna", "click", "shop").await, StatusCode::NO_CONTENT);
    }
    let refused = send(&daemon, Method::POST, &event("anna", "click", "shop"), &[]).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("This site gets more requests"));
    for _ in 0..3 {
        assert_eq!(counts_of(&daemon, "shop").await, counts(1, 3, 0), "reads have a rate of their own");
    }
    assert_eq!(daemon.get(&hour_of("shop")).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let batch = async || {
        let lines = line("ben", "click", "") + &line("carl", "click", "news");
        let request = daemon.http().post(format!("{}/analytics/batch?site=news", daemon.url())).body(lines);
        request.send().await.unwrap().status()
    };
    assert_eq!([batch().await, batch().await, batch().await], [StatusCode::NO_CONTENT; 3], "one for its site each");
    assert_eq!(batch().await, StatusCode::TOO_MANY_REQUESTS);
    for site in ["blog", ""] {
        assert_eq!(post(&daemon, "anna", "click", site).await, StatusCode::NO_CONTENT, "{site:?}");
        assert_eq!(counts_of(&daemon, site).await, counts(1, 1, 0), "{site:?}");
    }
    assert_eq!(stored_events(&database).await, 11);
}
