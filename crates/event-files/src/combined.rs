//! The access log of Apache and nginx in their format "combined":
//!
//! ```text
//! CLIENT IDENT USER [17/May/2015:10:05:03 +0000] "GET /page HTTP/1.1" 200 1234 "REFERER" "AGENT"
//! ```
//!
//! Lines are read as bytes, because clients may send any bytes in a request, a referer and an agent.

use std::str::{self, FromStr};

use chrono::DateTime;
use model::{Event, EventKind, Timestamp, UserName, wire::SentEvent};
use thiserror::Error;

use crate::record::{Content, Unreadable};

/// A path with one of these extensions is a part of a page.
const ASSET_EXTENSIONS: [&str; 27] = [
    "css", "js", "mjs", "map", "png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "avif", "woff", "woff2", "ttf",
    "eot", "otf", "txt", "xml", "json", "pdf", "zip", "gz", "tgz", "mp3", "mp4", "webm",
];

/// The host of a website: in lower case, without a port and without a leading `www.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

#[derive(Debug, Error)]
#[error("this is not a host; accepted is a host as in example.com, without http:// and without a path")]
pub struct InvalidHost;

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part_of_a_host = |b: u8| b.is_ascii_graphic() && !b"/?#@\"\\".contains(&b) || !b.is_ascii();
        if text.bytes().all(is_part_of_a_host) {
            Self::of_authority(text.as_bytes()).ok_or(InvalidHost)
        } else {
            Err(InvalidHost)
        }
    }
}

impl Host {
    /// `authority` is the part of a URL between `://` and the path: `USER@HOST:PORT`.
    fn of_authority(authority: &[u8]) -> Option<Self> {
        let host = authority.rsplit(|&b| b == b'@').next()?;
        let end = match host.first() {
            // An IPv6 address has colons of its own.
            Some(b'[') => host.iter().position(|&b| b == b']')? + 1,
            _ => host.iter().position(|&b| b == b':').unwrap_or(host.len()),
        };
        let host = str::from_utf8(&host[..end]).ok()?.to_lowercase();
        let host = host.strip_prefix("www.").unwrap_or(&host);
        (!host.is_empty()).then(|| Self(host.to_owned()))
    }

    /// The host of a referer; none if it is `-` or no URL.
    fn of_referer(referer: &[u8]) -> Option<Self> {
        let (_scheme, rest) = split_scheme(referer)?;
        let end = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
        Self::of_authority(&rest[..end])
    }
}

pub(crate) struct Combined {
    own_hosts: Vec<Host>,
}

impl Combined {
    /// A page view whose referer is on one of the hosts is a click.
    pub(crate) fn new(own_hosts: Vec<Host>) -> Self {
        Self { own_hosts }
    }

    pub(crate) fn read(&self, line: &[u8]) -> Content {
        match self.event_in(line) {
            Ok(Some(event)) => Content::Event(SentEvent { event, key: None, site: None }),
            Ok(None) => Content::NotAPageView,
            Err(unreadable) => Content::Unreadable(unreadable),
        }
    }

    fn event_in(&self, line: &[u8]) -> Result<Option<Event>, Unreadable> {
        let line = LogLine::parse(line)?;
        if !line.is_page_view() {
            return Ok(None);
        }
        let internal = Host::of_referer(line.referer).is_some_and(|host| self.own_hosts.contains(&host));
        let kind = if internal { EventKind::Click } else { EventKind::Impression };
        Ok(Some(Event { at: line.at, user: line.client, kind }))
    }
}

struct LogLine<'a> {
    client: UserName,
    at: Timestamp,
    request: &'a [u8],
    status: u16,
    referer: &'a [u8],
}

impl<'a> LogLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Unreadable> {
        let fault = Unreadable::LogLine;
        let (client, rest) = split_at(line, b" ").ok_or(fault("there is no client address"))?;
        // A user name may contain spaces, so the time is found by its bracket.
        let (names, rest) = split_at(rest, b" [").ok_or(fault("there is no [time]"))?;
        if !names[1..].contains(&b' ') {
            return Err(fault("there are no identity and user before the [time]"));
        }
        let (time, rest) = split_at(rest, b"] \"").ok_or(fault("there is no request after the [time]"))?;
        let (request, rest) = quoted(rest).ok_or(fault("the quote of the request is not closed"))?;
        let rest = rest.strip_prefix(b" ").ok_or(fault("there is no status after the request"))?;
        let (status, rest) = split_at(rest, b" ").ok_or(fault("there is no size after the status"))?;
        let (size, rest) =
            split_at(rest, b" \"").ok_or(fault("there is no referer, so it may be the common format"))?;
        let (referer, rest) = quoted(rest).ok_or(fault("the quote of the referer is not closed"))?;
        let rest = rest.strip_prefix(b" \"").ok_or(fault("there is no agent after the referer"))?;
        // An administrator may have added fields after the agent.
        let (_agent, rest) = quoted(rest).ok_or(fault("the quote of the agent is not closed"))?;
        if !(rest.is_empty() || rest.starts_with(b" ")) {
            return Err(fault("there is something directly after the agent's quote"));
        }
        if size != b"-" && !is_number(size) {
            return Err(fault("the size is not a number"));
        }
        let client = str::from_utf8(client).map_err(|_| fault("the client address is not UTF-8"))?;
        Ok(Self {
            client: UserName::new(client)?,
            at: parse_time(time)?,
            request,
            status: parse_status(status)?,
            referer,
        })
    }

    fn is_page_view(&self) -> bool {
        let Some(target) = self.request.strip_prefix(b"GET ") else { return false };
        if !(matches!(self.status, 200..=299 | 304)) {
            return false;
        }
        // The protocol is the last word, and HTTP/0.9 has none.
        let target = match target.iter().rposition(|&b| b == b' ') {
            Some(space) if target[space + 1..].starts_with(b"HTTP/") => &target[..space],
            _ => target,
        };
        !is_asset(path_of(target))
    }
}

fn parse_time(text: &[u8]) -> Result<Timestamp, Unreadable> {
    let time = str::from_utf8(text).ok().and_then(|t| DateTime::parse_from_str(t, "%d/%b/%Y:%H:%M:%S %z").ok());
    let time = time.ok_or(Unreadable::LogLine("the time is not like [17/May/2015:10:05:03 +0000]"))?;
    Ok(Timestamp::from_millis(time.timestamp_millis())?)
}

fn parse_status(text: &[u8]) -> Result<u16, Unreadable> {
    let status = (text.len() == 3 && is_number(text)).then(|| str::from_utf8(text).ok()?.parse().ok()).flatten();
    status.ok_or(Unreadable::LogLine("the status is not a number of three digits"))
}

/// A request's target is a path or, for a proxy, a whole URL.
fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|b| b"?#".contains(b)).unwrap_or(target.len());
    let target = &target[..end];
    match split_scheme(target) {
        Some((_scheme, rest)) => rest.iter().position(|&b| b == b'/').map_or(b"/", |slash| &rest[slash..]),
        None => target,
    }
}

fn is_asset(path: &[u8]) -> bool {
    let segment = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    segment.iter().rposition(|&b| b == b'.').is_some_and(|dot| {
        let extension = &segment[dot + 1..];
        ASSET_EXTENSIONS.iter().any(|asset| extension.eq_ignore_ascii_case(asset.as_bytes()))
    })
}

/// Splits `SCHEME://REST`; none if it does not begin with a scheme, as a path that contains a URL.
fn split_scheme(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let (scheme, rest) = split_at(url, b"://")?;
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    is_scheme.then_some((scheme, rest))
}

/// The text before and after the next quote that is not escaped by a backslash.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|&b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// The text before and after a separator; none if there is nothing before it.
fn split_at<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    (at > 0).then(|| (&text[..at], &text[at + separator.len()..]))
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use model::wire::SentEvent;
    use proptest::prelude::*;

    use super::{Combined, Host};
    use crate::record::Content;

    fn read(line: &[u8]) -> String {
        let sites = vec!["WWW.Example.com:80".parse().unwrap(), "[::1]:8080".parse().unwrap()];
        match Combined::new(sites).read(line) {
            Content::Event(SentEvent { event: e, .. }) => format!("{} {} {}", e.at.millis(), e.user, e.kind),
            Content::NotAPageView => "not a page view".to_owned(),
            Content::Unreadable(reason) => reason.to_string(),
        }
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
            ("GET / HTTP/1.1", 199, "not a page view"),
            ("GET / HTTP/1.1", 300, "not a page view"),
            ("GET / HTTP/1.1", 301, "not a page view"),
            ("GET / HTTP/1.1", 404, "not a page view"),
            ("GET / HTTP/1.1", 500, "not a page view"),
            ("HEAD / HTTP/1.1", 200, "not a page view"),
            ("POST / HTTP/1.1", 200, "not a page view"),
            ("get / HTTP/1.1", 200, "not a page view"),
            ("GETS / HTTP/1.1", 200, "not a page view"),
            ("-", 408, "not a page view"),
            ("", 400, "not a page view"),
            ("GET /", 200, "impression"),
            ("GET /a.css", 200, "not a page view"),
            ("GET /page.html HTTP/2.0", 200, "impression"),
            ("GET /a.css HTTP/1.1", 200, "not a page view"),
            ("GET /a.CsS HTTP/1.1", 200, "not a page view"),
            ("GET /a.min.js?v=1.0 HTTP/1.1", 200, "not a page view"),
            ("GET /a.js#x HTTP/1.1", 200, "not a page view"),
            ("GET /a.tar.gz HTTP/1.1", 200, "not a page view"),
            ("GET /favicon.ico HTTP/1.1", 200, "not a page view"),
            ("GET /robots.txt HTTP/1.1", 200, "not a page view"),
            ("GET /.png HTTP/1.1", 200, "not a page view"),
            ("GET /css HTTP/1.1", 200, "impression"),
            ("GET /page? HTTP/1.1", 200, "impression"),
            ("GET /page?file=a.css HTTP/1.1", 200, "impression"),
            ("GET /page?back=/x/a.css HTTP/1.1", 200, "impression"),
            ("GET /page#a.css HTTP/1.1", 200, "impression"),
            ("GET /styles.css/ HTTP/1.1", 200, "impression"),
            ("GET /styles.css/page HTTP/1.1", 200, "impression"),
            ("GET /page. HTTP/1.1", 200, "impression"),
            ("GET /page.css2 HTTP/1.1", 200, "impression"),
            ("GET /two words.css HTTP/1.1", 200, "not a page view"),
            ("GET /two words HTTP/1.1", 200, "impression"),
            ("GET http://example.com/a.css HTTP/1.1", 200, "not a page view"),
            ("GET http://example.com/page HTTP/1.1", 200, "impression"),
            ("GET http://example.zip HTTP/1.1", 200, "impression"),
            ("GET HTTP://example.zip?a=/b.css HTTP/1.1", 200, "impression"),
            ("GET /go?to=http://example.com/a.css HTTP/1.1", 200, "impression"),
            ("GET /go/http://example.com/a.css HTTP/1.1", 200, "not a page view"),
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
        assert_eq!(line("host", "- frank smith", "17/May/2015:04:35:03 -0530"), "1431857103000 host impression");
        assert_eq!(line("10.0.0.1", "id \"\"", "29/Feb/2016:23:59:59 +0000"), "1456790399000 10.0.0.1 impression");
        for time in [
            "30/Feb/2016:23:59:59 +0000",
            "17/May/2015 10:05:03 +0000",
            "17/Mai/2015:10:05:03 +0000",
            "17/May/2015:10:05:03",
            "",
        ] {
            assert!(line("10.0.0.1", "- -", time).contains("is not a line of a combined access log"), "{time:?}");
        }
        assert!(line("10.0.0.1", "- -", "31/Dec/1969:23:59:59 +0000").contains("timestamp is negative"));
        assert!(line(&"x".repeat(257), "- -", "17/May/2015:10:05:03 +0000").contains("user has 257 bytes"));
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
            assert!(read(&whole.as_bytes()[..end]).contains("is not a line of a combined"), "{}", &whole[..end]);
        }
        for (part, instead, reason) in [
            ("10.0.0.1 ", "", "there are no identity and user"),
            (" - - [", " [", "there is no [time]"),
            (" - - [", "  [", "there is no [time]"),
            (" 200 ", " 2000 ", "the status is not a number of three digits"),
            (" 200 ", " +20 ", "the status is not a number of three digits"),
            (" 20 ", " many ", "the size is not a number"),
            (r#" "-" "agent""#, "", "so it may be the common format"),
            (r#""-" "agent""#, "", "there is no referer"),
            (r#"agent""#, r#"agent\""#, "the quote of the agent is not closed"),
            (r#"agent""#, r#"agent"x"#, "directly after the agent's quote"),
        ] {
            let line = whole.replacen(part, instead, 1);
            assert!(read(line.as_bytes()).contains(reason), "{line} gave {}", read(line.as_bytes()));
        }
    }

    #[test]
    fn a_site_is_a_host_and_nothing_more() {
        for text in ["", "http://example.com", "example.com/", "a b", "www.", ":80", "a@b", "[::1"] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
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
            client in "[0-9a-f:.]{1,40}",
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
            let kind = if from_site { "click" } else { "impression" };
            let expected = match asset {
                Some(_) => "not a page view".to_owned(),
                None => format!("{} {client} {kind}", second * 1000),
            };
            prop_assert_eq!(read(line.as_bytes()), expected);
        }
    }
}
