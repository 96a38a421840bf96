use std::io::{self, BufRead, BufReader, Cursor, Read};

use event_files::is_csv_header;
use model::{ContentCheck, SourceName};
use sha2::{Digest, Sha256};

/// The most bytes of a file's first lines that make its name.
const MAX_BEGINNING: u64 = 64 * 1024;

/// With what the names of the sources begin that a file may be: they are made from its first line that is not a header.
/// A file that has grown, or has another name, or was compressed, keeps it. Files that begin alike have names that begin
/// alike; what follows tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beginning {
    digest: String,
    /// Whether its line has its end.
    pub(crate) is_whole: bool,
}

impl Beginning {
    /// Also returns a reader that begins at the beginning again. `id` is the name that the user gave. None for a text
    /// without a line.
    pub(crate) fn of(text: impl Read + 'static, id: Option<&str>) -> io::Result<(Option<Self>, Box<dyn Read>)> {
        let mut reader = BufReader::new(text);
        let mut beginning = Vec::new();
        let found = loop {
            let begin = beginning.len();
            let left = MAX_BEGINNING.saturating_sub(begin as u64);
            (&mut reader).take(left).read_until(b'\n', &mut beginning)?;
            let line = &beginning[begin..];
            if line.is_empty() {
                break None;
            }
            // Lines may end as Macs wrote them before 2001.
            let ends_with_cr = !line.ends_with(b"\n") && line.contains(&b'\r');
            let mut lines = line.split_inclusive(|&byte| byte == if ends_with_cr { b'\r' } else { b'\n' });
            if let Some(first) = lines.find(|line| !is_head(line)) {
                let is_whole = first.ends_with(b"\n") || first.ends_with(b"\r") || line.len() as u64 == left;
                let whole = line.len() - lines.map(<[u8]>::len).sum::<usize>();
                break Some((begin + whole, is_whole));
            }
        };
        let found = found.map(|(end, is_whole)| {
            let parts = [id.unwrap_or_default().as_bytes(), beginning[..end].trim_ascii_end()];
            Self { digest: digest(&parts), is_whole }
        });
        Ok((found, Box::new(Cursor::new(beginning).chain(reader))))
    }

    pub(crate) fn prefix(&self) -> SourceName {
        name(format!("import:{}:", self.digest))
    }

    /// The name of the source that a file at a place is, if it is none that is known.
    pub(crate) fn at(&self, place: &str) -> SourceName {
        name(format!("import:{}:{}", self.digest, digest(&[place.as_bytes()])))
    }

    /// The same for what has no place: the one behind so many others.
    pub(crate) fn numbered(&self, number: usize) -> SourceName {
        name(format!("import:{}:{number}", self.digest))
    }
}

/// Whether a line is no event in any file: the first lines of CSV files and of the W3C's format are the same in many.
fn is_head(line: &[u8]) -> bool {
    line.starts_with(b"#") || line.trim_ascii().is_empty() || is_csv_header(line.trim_ascii_end())
}

fn name(text: String) -> SourceName {
    SourceName::new(text).expect("letters, digits and colons are visible ASCII")
}

/// Part of a SHA-256 sum.
fn digest(parts: &[&[u8]]) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part.len().to_be_bytes());
        sum.update(part);
    }
    ContentCheck::new(&sum.finalize()[..8]).map(|digest| digest.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::Beginning;

    fn beginning(text: &str, id: Option<&str>) -> Option<Beginning> {
        let (beginning, mut reader) = Beginning::of(Cursor::new(text.to_owned()), id).unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, text, "the returned reader begins at the beginning");
        beginning
    }

    fn name(text: &str) -> String {
        beginning(text, None).unwrap().prefix().to_string()
    }

    #[test]
    fn a_file_that_has_grown_keeps_its_name_and_another_has_another() {
        assert_eq!(name("a\nb\n"), name("a\nb\nc\n"));
        assert_eq!(name("a"), name("a\r\n"));
        assert_ne!(name("a\nb\n"), name("b\na\n"));
        assert_eq!(name("a\rb\r"), name("a\rb\rc\r"));
        for header in ["timestamp,user,event\n", "#Software: IIS\n#Fields: date\n", "\n", "timestamp,user,event\r"] {
            let of = |rows: &str| name(&format!("{header}{}", rows.replace('\n', &header[header.len() - 1..])));
            assert_eq!(of("a\nb"), of("a"));
            assert_ne!(of("a\n"), of("b\n"));
        }
        assert_eq!(name(&"x".repeat(100_000)), name(&"x".repeat(100_001)), "only the beginning is used");
    }

    #[test]
    fn a_text_begins_with_its_first_line_that_is_whole() {
        assert_eq!(beginning("", None), None);
        assert_eq!(beginning("timestamp,user,event\n", None), None);
        assert!(!beginning("a", None).unwrap().is_whole);
        assert!(beginning("timestamp,user,event\na\n", None).unwrap().is_whole);
    }

    #[test]
    fn an_id_tells_files_apart_that_begin_alike() {
        let named = |id| beginning("a\n", id);
        assert_ne!(named(None), named(Some("b")));
        assert_ne!(named(Some("a")), named(Some("b")));
    }
}
