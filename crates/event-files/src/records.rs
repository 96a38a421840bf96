use std::io::{self, Read};

use model::wire;
use thiserror::Error;

use crate::{
    Format,
    combined::Combined,
    csv::{Csv, InvalidHeader},
    lines::{Line, Lines},
    record::{Content, Record, Unreadable},
};

#[derive(Debug, Error)]
pub enum ReadError {
    #[error("cannot read on: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] InvalidHeader),
}

/// Reads the records of a file one after the other, in bounded memory.
pub struct Records<R> {
    lines: Lines<R>,
    decoder: Decoder,
}

enum Decoder {
    Ndjson,
    Csv(Box<Csv>),
    Combined(Combined),
}

impl<R: Read> Records<R> {
    /// Reads nothing yet.
    pub fn new(reader: R, format: &Format) -> Self {
        let decoder = match format {
            Format::Ndjson => Decoder::Ndjson,
            Format::Csv => Decoder::Csv(Box::default()),
            Format::Combined(own_hosts) => Decoder::Combined(Combined::new(own_hosts.clone())),
        };
        Self { lines: Lines::new(reader), decoder }
    }

    /// None at the end of the file. Empty lines are skipped.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have to continue after an error")]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        while let Some(line) = self.lines.next()? {
            if let Some(record) = self.decoder.read(line)? {
                return Ok(Some(record));
            }
        }
        Ok(self.decoder.finish())
    }
}

impl Decoder {
    fn read(&mut self, line: Line<'_>) -> Result<Option<Record>, InvalidHeader> {
        if let Self::Csv(csv) = self {
            return csv.read(line);
        }
        let content = match (line.bytes, self) {
            (Some([]), _) => return Ok(None),
            (None, _) => Content::Unreadable(Unreadable::TooLong),
            (Some(bytes), Self::Combined(combined)) => combined.read(bytes),
            (Some(bytes), _) => wire::parse_line(bytes).into(),
        };
        Ok(Some(Record { line: line.number, content }))
    }

    fn finish(&mut self) -> Option<Record> {
        match self {
            Self::Csv(csv) => csv.finish(),
            Self::Ndjson | Self::Combined(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::{Content, Records};
    use crate::Format;

    #[test]
    fn empty_lines_are_counted_and_skipped() {
        let event = r#"{"timestamp":1,"user":"a","event":"click"}"#;
        let mut records = Records::new(std::io::Cursor::new(format!("\n{event}\r\n\r\nno\n{event}")), &Format::Ndjson);
        let mut seen = Vec::new();
        while let Some(record) = records.next().unwrap() {
            seen.push((record.line, matches!(record.content, Content::Event(_))));
        }
        assert_eq!(seen, [(2, true), (4, false), (5, true)]);
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_unreadable() {
        let line = b"{\"timestamp\":1,\"user\":\"\xff\",\"event\":\"click\"}\n";
        let record = Records::new(&line[..], &Format::Ndjson).next().unwrap().unwrap();
        assert!(matches!(record.content, Content::Unreadable(_)), "{record:?}");
    }

    /// `tests/it/fuzz.rs` of `analytics-cli` imports the same files.
    fn corpus() -> Vec<Vec<u8>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let folders = ["ndjson", "csv", "combined"].map(|format| fs::read_dir(root.join(format)).unwrap());
        folders.into_iter().flatten().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }

    fn read_to_the_end(text: &[u8], format: &Format) {
        let mut records = Records::new(text, format);
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
            for format in [Format::Ndjson, Format::Csv, Format::Combined(vec!["example.org".parse().unwrap()])] {
                read_to_the_end(&text, &format);
                read_to_the_end(&bytes, &format);
            }
        }
    }
}
