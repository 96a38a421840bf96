//! Finds the format of a file by its first lines.

use std::io::{self, Read};

use model::{TimeUnit, wire};
use thiserror::Error;

use crate::{
    Format, LogFormat,
    access_log::{AccessLog, PageViewRules},
    csv::{fault_of_header, is_csv_header},
    record::{Content, LeftOut, Unreadable},
    records::{ReadError, read_wrapped},
    wrapping::unwrap,
};

#[derive(Debug, Error)]
pub enum UnknownContent {
    #[error(
        "its format cannot be told by its first lines, which begin with {0:?}; --format names it, or --log-format gives the \
         format string of the server"
    )]
    Unknown(String),
    /// Whole or not.
    #[error("it is one JSON array; accepted is an object a line: give what `jq -c '.[]' FILE` writes")]
    Array,
}

/// The formats of logs that are tried, in this order: of those that read as many lines, the first counts.
fn candidates() -> [Format; 6] {
    [
        Format::Ndjson,
        Format::Log(LogFormat::Combined { has_host: false }),
        Format::Log(LogFormat::Common { has_host: false }),
        Format::Log(LogFormat::Json),
        Format::Log(LogFormat::W3c),
        Format::Log(LogFormat::Elb),
    ]
}

/// The most bytes of a file that are looked at.
const MOST_BYTES: usize = 64 * 1024;

/// Reads the beginning of a text until its format is clear. A pipe is not waited for once it is. Returns what was read,
/// and no format if the text is empty.
pub(crate) fn detect(text: &mut dyn Read) -> Result<(Vec<u8>, Option<Format>), ReadError> {
    let mut beginning = Vec::new();
    loop {
        let mut chunk = [0; 16 * 1024];
        let read = match text.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        beginning.extend_from_slice(&chunk[..read]);
        let is_all = read == 0 || beginning.len() >= MOST_BYTES;
        if is_all || read < chunk.len() {
            let format = format_of(&beginning, read == 0);
            if format.is_some() || is_empty(&beginning) && read == 0 {
                return Ok((beginning, format));
            }
        }
        if is_all {
            return Err(unknown(&beginning));
        }
    }
}

fn is_empty(text: &[u8]) -> bool {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii().is_empty()
}

/// The format that reads the most of the first lines; none if no format reads one.
fn format_of(beginning: &[u8], is_whole: bool) -> Option<Format> {
    let beginning = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    let end = if beginning.contains(&b'\n') { b'\n' } else { b'\r' };
    let whole = if is_whole { beginning.len() } else { beginning.iter().rposition(|&byte| byte == end)? };
    let lines = beginning[..whole].split(|&byte| byte == end).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    let first = lines.clone().next()?;
    if is_csv_header(first) {
        return Some(Format::Csv);
    }
    if first.starts_with(b"#") && lines.clone().any(|line| line.starts_with(b"#Fields:")) {
        return Some(Format::Log(LogFormat::W3c));
    }
    // The last of the largest is found, so the order is turned round.
    let read = candidates().map(|format| (lines_read(&format, lines.clone()), format));
    let (count, format) = read.into_iter().rev().max_by_key(|(count, _)| *count)?;
    (count > 0).then_some(format)
}

/// How many lines a format reads. Those without a request tell nothing.
fn lines_read<'a>(format: &Format, lines: impl Iterator<Item = &'a [u8]>) -> usize {
    match format {
        Format::Ndjson => {
            let is_event = |line: &[u8]| match wire::parse_line(line, TimeUnit::Auto) {
                Ok(_) | Err(wire::InvalidLine::Invalid(_)) => true,
                Err(_) => false,
            };
            lines.filter(|line| is_event(line) || unwrap(line).is_some_and(|it| is_event(&it.line))).count()
        }
        Format::Csv => 0,
        Format::Log(format) => {
            let mut log = AccessLog::new(format, PageViewRules::default());
            let is_request = |line: &&[u8]| match read_wrapped(line, |line| log.read(line)) {
                Content::Event(_) => true,
                Content::LeftOut(reason) => reason != LeftOut::NotARequest,
                // Who made a request may need an option, and is told line by line.
                Content::Unreadable(reason) => {
                    matches!(reason, Unreadable::Forwarded | Unreadable::UnclearClient(_) | Unreadable::NoVisitor(_))
                }
            };
            lines.filter(is_request).count()
        }
    }
}

/// Whether a text begins as a JSON array of objects or arrays does, which is no line of a log.
pub(crate) fn is_json_array(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let within = text.trim_ascii_start().strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    within.is_some_and(|within| within.is_empty() || b"{[]".contains(&within[0]))
}

/// The error for a file of these first bytes.
fn unknown(beginning: &[u8]) -> ReadError {
    if is_json_array(beginning) {
        return UnknownContent::Array.into();
    }
    let lines = beginning.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.filter(|line| !line.trim_ascii().is_empty());
    let line = lines.next().unwrap_or_default();
    match fault_of_header(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line), lines.next()) {
        // No other format would read it.
        Some(fault) => fault.into(),
        None => UnknownContent::Unknown(String::from_utf8_lossy(line).chars().take(80).collect()).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::detect;

    fn detected(text: &str) -> String {
        match detect(&mut text.as_bytes()) {
            Ok((beginning, format)) => {
                assert_eq!(beginning, text.as_bytes());
                format.map_or_else(|| "nothing".to_owned(), |format| format.to_string())
            }
            Err(error) => error.to_string(),
        }
    }

    const COMMON: &str = r#"192.0.2.1 - - [01/Feb/2024:14:00:01 +0000] "GET / HTTP/1.1" 200 512"#;

    #[test]
    fn the_first_lines_tell_the_format() {
        let combined = format!(r#"{COMMON} "-" "Firefox""#);
        for (text, format) in [
            (COMMON.to_owned(), "common"),
            (combined.clone(), "combined"),
            (format!("cut off\n{combined}\n{combined}\n"), "combined"),
            (format!("shop.example:443 {combined}\r\n"), "combined"),
            (format!("Feb  1 14:00:01 web nginx: {combined}\n"), "combined"),
            (format!("192.0.2.9, {combined}\n"), "combined"),
            (format!("{combined} \"192.0.2.7\"\n"), "combined"),
            (format!("{combined}\r{combined}\r"), "combined"),
            (r#"{"timestamp":1,"user":"a","event":"click"}"#.to_owned(), "ndjson"),
            (r#"{"timestamp":1706796001,"user":"a","event":"click"}"#.to_owned(), "ndjson"),
            (r#"{"ts":1706796001.25,"request":{"client_ip":"192.0.2.1","method":"GET","uri":"/"},"status":200}"#.to_owned(), "json"),
            ("event;user;timestamp\nclick;a;1\n".to_owned(), "csv"),
            ("\u{feff}timestamp\tuser\tevent\n".to_owned(), "csv"),
            ("#Version: 1.0\n#Fields: date time c-ip cs-method cs-uri-stem sc-status\n".to_owned(), "w3c"),
            (
                r#"h2 2024-02-01T14:00:01.186641Z app/lb/50d 192.0.2.1:2817 10.0.0.1:80 0.0 0.0 0.0 200 200 34 366 "GET https://shop.example:443/ HTTP/2.0" "curl" - - arn "Root""#.to_owned(),
                "elb",
            ),
            (
                r#"2024-02-01T14:00:01.186641Z lb 192.0.2.1:2817 10.0.0.1:80 0.0 0.0 0.0 200 200 0 29 "GET http://shop.example:80/ HTTP/1.1" "curl" - -"#.to_owned(),
                "elb",
            ),
            (String::new(), "nothing"),
            ("\n\n".to_owned(), "nothing"),
            ("\u{feff}".to_owned(), "nothing"),
        ] {
            assert_eq!(detected(&text), format, "{text}");
        }
        for array in [
            "[{\"timestamp\":1,\"user\":\"a\",\"event\":\"click\"},",
            "[\n  {\n    \"timestamp\": 1,\n",
            "\u{feff}[[1,",
        ] {
            assert!(detected(array).contains("it is one JSON array"), "{array}");
        }
        for text in
            ["hello\nworld\n", "# a comment\n", "[1,2]", "{\"a\":1,\"b\":2,\"c\":3}\n{\"a\":1,\"b\":2,\"c\":3}\n"]
        {
            assert!(detected(text).contains("--format names it"), "{text}");
        }
    }

    #[test]
    fn a_table_with_another_header_is_told_what_its_header_lacks() {
        for (text, fault) in [
            ("timestamp,user\n1,a\n", "lacks the column event: it is \"timestamp, user\";"),
            ("\u{feff}Time;User;Event\r\n1;a;click\r\n", "lacks the column timestamp: it is \"Time, User, Event\";"),
            ("when|who|what\n1|a|click\n", "lacks the column timestamp: it is \"when, who, what\";"),
            ("1,ann,click\n2,bob,click\n", "lacks the column timestamp: it is \"1, ann, click\";"),
            ("timestamp,user,event,user\n", "names the column user twice;"),
        ] {
            let told = detected(text);
            assert!(told.contains(fault), "{text} gave {told}");
            assert!(told.contains("a first line that names the columns") && !told.contains("--format"), "{told}");
        }
    }

    #[test]
    fn a_pipe_is_not_read_on_once_its_format_is_clear() {
        struct OneLine(bool);
        impl Read for OneLine {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(!std::mem::replace(&mut self.0, true), "the first line was enough");
                let line = format!("{COMMON}\n");
                buffer[..line.len()].copy_from_slice(line.as_bytes());
                Ok(line.len())
            }
        }
        assert_eq!(detect(&mut OneLine(false)).unwrap().1.unwrap().to_string(), "common");
    }
}
