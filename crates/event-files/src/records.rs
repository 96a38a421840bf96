use std::io::{self, Cursor, Read};

use model::{TimeUnit, wire};
use thiserror::Error;

use crate::{
    Format, FormatChoice, LogFormat,
    access_log::{AccessLog, PageViewRules},
    csv::{Csv, InvalidHeader},
    detect::{UnknownContent, detect, is_json_array},
    lines::{Line, Lines},
    plain::text_of,
    record::{Content, LeftOut, Record, Unreadable},
    wrapping::unwrap,
};

#[derive(Debug, Error)]
pub enum ReadError {
    #[error("cannot read on: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    #[error(transparent)]
    Format(#[from] UnknownContent),
}

/// How files are read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub format: FormatChoice,
    /// For all formats but logs, whose times are written in their own ways.
    pub unit: TimeUnit,
    /// For logs.
    pub rules: PageViewRules,
    /// Whether a last line that lacks its end is left for the next time: whoever writes the file may not be done with it.
    pub leaves_unfinished: bool,
}

/// Reads the records of a file one after the other, in bounded memory.
pub struct Records {
    lines: Lines<Box<dyn Read>>,
    /// None for an empty file whose format was not given.
    format: Option<Format>,
    decoder: Decoder,
    leaves_unfinished: bool,
    /// Behind the last line that is done with.
    position: u64,
    is_unfinished: bool,
}

enum Decoder {
    Ndjson(TimeUnit),
    Csv(Box<Csv>),
    Log(Box<AccessLog>),
}

impl Records {
    /// Reads no more than what tells the format.
    pub fn open(file: impl Read + 'static, reading: &Reading) -> Result<Self, ReadError> {
        let mut text = text_of(file)?;
        let format = match &reading.format {
            FormatChoice::Known(format @ (Format::Ndjson | Format::Log(LogFormat::Json))) => {
                let mut beginning = vec![0; 512];
                let length = text.read(&mut beginning)?;
                beginning.truncate(length);
                if is_json_array(&beginning) {
                    return Err(UnknownContent::Array.into());
                }
                text = Box::new(Cursor::new(beginning).chain(text));
                Some(format.clone())
            }
            FormatChoice::Known(format) => Some(format.clone()),
            FormatChoice::Auto => {
                let (beginning, format) = detect(&mut text)?;
                text = Box::new(Cursor::new(beginning).chain(text));
                format
            }
        };
        let decoder = match &format {
            Some(Format::Csv) => Decoder::Csv(Box::new(Csv::new(reading.unit))),
            Some(Format::Log(format)) => Decoder::Log(Box::new(AccessLog::new(format, reading.rules.clone()))),
            Some(Format::Ndjson) | None => Decoder::Ndjson(reading.unit),
        };
        Ok(Self {
            lines: Lines::new(text),
            format,
            decoder,
            leaves_unfinished: reading.leaves_unfinished,
            position: 0,
            is_unfinished: false,
        })
    }

    /// The format that was given or found; none if the file is empty.
    pub fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// None at the end of the file. Empty lines are skipped.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have to continue after an error")]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        while let Some(line) = self.lines.next()? {
            if self.leaves_unfinished && !line.is_ended {
                self.is_unfinished = true;
                return Ok(None);
            }
            let record = self.decoder.read(line)?;
            if !self.decoder.is_within_a_record() {
                self.position = self.lines.position();
            }
            if record.is_some() {
                return Ok(record);
            }
        }
        if self.leaves_unfinished {
            self.is_unfinished |= self.decoder.is_within_a_record();
            return Ok(None);
        }
        self.position = self.lines.position();
        Ok(self.decoder.finish())
    }

    /// How many bytes of the text the records have that were returned, and what was skipped between them.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the text ends within a line or record that was left.
    pub fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }
}

impl Decoder {
    fn read(&mut self, line: Line<'_>) -> Result<Option<Record>, InvalidHeader> {
        let content = match self {
            Self::Csv(csv) => return csv.read(line),
            Self::Log(log) => content_of(line.bytes, |bytes| log.read(bytes)),
            Self::Ndjson(unit) => content_of(line.bytes, |bytes| wire::parse_line(bytes, *unit).into()),
        };
        Ok(content.map(|content| Record { line: line.number, content }))
    }

    fn is_within_a_record(&self) -> bool {
        matches!(self, Self::Csv(csv) if csv.is_within_a_record())
    }

    fn finish(&mut self) -> Option<Record> {
        match self {
            Self::Csv(csv) => csv.finish(),
            Self::Ndjson(_) | Self::Log(_) => None,
        }
    }
}

/// None for an empty line.
fn content_of(line: Option<&[u8]>, read: impl FnMut(&[u8]) -> Content) -> Option<Content> {
    match line {
        Some(bytes) if bytes.trim_ascii().is_empty() => None,
        Some(bytes) => Some(read_wrapped(bytes, read)),
        None => Some(Content::Unreadable(Unreadable::TooLong)),
    }
}

/// Reads a line that a collector of logs may have wrapped. What looks wrapped is unwrapped first, since the whole could
/// be read as something else; but an object is itself first, since few are wrappings.
pub(crate) fn read_wrapped(line: &[u8], mut read: impl FnMut(&[u8]) -> Content) -> Content {
    let is_good =
        |content: &Content| !matches!(content, Content::Unreadable(_) | Content::LeftOut(LeftOut::NotARequest));
    let whole_first = if line.first() == Some(&b'{') {
        let whole = read(line);
        if is_good(&whole) {
            return whole;
        }
        Some(whole)
    } else {
        None
    };
    let Some(unwrapped) = unwrap(line) else { return whole_first.unwrap_or_else(|| read(line)) };
    let within = read(&unwrapped.line);
    if is_good(&within) {
        return within;
    }
    let whole = whole_first.unwrap_or_else(|| read(line));
    match whole {
        whole if is_good(&whole) => whole,
        _ if unwrapped.is_partial => Content::Unreadable(Unreadable::Partial),
        _ => within,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor, path::Path};

    use proptest::prelude::*;

    use super::{Content, Reading, Records};
    use crate::{Format, FormatChoice, LogFormat};

    fn open(text: &[u8], format: Format) -> Records {
        let reading = Reading { format: FormatChoice::Known(format), ..Reading::default() };
        Records::open(Cursor::new(text.to_vec()), &reading).unwrap()
    }

    #[test]
    fn empty_lines_are_counted_and_skipped() {
        let event = r#"{"timestamp":1,"user":"a","event":"click"}"#;
        let mut records = open(format!("\n{event}\r\n\r\nno\n{event}").as_bytes(), Format::Ndjson);
        let mut seen = Vec::new();
        while let Some(record) = records.next().unwrap() {
            seen.push((record.line, matches!(record.content, Content::Event(_))));
        }
        assert_eq!(seen, [(2, true), (4, false), (5, true)]);
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_unreadable() {
        let line = b"{\"timestamp\":1,\"user\":\"\xff\",\"event\":\"click\"}\n";
        let record = open(line, Format::Ndjson).next().unwrap().unwrap();
        assert!(matches!(record.content, Content::Unreadable(_)), "{record:?}");
    }

    #[test]
    fn an_array_is_refused_once_where_an_object_a_line_is_expected() {
        let event = r#"{"timestamp":1,"user":"a","event":"click"}"#;
        for (array, format) in [
            (format!("[{event},{event}]"), Format::Ndjson),
            (format!("\n[\n{event},\n"), Format::Ndjson),
            (r#"[{"ts":1,"#.to_owned(), Format::Log(LogFormat::Json)),
        ] {
            let reading = Reading { format: FormatChoice::Known(format), ..Reading::default() };
            let error = Records::open(Cursor::new(array.clone()), &reading).err().unwrap().to_string();
            assert!(error.contains("it is one JSON array"), "{array}: {error}");
        }
        let mut records = open(format!("{event}\n[]\n{event}").as_bytes(), Format::Ndjson);
        for is_event in [true, false, true] {
            let record = records.next().unwrap().unwrap();
            assert_eq!(matches!(record.content, Content::Event(_)), is_event, "{record:?}");
        }
    }

    #[test]
    fn positions_lie_behind_records_and_an_unfinished_one_is_left_if_asked() {
        let positions = |text: &str, format: Format, leaves_unfinished| {
            let reading = Reading { format: FormatChoice::Known(format), leaves_unfinished, ..Reading::default() };
            let mut records = Records::open(Cursor::new(text.to_owned()), &reading).unwrap();
            let mut seen = Vec::new();
            while records.next().unwrap().is_some() {
                seen.push(records.position());
            }
            (seen, records.position(), records.is_unfinished())
        };
        assert_eq!(positions("\na\r\n\nb", Format::Ndjson, true), (vec![4], 5, true));
        assert_eq!(positions("\na\r\n\nb", Format::Ndjson, false), (vec![4, 6], 6, false));
        let csv = "timestamp,user,event\n1,\"a\nb\",click\n\n2,\"c\nd";
        assert_eq!(positions(csv, Format::Csv, true), (vec![35], 36, true));
        assert_eq!(positions(csv, Format::Csv, false), (vec![35, 42], 42, false));
        assert_eq!(positions("timestamp,user,event\n1,\"c\n", Format::Csv, true), (vec![], 21, true));
        let long = format!("{}\nb\n", "x".repeat(3 << 20));
        assert_eq!(positions(&long, Format::Ndjson, true), (vec![(3 << 20) + 1, (3 << 20) + 3], (3 << 20) + 3, false));
    }

    /// `tests/it/fuzz.rs` of `analytics-cli` imports the same files.
    fn corpus() -> Vec<Vec<u8>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let folders = fs::read_dir(root).unwrap().map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        folders.flatten().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }

    fn read_to_the_end(text: &[u8], format: FormatChoice) {
        let reading = Reading { format, ..Reading::default() };
        let Ok(mut records) = Records::open(Cursor::new(text.to_vec()), &reading) else { return };
        let mut last = 0;
        while let Ok(Some(record)) = records.next() {
            assert!(record.line > last, "line numbers grow");
            last = record.line;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_the_reader_of_any_format_panic(
            seed in prop::sample::select(corpus()),
            cut: prop::sample::Index,
            length in 0..40_usize,
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let at = cut.index(seed.len());
            let mut text = seed;
            text.splice(at..(at + length).min(text.len()), bytes.iter().copied());
            for format in FormatChoice::NAMES {
                read_to_the_end(&text, format.parse().unwrap());
                read_to_the_end(&bytes, format.parse().unwrap());
            }
        }
    }
}
