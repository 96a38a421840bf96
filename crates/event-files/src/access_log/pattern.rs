//! Lines that a pattern describes: fields, and the text between them.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    ops::RangeFrom,
};

use model::Timestamp;

use super::{
    escapes::unescaped,
    names,
    request::{Request, request_line},
    time::TimeFormat,
};
use crate::record::Unreadable;

/// How the lines of an access log are written: by Apache's or nginx's format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub(super) parts: Vec<Part>,
    /// Whether more may follow, behind a space.
    pub(super) is_open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text that stands in each line.
    Text(Vec<u8>),
    Field(Field),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// The names at the beginning of a combined line.
    Names {
        has_host: bool,
    },
    Client,
    Forwarded,
    Time(TimeFormat),
    /// Method, target and protocol.
    RequestLine,
    Method,
    Target,
    Status,
    Referer,
    Agent,
    Size,
    Other,
}

impl Pattern {
    pub(super) fn common(has_host: bool) -> Self {
        Self { parts: Self::beginning(has_host), is_open: false }
    }

    /// An administrator may have added fields after the agent.
    pub(super) fn combined(has_host: bool) -> Self {
        let mut parts = Self::beginning(has_host);
        parts.extend([
            text(b" \""),
            Part::Field(Field::Referer),
            text(b"\" \""),
            Part::Field(Field::Agent),
            text(b"\""),
        ]);
        Self { parts, is_open: true }
    }

    fn beginning(has_host: bool) -> Vec<Part> {
        vec![
            Part::Field(Field::Names { has_host }),
            text(b" ["),
            Part::Field(Field::Time(TimeFormat::Common)),
            text(b"] \""),
            Part::Field(Field::RequestLine),
            text(b"\" "),
            Part::Field(Field::Status),
            text(b" "),
            Part::Field(Field::Size),
        ]
    }

    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Result<Request<'a>, Unreadable> {
        let mut found = Found::default();
        let mut rest = line;
        let mut before: &[u8] = b"";
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) => {
                    rest = rest
                        .strip_prefix(&**text)
                        .ok_or(Unreadable::LogLine("the text between two of its fields is another"))?;
                    before = text;
                }
                Part::Field(field) => {
                    let end = match parts.peek() {
                        Some(Part::Text(after)) => end_of(field, rest, before, after),
                        _ => Some(rest.len()),
                    };
                    let end = end.ok_or(Unreadable::LogLine(field.missing_end()))?;
                    let value;
                    (value, rest) = rest.split_at(end);
                    found.take(field, value, before.ends_with(b"\""))?;
                }
            }
        }
        if !(rest.is_empty() || self.is_open && rest.starts_with(b" ")) {
            return Err(Unreadable::LogLine("there is something after its last field"));
        }
        if let Some(list) = list_behind(rest) {
            found.forwarded = list;
            rest = &rest[list.len() + QUOTES..];
        }
        // A field that an administrator put before the referer moves that and the agent.
        found.has_unknown_addresses = has_address(rest) || self.is_open && is_list(found.referer);
        found.request()
    }
}

/// A blank, and the quotes around a list.
const QUOTES: usize = 3;

/// A list of addresses in quotes, directly behind the last field, as in nginx's own format `main`.
fn list_behind(rest: &[u8]) -> Option<&[u8]> {
    let value = rest.strip_prefix(b" \"")?;
    let value = &value[..closing_quote(value)?];
    is_list(value).then_some(value)
}

/// Whether a text is a list of forwarded addresses. The last is what a proxy wrote; the client may have written anything
/// before it. An address with a port is rather that of another server.
fn is_list(text: &[u8]) -> bool {
    let last = text.rsplit(|&byte| byte == b',').next().unwrap_or_default();
    str::from_utf8(last.trim_ascii()).is_ok_and(|last| last.parse::<IpAddr>().is_ok() || last == "unknown")
}

/// Servers do not listen on these ports, and clients connect from them.
const PORTS_OF_CLIENTS: RangeFrom<u16> = 32_768..;

/// Whether an address that may be a client's stands anywhere in a text: one with another port is that of a server.
fn has_address(text: &[u8]) -> bool {
    let may_be_client = |word: &str| {
        let of_client = |address: SocketAddr| PORTS_OF_CLIENTS.contains(&address.port());
        word.parse::<IpAddr>().is_ok() || word.parse().is_ok_and(of_client)
    };
    text.split(|byte| b" \t\"',;=|".contains(byte)).any(|word| {
        let may_be = word.len() > 1 && (word.contains(&b'.') || word.contains(&b':'));
        may_be && str::from_utf8(word).is_ok_and(may_be_client)
    })
}

/// The next quote that is not behind a backslash.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    text.iter().position(|&byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

fn text(text: &[u8]) -> Part {
    Part::Text(text.to_vec())
}

/// Where a field ends: at the first place of the text behind it that is not within the field. In quotes, a quote behind
/// a backslash is text. A list of addresses goes on behind a comma, and an address has colons of its own before that of
/// a port.
fn end_of(field: &Field, rest: &[u8], before: &[u8], after: &[u8]) -> Option<usize> {
    if after.starts_with(b"\"") && before.ends_with(b"\"") {
        return closing_quote(rest);
    }
    let is_address = matches!(field, Field::Client | Field::Forwarded);
    if is_address && after.starts_with(b":") {
        let word = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
        return word.iter().rposition(|&byte| byte == b':').filter(|at| rest[*at..].starts_with(after));
    }
    let goes_on = |at: usize| is_address && at > 0 && rest[at - 1] == b',';
    let spaces = if after.starts_with(b" ") { field.spaces() } else { 0 };
    let places = rest.windows(after.len()).enumerate().filter(|(at, window)| *window == after && !goes_on(*at));
    places.map(|(at, _)| at).nth(spaces)
}

impl Field {
    /// How many spaces it has.
    fn spaces(&self) -> usize {
        match self {
            Self::Time(format) => format.spaces(),
            Self::RequestLine => 2,
            _ => 0,
        }
    }

    fn missing_end(&self) -> &'static str {
        match self {
            Self::Names { .. } | Self::Client | Self::Forwarded => "there is no [time] behind the client",
            Self::Time(_) => "there is no request after the time",
            Self::RequestLine | Self::Method | Self::Target => "the quote of the request is not closed",
            Self::Status => "there is no size after the status",
            Self::Size => "there is no referer, so it may be the common format",
            Self::Referer => "the quote of the referer is not closed, or no agent follows",
            Self::Agent => "the quote of the agent is not closed",
            Self::Other => "a field has no end",
        }
    }
}

/// The values of one line's fields.
#[derive(Default)]
struct Found<'a> {
    client: Option<&'a [u8]>,
    forwarded: &'a [u8],
    at: Option<Timestamp>,
    method: &'a [u8],
    target: &'a [u8],
    status: Option<u16>,
    referer: &'a [u8],
    agent: Option<&'a [u8]>,
    has_unknown_addresses: bool,
    /// Whether a list that is not in quotes may have more elements than were taken.
    list_may_go_on: bool,
}

impl<'a> Found<'a> {
    fn take(&mut self, field: &Field, value: &'a [u8], is_quoted: bool) -> Result<(), Unreadable> {
        let list_may_go_on = self.list_may_go_on && !is_quoted;
        self.list_may_go_on = match field {
            Field::Client | Field::Forwarded => !is_quoted,
            Field::Other => list_may_go_on,
            _ => false,
        };
        match field {
            Field::Names { has_host } => self.client = Some(names::client(value, *has_host)?),
            Field::Client => self.client = Some(value),
            Field::Forwarded => self.forwarded = value,
            Field::Time(format) => self.at = Some(format.read(value)?),
            Field::RequestLine => (self.method, self.target) = request_line(value),
            Field::Method => self.method = value,
            Field::Target => self.target = value,
            Field::Status => self.status = Some(status(value)?),
            Field::Referer => self.referer = value,
            Field::Agent => self.agent = Some(value),
            // A client can write spaces into a list, of which only the beginning was taken then.
            Field::Other if list_may_go_on && value.contains(&b',') => {
                return Err(Unreadable::UnclearClient("a comma stands behind it, as in a list that is not in quotes"));
            }
            Field::Size if value != b"-" && !is_number(value) => {
                return Err(Unreadable::LogLine("the size is not a number"));
            }
            Field::Size | Field::Other => {}
        }
        Ok(())
    }

    fn request(self) -> Result<Request<'a>, Unreadable> {
        let missing = Unreadable::LogLine("it lacks a field");
        let sent = |text: &'a [u8]| unescaped(Cow::Borrowed(text));
        Ok(Request {
            client: Cow::Borrowed(self.client.unwrap_or_default()),
            forwarded: Cow::Borrowed(self.forwarded),
            at: self.at.ok_or(missing)?,
            method: Cow::Borrowed(self.method),
            target: sent(self.target),
            status: self.status.ok_or(Unreadable::LogLine("it lacks the status"))?,
            referer: sent(self.referer),
            agent: self.agent.map(sent),
            has_unknown_addresses: self.has_unknown_addresses,
        })
    }
}

pub(super) fn status(text: &[u8]) -> Result<u16, Unreadable> {
    let status = (text.len() == 3 && is_number(text)).then(|| str::from_utf8(text).ok()?.parse().ok()).flatten();
    status.ok_or(Unreadable::LogLine("the status is not a number of three digits"))
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}
