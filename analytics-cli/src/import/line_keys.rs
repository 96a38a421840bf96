use std::{
    fmt::Write,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use event_files::Format;
use model::IdempotencyKey;
use sha2::{Digest, Sha256};

/// How much of a file is read to tell it from others, in bytes, if its first lines are that long.
const MAX_BEGINNING: u64 = 64 * 1024;

/// Names the lines of one file by how the file begins and their numbers, so that the server stores each of them once, however often the
/// file is imported. A log that has grown since, or has another name, keeps its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineKeys {
    file: String,
}

impl LineKeys {
    /// Names for the lines of what a reader reads, and a reader that reads the same from its beginning. `name` tells files apart that begin alike.
    pub(crate) fn of(
        reader: impl Read + 'static,
        format: &Format,
        name: Option<&str>,
    ) -> io::Result<(Self, Box<dyn Read>)> {
        // The first line of a CSV file is the same in many.
        let lines = if matches!(format, Format::Csv) { 2 } else { 1 };
        let mut reader = BufReader::new(reader);
        let mut beginning = Vec::new();
        for _ in 0..lines {
            let left = MAX_BEGINNING - beginning.len() as u64;
            (&mut reader).take(left).read_until(b'\n', &mut beginning)?;
        }
        let mut sum = Sha256::new();
        sum.update(name.unwrap_or_default());
        sum.update([0]);
        sum.update(beginning.trim_ascii_end());
        let file = sum.finalize()[..8].iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing into memory cannot fail");
            text
        });
        Ok((Self { file }, Box::new(Cursor::new(beginning).chain(reader))))
    }

    /// The name of a line. Names of later lines sort behind those of earlier ones, which the database stores in less time.
    pub(crate) fn line(&self, number: u64) -> IdempotencyKey {
        IdempotencyKey::new(format!("{}:{number:09}", self.file))
            .expect("hexadecimal and decimal digits are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use event_files::Format;

    use super::LineKeys;

    fn keys(text: &str, format: &Format, name: Option<&str>) -> LineKeys {
        let (keys, mut reader) = LineKeys::of(Cursor::new(text.to_owned()), format, name).unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, text, "nothing that was looked at is lost");
        keys
    }

    #[test]
    fn a_file_that_has_grown_keeps_its_names_and_another_has_others() {
        let ndjson = |text| keys(text, &Format::Ndjson, None);
        assert_eq!(ndjson("a\nb\n"), ndjson("a\nb\nc\n"));
        assert_eq!(ndjson("a"), ndjson("a\r\n"));
        assert_ne!(ndjson("a\nb\n"), ndjson("b\na\n"));
        let csv = |text| keys(text, &Format::Csv, None);
        assert_eq!(csv("header\na\nb"), csv("header\na"));
        assert_ne!(csv("header\na\n"), csv("header\nb\n"));
        assert_eq!(ndjson(&"x".repeat(100_000)), ndjson(&"x".repeat(100_001)), "only so much is looked at");
    }

    #[test]
    fn a_name_tells_files_apart_that_begin_alike() {
        let named = |name| keys("a\n", &Format::Ndjson, name);
        assert_ne!(named(None), named(Some("b")));
        assert_ne!(named(Some("a")), named(Some("b")));
    }

    #[test]
    fn the_names_of_lines_are_in_order() {
        let keys = keys("a\n", &Format::Ndjson, None);
        assert!(keys.line(9).as_str() < keys.line(10).as_str());
        assert!(keys.line(99_999).as_str() < keys.line(100_000).as_str());
    }
}
