use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use model::{Event, EventKind, IdempotencyKey, SiteName, TimeUnit, Timestamp, UserName, wire::SentEvent};
use thiserror::Error;

use crate::{
    lines::{Line, MAX_LINE_BYTES},
    record::{Content, Record, Unreadable},
};

#[derive(Debug, Error)]
#[error(
    "the header {fault}; accepted is a first line that names the columns timestamp, user and event, each once, between \
     commas, semicolons or tabs"
)]
pub struct InvalidHeader {
    fault: String,
}

/// The most columns that an error names.
const MAX_NAMED: usize = 9;

/// Reads CSV line by line. A record may span lines where a quoted field does.
pub(crate) struct Csv {
    parser: Reader,
    columns: Option<Columns>,
    record: Fields,
    /// The first line of the record that is not complete yet.
    begun: Option<u64>,
    unit: TimeUnit,
    /// If the file names it.
    delimiter: Option<u8>,
}

/// What may stand between columns; the first if the header has none of them.
const DELIMITERS: [u8; 4] = *b",;\t|";

impl Csv {
    pub(crate) fn new(unit: TimeUnit) -> Self {
        Self {
            parser: parser(DELIMITERS[0]),
            columns: None,
            record: Fields::default(),
            begun: None,
            unit,
            delimiter: None,
        }
    }

    /// Returns the record that ends with this line, if one does.
    pub(crate) fn read(&mut self, line: Line<'_>) -> Result<Option<Record>, InvalidHeader> {
        if self.begun.is_none() && line.bytes.is_some_and(<[u8]>::is_empty) {
            return Ok(None);
        }
        let first = *self.begun.get_or_insert(line.number);
        if self.columns.is_none() && first == line.number {
            let header = line.bytes.unwrap_or_default();
            if let Some(&[delimiter]) = header.strip_prefix(b"sep=") {
                // Excel tells itself so.
                self.delimiter = Some(delimiter);
                self.begun = None;
                return Ok(None);
            }
            self.parser = parser(self.delimiter.unwrap_or_else(|| delimiter_of(header)));
        }
        let Some(bytes) = line.bytes.filter(|bytes| self.record.read + bytes.len() <= MAX_LINE_BYTES) else {
            let content = match line.number {
                last if last == first => Unreadable::TooLong,
                last => Unreadable::UnclosedQuote { last },
            };
            return if self.columns.is_some() {
                self.restart();
                Ok(Some(Record { line: first, content: Content::Unreadable(content) }))
            } else {
                Err(InvalidHeader { fault: content.to_string() })
            };
        };
        // Within quotes the end of a line is text. An empty input means the end of the file to the parser.
        let end: &[u8] = if line.crlf { b"\r\n" } else { b"\n" };
        let complete = (!bytes.is_empty() && self.record.extend(&mut self.parser, bytes))
            || self.record.extend(&mut self.parser, end);
        if !complete {
            return Ok(None);
        }
        if line.crlf {
            self.record.cut_carriage_return();
        }
        let record = if let Some(columns) = &self.columns {
            Some(Record { line: first, content: columns.event_in(&self.record, self.unit).into() })
        } else {
            self.columns = Some(Columns::named_in(&self.record)?);
            None
        };
        self.restart();
        Ok(record)
    }

    /// Whether the lines that were read end within a record.
    pub(crate) fn is_within_a_record(&self) -> bool {
        self.begun.is_some()
    }

    /// At the end of the file: a record whose quote was never closed.
    pub(crate) fn finish(&mut self) -> Option<Record> {
        let line = self.begun.take()?;
        let last = line + self.record.lines - 1;
        Some(Record { line, content: Content::Unreadable(Unreadable::UnclosedQuote { last }) })
    }

    fn restart(&mut self) {
        self.parser.reset();
        self.record.clear();
        self.begun = None;
    }
}

/// Whether a line names the columns of a CSV file.
pub fn is_csv_header(line: &[u8]) -> bool {
    let mut csv = Csv::new(TimeUnit::default());
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let read = csv.read(Line { number: 1, bytes: Some(line), crlf: false, is_ended: true });
    matches!(read, Ok(None)) && (csv.columns.is_some() || csv.delimiter.is_some())
}

fn parser(delimiter: u8) -> Reader {
    ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build()
}

/// What is wrong with the header of a text, if it is a table: its first line names one of the columns, or its second has
/// as many fields.
pub(crate) fn fault_of_header(first: &[u8], second: Option<&[u8]>) -> Option<InvalidHeader> {
    if first.first().is_none_or(|byte| b"{[<#".contains(byte)) {
        return None;
    }
    let delimiter = delimiter_of(first);
    let header = fields_of(first, delimiter)?;
    let is_column = |name: &[u8]| {
        [Timestamp::PARAMETER, UserName::PARAMETER, EventKind::PARAMETER].iter().any(|column| is_named(name, column))
    };
    let is_header = header.count > 1 && header.names().any(is_column);
    let is_table = || second.and_then(|line| fields_of(line, delimiter)).is_some_and(|row| row.count == header.count);
    if is_header || header.count > 2 && is_table() { Columns::named_in(&header).err() } else { None }
}

fn is_named(field: &[u8], name: &str) -> bool {
    field.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

/// With which the header names the columns or, if none does, with which it has the most.
fn delimiter_of(header: &[u8]) -> u8 {
    let names_columns =
        |delimiter: &u8| fields_of(header, *delimiter).is_some_and(|fields| Columns::named_in(&fields).is_ok());
    let count = |delimiter: &u8| fields_of(header, *delimiter).map(|fields| fields.count);
    let most = || DELIMITERS.into_iter().rev().max_by_key(count).unwrap_or(DELIMITERS[0]);
    DELIMITERS.into_iter().find(names_columns).unwrap_or_else(most)
}

/// None for a line that ends within quotes.
fn fields_of(line: &[u8], delimiter: u8) -> Option<Fields> {
    let mut fields = Fields::default();
    fields.extend(&mut parser(delimiter), &[line, b"\n"].concat()).then_some(fields)
}

/// The places of the columns, counted from 0.
struct Columns {
    timestamp: usize,
    user: usize,
    event: usize,
    /// A file need not have these, and a row may leave them empty.
    site: Option<usize>,
    key: Option<usize>,
}

impl Columns {
    fn named_in(header: &Fields) -> Result<Self, InvalidHeader> {
        let optional = |name: &str| {
            let mut found = (0..header.count).filter(|i| is_named(header.get(*i), name));
            match (found.next(), found.next()) {
                (found, None) => Ok(found),
                (_, Some(_)) => Err(InvalidHeader { fault: format!("names the column {name} twice") }),
            }
        };
        let lacks = |name: &str| {
            let names: Vec<_> = header.names().take(MAX_NAMED).map(String::from_utf8_lossy).collect();
            let more = if header.count > names.len() { ", …" } else { "" };
            InvalidHeader { fault: format!("lacks the column {name}: it is {:?}{more}", names.join(", ")) }
        };
        let position = |name: &str| optional(name)?.ok_or_else(|| lacks(name));
        Ok(Self {
            timestamp: position(Timestamp::PARAMETER)?,
            user: position(UserName::PARAMETER)?,
            event: position(EventKind::PARAMETER)?,
            site: optional(SiteName::PARAMETER)?,
            key: optional(IdempotencyKey::PARAMETER)?,
        })
    }

    fn event_in(&self, row: &Fields, unit: TimeUnit) -> Result<SentEvent, Unreadable> {
        let text = |name: &'static str, position: usize| {
            if position >= row.count {
                return Err(Unreadable::NoColumn(name, row.count));
            }
            std::str::from_utf8(row.get(position)).map_err(|_| Unreadable::NotText(name))
        };
        let event = Event {
            at: unit.read_text(text(Timestamp::PARAMETER, self.timestamp)?)?,
            user: UserName::new(text(UserName::PARAMETER, self.user)?)?,
            kind: EventKind::parse(text(EventKind::PARAMETER, self.event)?.trim_ascii())?,
        };
        let optional = |name: &'static str, position: Option<usize>| {
            // A row may end before it.
            let given = position.filter(|position| *position < row.count);
            let given = given.map(|position| text(name, position)).transpose()?;
            Ok::<_, Unreadable>(given.filter(|text| !text.is_empty()))
        };
        let site = optional(SiteName::PARAMETER, self.site)?.map(SiteName::new).transpose()?;
        let key = optional(IdempotencyKey::PARAMETER, self.key)?.map(IdempotencyKey::new).transpose()?;
        Ok(SentEvent { key, site, ..event.into() })
    }
}

/// The unquoted fields of one record. The next record uses the same memory.
#[derive(Default)]
struct Fields {
    text: Vec<u8>,
    ends: Vec<usize>,
    written: usize,
    count: usize,
    /// How many bytes and lines were read for this record.
    read: usize,
    lines: u64,
}

impl Fields {
    /// Whether the record is complete.
    fn extend(&mut self, parser: &mut Reader, mut input: &[u8]) -> bool {
        self.read += input.len();
        self.lines += u64::from(input.ends_with(b"\n"));
        loop {
            let (result, read, written, ended) =
                parser.read_record(input, &mut self.text[self.written..], &mut self.ends[self.count..]);
            input = &input[read..];
            self.written += written;
            self.count += ended;
            match result {
                ReadRecordResult::InputEmpty => return false,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2 + 64, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2 + 8, 0),
                ReadRecordResult::Record | ReadRecordResult::End => return true,
            }
        }
    }

    /// The parser ends a record with LF, and treats the CR before it as a part of the last field.
    fn cut_carriage_return(&mut self) {
        self.ends[self.count - 1] -= 1;
    }

    fn get(&self, position: usize) -> &[u8] {
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[position]]
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).map(|position| self.get(position))
    }

    fn clear(&mut self) {
        (self.written, self.count, self.read, self.lines) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use model::wire::{SentEvent, SentVisitor};
    use proptest::prelude::*;

    use crate::{
        Format, FormatChoice,
        lines::MAX_LINE_BYTES,
        record::Content,
        records::{ReadError, Reading, Records},
    };

    fn read(text: &[u8]) -> Result<Vec<(u64, String)>, ReadError> {
        let reading = Reading { format: FormatChoice::Known(Format::Csv), ..Reading::default() };
        let mut records = Records::open(Cursor::new(text.to_vec()), &reading)?;
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            let content = match record.content {
                Content::Event(SentEvent { at, kind, visitor: SentVisitor::Named(user), site, key }) => {
                    let site = site.map(|site| format!(" {site}")).unwrap_or_default();
                    let key = key.map(|key| format!(" {}", key.as_str())).unwrap_or_default();
                    format!("{} {user} {kind}{site}{key}", at.millis())
                }
                Content::Event(other) => panic!("{other:?} has no name"),
                Content::LeftOut(reason) => reason.name().to_owned(),
                Content::Unreadable(reason) => reason.to_string(),
            };
            all.push((record.line, content));
        }
        Ok(all)
    }

    fn check(text: &[u8], expected: &[(u64, &str)]) {
        let seen = read(text).unwrap();
        let matches = seen.len() == expected.len()
            && seen.iter().zip(expected).all(|(seen, expected)| seen.0 == expected.0 && seen.1.contains(expected.1));
        assert!(matches, "{:?} gave {seen:?}, not {expected:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn columns_come_in_any_order_and_others_are_ignored() {
        check(b"timestamp,user,event\n1,ann,click\n", &[(2, "1 ann click")]);
        check(b"\xef\xbb\xbf\n", &[]);
        check(
            b"\xef\xbb\xbfevent, user ,page,timestamp\r\nclick,ann,\xff,1\r\n\r\nimpression,\"b,\"\"o\"\"b\",,2",
            &[(2, "1 ann click"), (4, "2 b,\"o\"b impression")],
        );
    }

    #[test]
    fn a_column_of_sites_may_be_there_and_its_fields_may_be_empty() {
        check(
            b"site,timestamp,user,event\nshop,1,ann,click\n,2,bob,click\na b,3,cid,click\n",
            &[(2, "1 ann click shop"), (3, "2 bob click"), (4, "site holds something else")],
        );
    }

    #[test]
    fn a_column_of_keys_may_be_there() {
        check(
            b"timestamp,user,event,id\n1,ann,click,k1\n2,bob,click,\n3,cid,click,a b\n",
            &[(2, "1 ann click k1"), (3, "2 bob click"), (4, "id holds")],
        );
    }

    #[test]
    fn columns_may_stand_between_semicolons_or_tabs() {
        check(b"timestamp;user;event\n1;\"a;,b\";click\n", &[(2, "1 a;,b click")]);
        check(b"timestamp\tuser\tevent\n1\ta,b\tclick\n", &[(2, "1 a,b click")]);
        check(b"timestamp|user|event\r\n1|a|click\r\n", &[(2, "1 a click")]);
        check(b"timestamp,user,event,\"a; b; c; d\"\n1,a,click,\n", &[(2, "1 a click")]);
        check(b"sep=;\nTimestamp;User;Event;id\n1;a;click\n", &[(3, "1 a click")]);
    }

    #[test]
    fn timestamps_are_milliseconds_or_rfc_3339_and_never_seconds() {
        check(
            b"timestamp,user,event\n2024-02-01T14:00:01Z,ann,click\n1706796001,bob,click\n1706796001000.0,cid,click\n",
            &[(2, "1706796001000 ann click"), (3, "timestamp looks like seconds"), (4, "1706796001000 cid click")],
        );
    }

    #[test]
    fn line_numbers_stay_right_after_a_quoted_newline() {
        check(
            b"timestamp,user,event,note\n1,ann,click,\"two\n\nlines\"\n2,bob,clack,\n3,cid,click,\"\n\"\n4,dan,click\n",
            &[(2, "1 ann click"), (5, "event is unknown"), (6, "3 cid click"), (8, "4 dan click")],
        );
    }

    #[test]
    fn a_row_without_an_event_is_unreadable() {
        for (row, reason) in [
            (&b"1,ann"[..], "has no column event, only 2 columns"),
            (b"x,ann,click", "timestamp is not an integer"),
            (b"-1,ann,click", "timestamp is negative"),
            (b"1,,click", "user is empty"),
            (b"1,\xff,click", "user is not UTF-8"),
            (b"1,ann,Click", "event is unknown"),
        ] {
            let text = [b"timestamp,user,event\n", row, b"\n2,bob,click"].concat();
            check(&text, &[(2, reason), (3, "2 bob click")]);
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_swallow_lines_in_silence() {
        check(
            b"timestamp,user,event,note\n1,ann,click,\n2,bob,click,\"oh\n3,cid,click,\n",
            &[(2, "1 ann click"), (3, "not closed up to line 4")],
        );
    }

    #[test]
    fn an_overlong_record_is_unreadable_and_the_next_one_read() {
        let line = format!("2,bob,click,{}\n", "x".repeat(MAX_LINE_BYTES));
        let text = format!("timestamp,user,event\n{line}3,cid,click\n");
        check(text.as_bytes(), &[(2, "longer than"), (3, "3 cid click")]);
        let half = "x".repeat(MAX_LINE_BYTES / 2);
        let text = format!("timestamp,user,event\n2,bob,click,\"{half}\n{half}\n3,cid,click\n");
        check(text.as_bytes(), &[(2, "not closed up to line 3"), (4, "3 cid click")]);
    }

    #[test]
    fn a_file_without_the_header_is_refused() {
        for (text, fault) in [
            (&b"1,ann,click\n"[..], "lacks the column timestamp"),
            (b"timestamp,user\n", "lacks the column event"),
            (b"timestamp,user,event,user\n", "names the column user twice"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&text);
            let _ = read(&[b"timestamp,user,event\n", text.as_slice()].concat());
        }

        #[test]
        fn every_quoted_user_is_read_as_it_was_written(user in "([^\0]|\r\n|\"){1,60}") {
            let text = format!("timestamp,user,event\n1,\"{}\",click\n", user.replace('"', "\"\""));
            let lines = u64::try_from(text.matches('\n').count()).unwrap();
            let seen = read(format!("{text}2,next,click").as_bytes()).unwrap();
            prop_assert_eq!(seen, [(2, format!("1 {user} click")), (lines + 1, "2 next click".to_owned())]);
        }
    }
}
