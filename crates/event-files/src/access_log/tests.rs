use model::wire::{SentEvent, SentVisitor};
use proptest::prelude::*;

use super::{AccessLog, PageViewRules, PathPattern, VisitorOf};
use crate::{LogFormat, record::Content};

fn read_as(format: &LogFormat, rules: PageViewRules, line: &[u8]) -> String {
    match AccessLog::new(format, rules).read(line) {
        Content::Event(SentEvent { at, kind, visitor, .. }) => match visitor {
            SentVisitor::Named(user) => format!("{} {user} {kind}", at.millis()),
            SentVisitor::Client { address, agent } => format!("{} {address} {agent} {kind}", at.millis()),
        },
        Content::LeftOut(reason) => reason.name().to_owned(),
        Content::Unreadable(reason) => reason.to_string(),
    }
}

fn read(line: &[u8]) -> String {
    let own_hosts = vec!["WWW.Example.com:80".parse().unwrap(), "[::1]:8080".parse().unwrap()];
    read_as(&LogFormat::Combined { has_host: false }, PageViewRules { own_hosts, ..PageViewRules::default() }, line)
}

fn request(request: &str, status: u16, referer: &str) -> String {
    let line =
        format!(r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "{request}" {status} 20 "{referer}" "Mozilla/5.0""#);
    read(line.as_bytes()).replace("1431857103000 10.0.0.1 ", "")
}

#[test]
fn a_page_view_is_a_successful_get_of_something_that_is_no_asset() {
    for (line, status, expected) in [
        ("GET / HTTP/1.1", 200, "impression"),
        ("GET / HTTP/1.1", 206, "impression"),
        ("GET / HTTP/1.1", 299, "impression"),
        ("GET / HTTP/1.1", 304, "impression"),
        ("GET / HTTP/1.1", 199, "other_statuses"),
        ("GET / HTTP/1.1", 300, "other_statuses"),
        ("GET / HTTP/1.1", 301, "other_statuses"),
        ("GET / HTTP/1.1", 404, "other_statuses"),
        ("GET / HTTP/1.1", 500, "other_statuses"),
        ("HEAD / HTTP/1.1", 200, "other_methods"),
        ("POST / HTTP/1.1", 200, "other_methods"),
        ("get / HTTP/1.1", 200, "other_methods"),
        ("GETS / HTTP/1.1", 200, "other_methods"),
        ("-", 408, "other_methods"),
        ("", 400, "other_methods"),
        ("GET /", 200, "impression"),
        ("GET /a.css", 200, "assets"),
        ("GET /page.html HTTP/2.0", 200, "impression"),
        ("GET /a.css HTTP/1.1", 200, "assets"),
        ("GET /a.CsS HTTP/1.1", 200, "assets"),
        ("GET /a.min.js?v=1.0 HTTP/1.1", 200, "assets"),
        ("GET /a.js#x HTTP/1.1", 200, "assets"),
        ("GET /a.tar.gz HTTP/1.1", 200, "assets"),
        ("GET /favicon.ico HTTP/1.1", 200, "assets"),
        ("GET /robots.txt HTTP/1.1", 200, "assets"),
        ("GET /.png HTTP/1.1", 200, "assets"),
        ("GET /css HTTP/1.1", 200, "impression"),
        ("GET /page? HTTP/1.1", 200, "impression"),
        ("GET /page?file=a.css HTTP/1.1", 200, "impression"),
        ("GET /page?back=/x/a.css HTTP/1.1", 200, "impression"),
        ("GET /page#a.css HTTP/1.1", 200, "impression"),
        ("GET /styles.css/ HTTP/1.1", 200, "impression"),
        ("GET /styles.css/page HTTP/1.1", 200, "impression"),
        ("GET /page. HTTP/1.1", 200, "impression"),
        ("GET /page.css2 HTTP/1.1", 200, "impression"),
        ("GET /two words.css HTTP/1.1", 200, "assets"),
        ("GET /two words HTTP/1.1", 200, "impression"),
        ("GET http://example.com/a.css HTTP/1.1", 200, "assets"),
        ("GET http://example.com/page HTTP/1.1", 200, "impression"),
        ("GET http://example.zip HTTP/1.1", 200, "impression"),
        ("GET HTTP://example.zip?a=/b.css HTTP/1.1", 200, "impression"),
        ("GET /go?to=http://example.com/a.css HTTP/1.1", 200, "impression"),
        ("GET /go/http://example.com/a.css HTTP/1.1", 200, "assets"),
        (r#"GET /say/\"a.css\" HTTP/1.1"#, 200, "impression"),
    ] {
        assert_eq!(request(line, status, "-"), expected, "{line:?} {status}");
    }
}

#[test]
fn a_page_view_is_a_click_if_a_page_of_the_site_led_to_it() {
    for (referer, expected) in [
        ("-", "impression"),
        ("", "impression"),
        ("http://example.com", "click"),
        ("http://example.com/", "click"),
        ("https://example.com/page?q=1", "click"),
        ("https://example.com?q=1", "click"),
        ("http://www.example.com/", "click"),
        ("http://WWW.EXAMPLE.com/", "click"),
        ("HTTPS://Example.Com:8443/", "click"),
        ("http://user:secret@example.com/", "click"),
        ("http://[::1]/page", "click"),
        ("http://example.com@evil.org/", "impression"),
        ("http://www.www.example.com/", "impression"),
        ("http://blog.example.com/", "impression"),
        ("http://example.com.evil.org/", "impression"),
        ("http://notexample.com/", "impression"),
        ("http://evil.org/http://example.com/", "impression"),
        ("http://evil.org?http://example.com/", "impression"),
        ("/go?to=http://example.com/", "impression"),
        ("example.com", "impression"),
        ("example.com/page", "impression"),
        ("//example.com/", "impression"),
        ("://example.com/", "impression"),
        ("http://", "impression"),
        ("http:///", "impression"),
        ("http://[example.com/", "impression"),
        ("http://www.", "impression"),
        (r#"\"http://example.com/"#, "impression"),
    ] {
        assert_eq!(request("GET / HTTP/1.1", 200, referer), expected, "{referer:?}");
    }
}

#[test]
fn the_user_is_the_first_field_and_the_time_may_have_any_offset() {
    let line = |client: &str, names: &str, time: &str| {
        read(format!(r#"{client} {names} [{time}] "GET / HTTP/1.1" 200 - "-" "a""#).as_bytes())
    };
    assert_eq!(line("10.0.0.1", "- -", "17/May/2015:10:05:03 +0000"), "1431857103000 10.0.0.1 impression");
    assert_eq!(line("::1", "- -", "17/May/2015:12:05:03 +0200"), "1431857103000 ::1 impression");
    assert_eq!(
        line("host.example.net", "- frank smith", "17/May/2015:04:35:03 -0530"),
        "1431857103000 host.example.net impression"
    );
    assert_eq!(line("10.0.0.1", "id \"\"", "29/Feb/2016:23:59:59 +0000"), "1456790399000 10.0.0.1 impression");
    for time in [
        "30/Feb/2016:23:59:59 +0000",
        "17/May/2015 10:05:03 +0000",
        "17/Mai/2015:10:05:03 +0000",
        "17/May/2015:10:05:03",
        "",
    ] {
        assert!(line("10.0.0.1", "- -", time).contains("is not a line of this access log"), "{time:?}");
    }
    assert!(line("10.0.0.1", "- -", "31/Dec/1969:23:59:59 +0000").contains("timestamp is negative"));
    assert!(line(&"x".repeat(257), "- -", "17/May/2015:10:05:03 +0000").contains("neither an address nor a host"));
}

#[test]
fn clients_may_write_quotes_and_any_bytes_into_their_agent() {
    let head = br#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /\xff\"a HTTP/1.1" 200 20 "#;
    for tail in [
        &br#""-" "say \"hello\"""#[..],
        br#""-" "a backslash \\""#,
        b"\"http://\xff\xfe/\" \"\xff\xfe\"",
        br#""-" "" "added" 0.005"#,
    ] {
        let line = [&head[..], tail].concat();
        assert_eq!(read(&line), "1431857103000 10.0.0.1 impression", "{}", String::from_utf8_lossy(tail));
    }
}

#[test]
fn what_is_no_log_line_is_unreadable_and_says_where() {
    let whole = r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 20 "-" "agent""#;
    assert!(read(whole.as_bytes()).ends_with("impression"));
    for end in 0..whole.len() {
        assert!(read(&whole.as_bytes()[..end]).contains("is not a line of this"), "{}", &whole[..end]);
    }
    for (part, instead, reason) in [
        ("10.0.0.1 ", "", "there are no client, identity and user"),
        (" - - [", " [", "there are no client, identity and user"),
        (" - - [", "  [", "there are no client, identity and user"),
        (" 200 ", " 2000 ", "the status is not a number of three digits"),
        (" 200 ", " +20 ", "the status is not a number of three digits"),
        (" 20 ", " many ", "the size is not a number"),
        (r#" "-" "agent""#, "", "so it may be the common format"),
        (r#""-" "agent""#, "", "there is no referer"),
        (r#"agent""#, r#"agent\""#, "the quote of the agent is not closed"),
        (r#"agent""#, r#"agent"x"#, "something after its last field"),
    ] {
        let line = whole.replacen(part, instead, 1);
        assert!(read(line.as_bytes()).contains(reason), "{line} gave {}", read(line.as_bytes()));
    }
}

#[test]
fn what_is_left_out_can_be_chosen() {
    let line = |path: &str, agent: &str| {
        format!(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET {path} HTTP/1.1" 200 5 "-" "{agent}""#)
    };
    let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
    let rules = || PageViewRules {
        asset_endings: vec!["html".to_owned()],
        excluded: ["/health", "/admin/*", "/v?/x"].map(|text| PathPattern::new(text).unwrap()).to_vec(),
        exclude_bots: true,
        ..PageViewRules::default()
    };
    for (path, agent, expected) in [
        ("/a.css", browser, "1431857103000 192.0.2.1 impression"),
        ("/a.HTML;jsessionid=1", browser, "assets"),
        ("/", "kube-probe/1.29", "bots"),
        ("/", "-", "bots"),
        ("/a.html", browser, "assets"),
        ("/health?x", browser, "excluded"),
        ("/health/", browser, "1431857103000 192.0.2.1 impression"),
        ("/admin/a/b", browser, "excluded"),
        ("/my/admin/a", browser, "1431857103000 192.0.2.1 impression"),
        ("/v1/x", browser, "excluded"),
        ("/v10/x", browser, "1431857103000 192.0.2.1 impression"),
        ("/", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bots"),
        ("/", "curl/8.5.0", "bots"),
        (
            "/",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "bots",
        ),
        ("/", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "bots"),
        ("/", "facebookexternalhit/1.1", "bots"),
        ("/", "python-requests/2.31.0", "bots"),
        ("/", "Go-http-client/1.1", "bots"),
        ("/", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "bots"),
        (
            "/",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
            "bots",
        ),
        ("/analytics", browser, "assets"),
        ("/analytics.gif?site=a", browser, "assets"),
        ("/analytics/hours", browser, "assets"),
        ("/analytics-for-shops", browser, "1431857103000 192.0.2.1 impression"),
    ] {
        let format = LogFormat::Combined { has_host: false };
        assert_eq!(read_as(&format, rules(), line(path, agent).as_bytes()), expected, "{path} {agent}");
    }
}

#[test]
fn a_visitor_may_be_an_address_together_with_a_browser() {
    let rules = || PageViewRules { visitor: VisitorOf::AddressAndAgent, ..PageViewRules::default() };
    for (client, expected) in [
        ("192.0.2.1:50718", "1431857103000 192.0.2.1 Firefox impression"),
        ("host.example.net", "names as its client \"host.example.net\", which is no address"),
    ] {
        let line = format!(r#"{client} - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "Firefox""#);
        let seen = read_as(&LogFormat::Combined { has_host: false }, rules(), line.as_bytes());
        assert!(seen.starts_with(expected), "{seen}");
    }
}

#[test]
fn the_list_at_the_end_of_a_line_is_read_where_proxies_are_trusted() {
    let line =
        r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "Firefox" "203.0.113.66, 192.0.2.7""#;
    let read = |trusted: &[&str]| {
        let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let rules = PageViewRules { trusted_proxies, ..PageViewRules::default() };
        read_as(&LogFormat::Combined { has_host: false }, rules, line.as_bytes())
    };
    assert_eq!(read(&["10.0.0.0/8"]), "1431857103000 192.0.2.7 impression");
    assert_eq!(read(&["127.0.0.1/32"]), "1431857103000 10.0.0.1 impression");
    assert!(read(&[]).contains("--trusted-proxies"));
}

/// They may be what a proxy wrote, and then the client that the line begins with is the proxy.
#[test]
fn a_line_with_addresses_further_behind_counts_only_for_whom_it_is_certain() {
    let head = r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "Firefox""#;
    let read = |tail: &str, trusted: &[&str]| {
        let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let rules = PageViewRules { trusted_proxies, ..PageViewRules::default() };
        read_as(&LogFormat::Combined { has_host: false }, rules, format!("{head}{tail}").as_bytes())
    };
    for tail in [
        r#" "shop.example" "203.0.113.66, 192.0.2.7""#,
        r#" 0.005 "192.0.2.7""#,
        r#" rt=0.005 xff="192.0.2.7" ua="-""#,
        r#" "-" "2001:db8::7""#,
        " 192.0.2.7",
        r#" "203.0.113.66, 192.0.2.7:50718""#,
        r#" "192.0.2.7:50718""#,
        r#" "-" "[2001:db8::7]:50718""#,
    ] {
        assert!(read(tail, &[]).contains("--trusted-proxies"), "{tail}: {}", read(tail, &[]));
        assert!(read(tail, &["10.0.0.0/8"]).contains("comes from a trusted proxy"), "{tail}");
        assert_eq!(read(tail, &["127.0.0.1/32"]), "1431857103000 10.0.0.1 impression", "{tail}");
    }
    // The list directly behind the agent is that of nginx's format `main`.
    let both = r#" "192.0.2.7" "shop.example" "10.0.0.9""#;
    assert!(read(both, &[]).contains("--trusted-proxies"));
    assert_eq!(read(both, &["10.0.0.0/8"]), "1431857103000 192.0.2.7 impression");
    // Times, and addresses of servers with their ports, are not those of clients.
    for tail in [" 0.005 [shop-web-80] [] 10.1.2.3:8080 5 0.004 200 7f", r#" "-" "[2001:db8::9]:80" 10:05:03"#] {
        assert_eq!(read(tail, &[]), "1431857103000 10.0.0.1 impression", "{tail}");
    }
    // A list before the referer moves both.
    let moved = head.replace(r#""-" "Firefox""#, r#""203.0.113.66, 192.0.2.7" "https://shop.example/?ip=192.0.2.9""#);
    let seen = read_as(&LogFormat::Combined { has_host: false }, PageViewRules::default(), moved.as_bytes());
    assert!(seen.contains("--trusted-proxies"), "{seen}");
    let linked = head.replace(r#""-""#, r#""https://192.0.2.9/?ip=192.0.2.7""#);
    let seen = read_as(&LogFormat::Combined { has_host: false }, PageViewRules::default(), linked.as_bytes());
    assert_eq!(seen, "1431857103000 10.0.0.1 impression");
}

#[test]
fn agent_and_referer_are_what_the_client_sent() {
    let rules = || PageViewRules {
        visitor: VisitorOf::AddressAndAgent,
        own_hosts: vec!["bücher.example".parse().unwrap()],
        excluded: vec![PathPattern::new("/bücher").unwrap()],
        ..PageViewRules::default()
    };
    let read = |path: &str, referer: &str, agent: &str| {
        let line =
            format!(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET {path} HTTP/1.1" 200 5 "{referer}" "{agent}""#);
        read_as(&LogFormat::Combined { has_host: false }, rules(), line.as_bytes())
    };
    for (agent, sent) in [
        (r"Mozilla/5.0 (\x22x\x22)", r#"Mozilla/5.0 ("x")"#),
        (r#"say \"hello\""#, r#"say "hello""#),
        (r"caf\xc3\xa9 \\", r"café \"),
    ] {
        assert_eq!(read("/", "-", agent), format!("1431857103000 192.0.2.1 {sent} impression"));
    }
    assert!(read("/", r"https://b\xC3\xBCcher.example/", "a").ends_with("click"));
    assert_eq!(read(r"/b\xC3\xBCcher", "-", "a"), "excluded");
}

#[test]
fn who_sends_no_agent_is_a_bot_where_the_log_has_agents() {
    let rules = || PageViewRules { exclude_bots: true, ..PageViewRules::default() };
    let common = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5"#;
    let (has_host, view) = (false, "1431857103000 192.0.2.1 impression");
    for (format, line, expected) in [
        (LogFormat::Common { has_host }, common.to_owned(), view),
        (LogFormat::Combined { has_host }, format!(r#"{common} "-" """#), "bots"),
        (LogFormat::Combined { has_host }, format!(r#"{common} "-" "-""#), "bots"),
        (LogFormat::Combined { has_host }, format!(r#"{common} "-" "Mozilla/5.0""#), view),
    ] {
        assert_eq!(read_as(&format, rules(), line.as_bytes()), expected, "{line}");
    }
    for (members, expected) in [
        (r#""status":200"#, view),
        (r#""status":200,"http_user_agent":"""#, "bots"),
        (r#""status":200,"http_user_agent":"-""#, "bots"),
        (r#""status":200,"request":{"headers":{"Accept":["*/*"]}}"#, "bots"),
        (r#""status":200,"request":{"headers":{"User-Agent":["Mozilla/5.0"]}}"#, view),
    ] {
        let line = format!(
            r#"{{"time_iso8601":"2015-05-17T10:05:03Z","remote_addr":"192.0.2.1","method":"GET","uri":"/",{members}}}"#
        );
        assert_eq!(read_as(&LogFormat::Json, rules(), line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn the_log_of_a_load_balancer_has_page_views() {
    for line in [
        r#"https 2015-05-17T10:05:03.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:1 "Root=1" "www.example.com" "arn" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-""#,
        r#"2015-05-17T10:05:03.186641Z my-loadbalancer 192.0.2.1:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" - -"#,
    ] {
        let seen = read_as(&LogFormat::Elb, PageViewRules::default(), line.as_bytes());
        assert_eq!(seen, "1431857103186 192.0.2.1 impression", "{line}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&line);
    }

    #[test]
    fn nothing_like_a_log_line_makes_the_parser_panic(line in r#"([ \-"\\\[\]:/.?#@0-9]|GET |://|HTTP/|\] "| \["){0,40}"#) {
        let _ = read(line.as_bytes());
    }

    #[test]
    fn every_line_is_read_as_it_was_written(
        client in any::<std::net::IpAddr>(),
        second in 0..4_102_444_800_i64,
        offset in -14 * 60..=14 * 60_i32,
        page in "(/[a-zA-Z0-9%_-]{1,8}){1,4}",
        asset in prop::option::of(prop::sample::select(vec!["css", "js", "PNG", "woff2", "webm"])),
        query in prop::option::of("[a-z./=&:]{0,20}"),
        from_site: bool,
        agent in r#"([ -!#-\[\]-~]|\\"|\\\\){0,30}"#,
    ) {
        let zone = chrono::FixedOffset::east_opt(offset * 60).unwrap();
        let time = chrono::DateTime::from_timestamp(second, 0).unwrap().with_timezone(&zone);
        let target = format!(
            "{page}{}{}",
            asset.map(|a| format!(".{a}")).unwrap_or_default(),
            query.map(|q| format!("?{q}")).unwrap_or_default()
        );
        let referer = if from_site { "https://www.example.com/x" } else { "https://example.org/x" };
        let line = format!(
            r#"{client} - - [{}] "GET {target} HTTP/1.1" 200 5 "{referer}" "{agent}""#,
            time.format("%d/%b/%Y:%H:%M:%S %z")
        );
        let visitor = client.to_canonical();
        let kind = if from_site { "click" } else { "impression" };
        let expected = match asset {
            Some(_) => "assets".to_owned(),
            None => format!("{} {visitor} {kind}", second * 1000),
        };
        prop_assert_eq!(read(line.as_bytes()), expected);
    }
}
