//! The W3C's extended log format, <https://www.w3.org/TR/WD-logfile>: the lines `#Fields` name the columns of those
//! that follow. IIS separates columns by spaces, and CloudFront by tabs. Their times are UTC.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::{pattern::status, request::Request, time::TimeFormat};
use crate::record::Unreadable;

#[derive(Default)]
pub(super) struct W3c {
    columns: Option<Columns>,
}

struct Columns {
    date: usize,
    time: usize,
    client: usize,
    method: usize,
    target: usize,
    status: usize,
    forwarded: Option<usize>,
    referer: Option<usize>,
    agent: Option<usize>,
    /// How many there are.
    count: usize,
}

impl W3c {
    /// The request of a line; none if the line tells of the log itself.
    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, Unreadable> {
        if let Some(directive) = line.strip_prefix(b"#") {
            if let Some(fields) = directive.strip_prefix(b"Fields:") {
                self.columns = None;
                self.columns = Some(Columns::named_in(fields)?);
            }
            return Ok(None);
        }
        let columns =
            self.columns.as_ref().ok_or(Unreadable::LogLine("no line #Fields: that can be used stands before it"))?;
        columns.request(line).map(Some)
    }
}

impl Columns {
    fn named_in(fields: &[u8]) -> Result<Self, Unreadable> {
        let names = fields.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
        let optional = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let needed = |wanted: &[&str], lack| optional(wanted).ok_or(Unreadable::LogLine(lack));
        Ok(Self {
            date: needed(&["date"], "the #Fields lack date")?,
            time: needed(&["time"], "the #Fields lack time")?,
            client: needed(&["c-ip"], "the #Fields lack c-ip")?,
            method: needed(&["cs-method"], "the #Fields lack cs-method")?,
            target: needed(&["cs-uri-stem", "cs-uri"], "the #Fields lack cs-uri-stem")?,
            status: needed(&["sc-status"], "the #Fields lack sc-status")?,
            forwarded: optional(&[
                "x-forwarded-for",
                "cs(x-forwarded-for)",
                "x-real-ip",
                "cs(x-real-ip)",
                "cf-connecting-ip",
                "cs(cf-connecting-ip)",
            ]),
            referer: optional(&["cs(referer)", "cs(referrer)"]),
            agent: optional(&["cs(user-agent)"]),
            count: names.len(),
        })
    }

    fn request<'a>(&self, line: &'a [u8]) -> Result<Request<'a>, Unreadable> {
        // Columns stand between tabs, if there are any, else between spaces. An empty one is written as `-`, or is there
        // between two tabs. Were one missing, the others would be taken for each other.
        let separator = if line.contains(&b'\t') { b'\t' } else { b' ' };
        // IIS quotes nothing, and writes the quotes that a client sent.
        let values = [true, false].map(|has_quotes| values(line, separator, has_quotes));
        let values = values
            .into_iter()
            .find(|values| values.len() == self.count)
            .ok_or(Unreadable::LogLine("it has another number of columns than #Fields names"))?;
        let needed = |column: usize| values[column].text;
        let text = |column: Option<usize>| column.map_or(Cow::Borrowed(&b""[..]), |column| values[column].decoded());
        let at = [needed(self.date), b"T", needed(self.time), b"Z"].concat();
        Ok(Request {
            client: needed(self.client).into(),
            forwarded: text(self.forwarded),
            at: TimeFormat::Iso.read(&at)?,
            method: needed(self.method).into(),
            target: needed(self.target).into(),
            status: status(needed(self.status))?,
            referer: text(self.referer),
            agent: self.agent.map(|column| text(Some(column))),
            has_unknown_addresses: false,
        })
    }
}

/// What stands in a column.
#[derive(Clone, Copy)]
struct Value<'a> {
    text: &'a [u8],
    is_quoted: bool,
}

/// The values of a line, which may be in quotes: then they may have separators.
fn values(line: &[u8], separator: u8, has_quotes: bool) -> Vec<Value<'_>> {
    let mut values = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let quoted = if has_quotes { closing_quote(text, separator) } else { None };
        let end = quoted.map_or_else(|| text.iter().position(|&byte| byte == separator), |quote| Some(quote + 1));
        let (value, behind) = text.split_at(end.unwrap_or(text.len()));
        match quoted {
            Some(quote) => values.push(Value { text: &value[1..quote], is_quoted: true }),
            None if separator == b' ' && value.is_empty() => {}
            None => values.push(Value { text: value, is_quoted: false }),
        }
        rest = behind.split_first().map(|(_, after)| after);
    }
    values
}

/// Where a value ends that begins with a quote: at the next one that is not doubled, if the column ends there.
fn closing_quote(text: &[u8], separator: u8) -> Option<usize> {
    let mut at = 1;
    text.strip_prefix(b"\"")?;
    loop {
        at += text.get(at..)?.iter().position(|&byte| byte == b'"')?;
        match text.get(at + 1) {
            Some(b'"') => at += 2,
            next => return next.is_none_or(|&next| next == separator).then_some(at),
        }
    }
}

impl<'a> Value<'a> {
    /// Without quotes, IIS writes a space as `+`, CloudFront as `%20`. Within, a quote is doubled.
    fn decoded(self) -> Cow<'a, [u8]> {
        let Self { text, is_quoted } = self;
        if !text.iter().any(|byte| b"+%\"".contains(byte)) {
            return text.into();
        }
        if is_quoted {
            return Cow::Owned(String::from_utf8_lossy(text).replace("\"\"", "\"").into_bytes());
        }
        let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        Cow::Owned(percent_decode(&spaced).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::W3c;

    fn read(lines: &[&str]) -> Vec<String> {
        let mut log = W3c::default();
        let read = |line: &&str| match log.read(line.as_bytes()) {
            Ok(Some(request)) => format!(
                "{} {} {} {} {} {}",
                String::from_utf8_lossy(&request.client),
                request.at.millis(),
                String::from_utf8_lossy(&request.target),
                request.status,
                String::from_utf8_lossy(&request.referer),
                String::from_utf8_lossy(request.agent.as_deref().unwrap_or_default())
            ),
            Ok(None) => "-".to_owned(),
            Err(error) => error.to_string(),
        };
        lines.iter().map(read).collect()
    }

    #[test]
    fn columns_are_those_that_the_last_fields_line_names() {
        let seen = read(&[
            "#Software: Microsoft Internet Information Services 10.0",
            "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status",
            "2024-02-01 14:00:01 192.0.2.80 GET /a - 443 - 192.0.2.1 Mozilla/5.0+(X11) https://shop.example/ 200",
            "#Fields: date time c-ip cs-method cs-uri-stem sc-status",
            "2024-02-01 14:00:02 192.0.2.2 GET /b 304",
            "2024-02-01 14:00:02 192.0.2.2 GET",
        ]);
        assert_eq!(seen[2], "192.0.2.1 1706796001000 /a 200 https://shop.example/ Mozilla/5.0 (X11)");
        assert_eq!(seen[4], "192.0.2.2 1706796002000 /b 304  ");
        assert!(seen[5].contains("another number of columns"));
    }

    #[test]
    fn cloudfront_separates_by_tabs_and_encodes_spaces() {
        let seen = read(&[
            "#Version: 1.0",
            "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query",
            "2024-02-01\t14:00:01\tFRA2\t5\t2001:db8::1\tGET\td.example\t/a\t200\t-\tMozilla/5.0%20(X11)\t-",
        ]);
        assert_eq!(seen[2], "2001:db8::1 1706796001000 /a 200 - Mozilla/5.0 (X11)");
    }

    #[test]
    fn columns_may_be_in_quotes() {
        let seen = read(&[
            "#Fields: date time c-ip cs-method cs-uri sc-status cs(User-Agent) cs(Referer)",
            "2024-02-01 14:00:01 192.0.2.1 GET /a 200 \"Mozilla/5.0 (X11) a+b \"\"x\"\"\" \"https://shop.example/\"",
            "\"2024-02-01\" \"14:00:01\" \"192.0.2.1\" \"GET\" \"/a\" \"200\" \"\" \"-\"",
            "2024-02-01 14:00:01 192.0.2.1 GET /a 200 \"Mozilla/5.0+(X11)\" a\"",
        ]);
        assert_eq!(seen[1], "192.0.2.1 1706796001000 /a 200 https://shop.example/ Mozilla/5.0 (X11) a+b \"x\"");
        assert_eq!(seen[2], "192.0.2.1 1706796001000 /a 200 - ");
        assert_eq!(seen[3], "192.0.2.1 1706796001000 /a 200 a\" Mozilla/5.0+(X11)");
    }

    #[test]
    fn no_column_is_taken_for_another() {
        let seen = read(&[
            "#Fields: date time cs-method cs-uri-stem sc-status cs-username c-ip s-ip",
            "2024-02-01\t14:00:01\tGET\t/\t200\t\t192.0.2.1\t10.0.0.9",
            "2024-02-01 14:00:01 GET / 200 \"a b\" 192.0.2.1 10.0.0.9",
            "2024-02-01 14:00:01 GET / 200 \"a 192.0.2.1 10.0.0.9",
            "2024-02-01 14:00:01 GET / 200 \"a b 192.0.2.1 10.0.0.9",
            "2024-02-01 14:00:01 GET / 200 - 192.0.2.1",
        ]);
        assert!(seen[1..4].iter().all(|line| line.starts_with("192.0.2.1 ")), "{seen:?}");
        assert!(seen[4..].iter().all(|line| line.contains("another number of columns")), "{seen:?}");
    }

    #[test]
    fn lines_without_names_of_their_columns_are_refused() {
        assert!(read(&["2024-02-01 14:00:02 192.0.2.2 GET /b 304"])[0].contains("#Fields"));
        let seen = read(&["#Fields: date time c-ip cs-uri-stem sc-status", "2024-02-01 14:00:02 192.0.2.2 /b 304"]);
        assert!(seen[0].contains("lack cs-method") && seen[1].contains("#Fields"), "{seen:?}");
    }
}
