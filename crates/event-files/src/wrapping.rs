//! What collectors of logs put around a line: syslog, journald, Docker and the runtimes of Kubernetes.

use std::{borrow::Cow, sync::LazyLock};

use regex::bytes::Regex;
use serde::Deserialize;

/// An instant as collectors write it.
const INSTANT: &str = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)";

static PREFIXES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // The container runtime interface: `INSTANT stdout F LINE`, where P stands for a part of a line.
        format!(r"{INSTANT} (?:stdout|stderr) (?P<tag>[FP](?::\S+)?) "),
        // Syslog (RFC 5424): `<134>1 INSTANT HOST APP PROCESS MESSAGE DATA LINE`.
        format!(r"(?:\d+ )?<\d{{1,3}}>1 (?:{INSTANT}|-) \S+ \S+ \S+ \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) ?(?:\xef\xbb\xbf)?"),
        // Syslog (RFC 3164), and journald: `[<134>]Feb  1 14:00:01 HOST TAG[PROCESS]: LINE`.
        format!(
            r"(?:<\d{{1,3}}>)?(?:[A-Z][a-z]{{2}} {{1,2}}\d{{1,2}}(?: \d{{4}})? \d\d:\d\d:\d\d(?:\.\d+)?|{INSTANT}|[A-Z][a-z]{{2}} \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S+|\d{{9,}}\.\d+|\[ *\d+\.\d+\]) (?:\S+ )?[^\s:\[\]]+(?:\[\d+\])?: "
        ),
        // Compose, `SERVICE-1  | LINE`, perhaps in colour, and services of Swarm, `SERVICE.1.ID@NODE    | LINE`.
        r"(?:\x1b\[[0-9;]*m)*[\w.@-]*[A-Za-z][\w.@-]* +\|(?:\x1b\[[0-9;]*m)* ?(?:\x1b\[[0-9;]*m)*".to_owned(),
        // kubectl: `[pod/NAME/CONTAINER] LINE`.
        r"\[pod/\S+\] ".to_owned(),
        // Docker and kubectl with times: `INSTANT LINE`.
        format!(r"{INSTANT} "),
        // Syslog without a tag: `Feb  1 14:00:01 HOST LINE`.
        r"(?:<\d{1,3}>)?[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d \S+ ".to_owned(),
    ]
    .iter()
    .map(|prefix| Regex::new(&format!("^(?-u:{prefix})")).expect("the prefix is a regular expression"))
    .collect()
});

/// The most prefixes before one line.
const MOST: usize = 4;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unwrapped<'a> {
    pub(crate) line: Cow<'a, [u8]>,
    /// Whether the runtime split the line here.
    pub(crate) is_partial: bool,
}

/// The line within a line; none if nothing known is around it.
pub(crate) fn unwrap(line: &[u8]) -> Option<Unwrapped<'_>> {
    if line.first() == Some(&b'{') {
        return in_json(line);
    }
    let mut unwrapped: Option<Unwrapped<'_>> = None;
    let mut rest = line;
    for _ in 0..MOST {
        let Some(found) = PREFIXES.iter().find_map(|prefix| prefix.captures(rest)) else { break };
        let is_partial = found.name("tag").is_some_and(|tag| tag.as_bytes().starts_with(b"P"));
        rest = &rest[found.get(0).map_or(0, |prefix| prefix.end())..];
        unwrapped = Some(Unwrapped { line: Cow::Borrowed(rest), is_partial });
        if is_partial {
            break;
        }
    }
    unwrapped
}

/// Docker's files, `journalctl -o json`, and what other collectors make of them.
fn in_json(line: &[u8]) -> Option<Unwrapped<'_>> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow)]
        log: Option<Cow<'a, str>>,
        #[serde(default)]
        stream: Option<&'a str>,
        #[serde(borrow, rename = "MESSAGE", alias = "message")]
        message: Option<Cow<'a, str>>,
    }
    let Members { log, stream, message } = serde_json::from_slice(line).ok()?;
    let (text, is_partial) = match (log, message) {
        (Some(log), None) => {
            let is_partial = stream.is_some() && !log.ends_with('\n');
            (log, is_partial)
        }
        (None, Some(message)) => (message, false),
        _ => return None,
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Some(Unwrapped { line: Cow::Owned(line.as_bytes().to_vec()), is_partial })
}

#[cfg(test)]
mod tests {
    use super::unwrap;

    const LINE: &str = r#"192.0.2.1 - - [01/Feb/2024:14:00:01 +0000] "GET / HTTP/1.1" 200 512"#;

    #[test]
    fn a_line_is_found_within_what_collectors_put_around_it() {
        for prefix in [
            "Feb  1 14:00:01 web nginx: ",
            "Feb 01 14:00:01 web.example nginx[812]: ",
            "<190>Feb  1 14:00:01 web nginx: ",
            "<190>Feb  1 14:00:01 nginx: ",
            "Feb 01 14:00:01.123456 web nginx[812]: ",
            "2024-02-01T14:00:01.123456+00:00 web nginx: ",
            "2024-02-01T14:00:01+0000 web nginx[812]: ",
            "Thu 2024-02-01 14:00:01 UTC web nginx[812]: ",
            "1706796001.123456 web nginx[812]: ",
            "<134>1 2024-02-01T14:00:01.5Z web nginx 812 - - ",
            "<134>1 2024-02-01T14:00:01.5Z web nginx - access [a@1 b=\"c\\]\\\"\"][d@2] ",
            "2024-02-01T14:00:01.123456789Z stdout F ",
            "2024-02-01T14:00:01.123456789+01:00 stderr F ",
            "2024-02-01T14:00:01.123456789Z ",
            "web-1  | ",
            "\u{1b}[36mweb-1  |\u{1b}[0m ",
            "\u{1b}[36mweb-1  | \u{1b}[0m",
            "web.1.x7f3@node-1    | ",
            "[   12.345678] web nginx[812]: ",
            "Feb  1 14:00:01 web ",
            "153 <134>1 2024-02-01T14:00:01.5Z web nginx 812 - - ",
            "2024-02-01 14:00:01+0000 web nginx[812]: ",
            "shop_web.1 | ",
            "web-1  | 2024-02-01T14:00:01.123456789Z ",
            "[pod/web-7d9/nginx] ",
            "[pod/web-7d9/nginx] 2024-02-01T14:00:01.123456789Z ",
            "2024-02-01T14:00:01.123456789Z stdout F Feb  1 14:00:01 web nginx: ",
        ] {
            let line = format!("{prefix}{LINE}");
            let found = unwrap(line.as_bytes()).map(|it| String::from_utf8_lossy(&it.line).into_owned());
            assert_eq!(found.as_deref(), Some(LINE), "{prefix}");
        }
        assert_eq!(unwrap(LINE.as_bytes()), None);
    }

    #[test]
    fn a_line_is_found_within_the_json_of_a_collector() {
        let quoted = LINE.replace('"', "\\\"");
        for (line, is_partial) in [
            (format!(r#"{{"log":"{quoted}\n","stream":"stdout","time":"2024-02-01T14:00:01Z"}}"#), false),
            (format!(r#"{{"log":"{quoted}","stream":"stdout"}}"#), true),
            (format!(r#"{{"MESSAGE":"{quoted}","_PID":"7"}}"#), false),
            (format!(r#"{{"message":"{quoted}"}}"#), false),
            (format!(r#"{{"log":"{quoted}"}}"#), false),
        ] {
            let found = unwrap(line.as_bytes()).unwrap();
            assert_eq!((&*found.line, found.is_partial), (LINE.as_bytes(), is_partial), "{line}");
        }
        assert_eq!(unwrap(br#"{"ts":1}"#), None);
        assert!(unwrap(b"2024-02-01T14:00:01Z stdout P 192.0.2.1 - ").unwrap().is_partial);
    }
}
