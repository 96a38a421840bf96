use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use model::{Event, EventKind, SiteName, Timestamp, UserName, wire::SentEvent};
use thiserror::Error;

use crate::{
    lines::{Line, MAX_LINE_BYTES},
    record::{Content, Record, Unreadable},
};

#[derive(Debug, Error)]
#[error("the header {fault}; accepted is a first line that names the columns timestamp, user and event, each once")]
pub struct InvalidHeader {
    fault: String,
}

/// Reads CSV line by line. A record may span lines where a quoted field does.
pub(crate) struct Csv {
    parser: Reader,
    columns: Option<Columns>,
    record: Fields,
    /// The first line of the record that is not complete yet.
    begun: Option<u64>,
}

impl Default for Csv {
    fn default() -> Self {
        let parser = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { parser, columns: None, record: Fields::default(), begun: None }
    }
}

impl Csv {
    /// Returns the record that ends with this line, if one does.
    pub(crate) fn read(&mut self, line: Line<'_>) -> Result<Option<Record>, InvalidHeader> {
        if self.begun.is_none() && line.bytes.is_some_and(<[u8]>::is_empty) {
            return Ok(None);
        }
        let first = *self.begun.get_or_insert(line.number);
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
            Some(Record { line: first, content: columns.event_in(&self.record).into() })
        } else {
            self.columns = Some(Columns::named_in(&self.record)?);
            None
        };
        self.restart();
        Ok(record)
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

/// The places of the columns, counted from 0.
struct Columns {
    timestamp: usize,
    user: usize,
    event: usize,
    /// A file need not have it, and a row may leave it empty.
    site: Option<usize>,
}

impl Columns {
    fn named_in(header: &Fields) -> Result<Self, InvalidHeader> {
        let optional = |name: &str| {
            let mut found = (0..header.count).filter(|i| header.get(*i).trim_ascii() == name.as_bytes());
            match (found.next(), found.next()) {
                (found, None) => Ok(found),
                (_, Some(_)) => Err(InvalidHeader { fault: format!("names the column {name} twice") }),
            }
        };
        let position =
            |name: &str| optional(name)?.ok_or_else(|| InvalidHeader { fault: format!("lacks the column {name}") });
        Ok(Self {
            timestamp: position(Timestamp::PARAMETER)?,
            user: position(UserName::PARAMETER)?,
            event: position(EventKind::PARAMETER)?,
            site: optional(SiteName::PARAMETER)?,
        })
    }

    fn event_in(&self, row: &Fields) -> Result<SentEvent, Unreadable> {
        let text = |name: &'static str, position: usize| {
            if position >= row.count {
                return Err(Unreadable::NoColumn(name, row.count));
            }
            std::str::from_utf8(row.get(position)).map_err(|_| Unreadable::NotText(name))
        };
        let event = Event {
            at: Timestamp::parse(text(Timestamp::PARAMETER, self.timestamp)?)?,
            user: UserName::new(text(UserName::PARAMETER, self.user)?)?,
            kind: EventKind::parse(text(EventKind::PARAMETER, self.event)?)?,
        };
        let site = self.site.map(|position| text(SiteName::PARAMETER, position)).transpose()?;
        let site = site.filter(|site| !site.is_empty()).map(SiteName::new).transpose()?;
        Ok(SentEvent { event, key: None, site })
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

    fn clear(&mut self) {
        (self.written, self.count, self.read, self.lines) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use model::wire::SentEvent;
    use proptest::prelude::*;

    use crate::{
        Format,
        lines::MAX_LINE_BYTES,
        record::Content,
        records::{ReadError, Records},
    };

    fn read(text: &[u8]) -> Result<Vec<(u64, String)>, ReadError> {
        let mut records = Records::new(text, &Format::Csv);
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            let content = match record.content {
                Content::Event(SentEvent { event: e, site, .. }) => {
                    let site = site.map(|site| format!(" {site}")).unwrap_or_default();
                    format!("{} {} {}{site}", e.at.millis(), e.user, e.kind)
                }
                Content::NotAPageView => "not a page view".to_owned(),
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
