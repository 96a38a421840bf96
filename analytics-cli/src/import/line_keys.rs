use std::{
    fmt::Write,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use event_files::is_csv_header;
use model::IdempotencyKey;
use sha2::{Digest, Sha256};

/// The most bytes of a file's first lines that go into its keys.
const MAX_BEGINNING: u64 = 64 * 1024;

/// Makes the idempotency keys of a file's lines from the beginning of the file and the line numbers, so that the
/// server stores each line once, however often the file is imported. A log that has grown, or has another name, keeps
/// its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineKeys {
    file: String,
}

impl LineKeys {
    /// Also returns a reader that begins at the beginning again. `name` tells files apart that begin alike.
    pub(crate) fn of(reader: impl Read + 'static, name: Option<&str>) -> io::Result<(Self, Box<dyn Read>)> {
        let mut reader = BufReader::new(reader);
        let mut beginning = Vec::new();
        (&mut reader).take(MAX_BEGINNING).read_until(b'\n', &mut beginning)?;
        // The first lines of a CSV file are the same in many.
        let mut line = beginning.clone();
        while is_csv_header(line.trim_ascii_end()) {
            line.clear();
            let left = MAX_BEGINNING - beginning.len() as u64;
            (&mut reader).take(left).read_until(b'\n', &mut line)?;
            beginning.extend_from_slice(&line);
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

    /// Keys of later lines sort after those of earlier ones, which the database stores faster.
    pub(crate) fn line(&self, number: u64) -> IdempotencyKey {
        IdempotencyKey::new(format!("{}:{number:09}", self.file))
            .expect("hexadecimal and decimal digits are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::LineKeys;

    fn keys(text: &str, name: Option<&str>) -> LineKeys {
        let (keys, mut reader) = LineKeys::of(Cursor::new(text.to_owned()), name).unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, text, "the returned reader begins at the beginning");
        keys
    }

    #[test]
    fn a_file_that_has_grown_keeps_its_keys_and_another_has_others() {
        let ndjson = |text| keys(text, None);
        assert_eq!(ndjson("a\nb\n"), ndjson("a\nb\nc\n"));
        assert_eq!(ndjson("a"), ndjson("a\r\n"));
        assert_ne!(ndjson("a\nb\n"), ndjson("b\na\n"));
        let csv = |rows| keys(&format!("timestamp,user,event\n{rows}"), None);
        assert_eq!(csv("a\nb"), csv("a"));
        assert_ne!(csv("a\n"), csv("b\n"));
        assert_eq!(ndjson(&"x".repeat(100_000)), ndjson(&"x".repeat(100_001)), "only the beginning is used");
    }

    #[test]
    fn a_name_tells_files_apart_that_begin_alike() {
        let named = |name| keys("a\n", name);
        assert_ne!(named(None), named(Some("b")));
        assert_ne!(named(Some("a")), named(Some("b")));
    }

    #[test]
    fn the_keys_of_lines_are_in_order() {
        let keys = keys("a\n", None);
        assert!(keys.line(9).as_str() < keys.line(10).as_str());
        assert!(keys.line(99_999).as_str() < keys.line(100_000).as_str());
    }
}
