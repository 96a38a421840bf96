//! Which source a file is, and where it stands: the one whose content up to its position is the beginning of the file.

use std::io::{self, Read, Seek, SeekFrom};

use model::{ContentCheck, SourceName, SourcePosition};
use sha2::{Digest, Sha256};

/// A check is the first half of a SHA-256 sum.
const CHECK_BYTES: usize = 16;
const CHUNK: usize = 64 * 1024;

/// The check of the content that a sum was made of.
pub(crate) fn check(sum: &Sha256) -> Option<ContentCheck> {
    ContentCheck::new(&sum.clone().finalize()[..CHECK_BYTES])
}

/// What was found about a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is this one of the sources, counted from 0, and no other goes further.
    Known(usize),
    /// The one that was named, and its content is not the beginning of the file. So the file was edited, or cut.
    Changed(usize),
    /// It is none of them.
    New,
}

/// Compares the beginning of a text with sources. `own` is the one that the file was when it was at the same place.
pub(crate) fn standing_of(
    text: &mut dyn Read,
    sources: &[(SourceName, SourcePosition)],
    own: Option<&SourceName>,
) -> io::Result<Standing> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&place| sources[place].1.position);
    let mut sum = Sha256::new();
    let (mut read, mut known) = (0, None);
    for place in order {
        let stands_at = &sources[place].1;
        if stands_at.position > read {
            read += add(&mut text.take(stands_at.position - read), &mut sum)?;
        }
        if read == stands_at.position && check(&sum) == stands_at.check {
            known = Some(place);
        }
    }
    let own = sources.iter().position(|(name, _)| Some(name) == own);
    let stands_at = |place: usize| sources[place].1.position;
    Ok(match (known, own) {
        // Another one that begins alike is no reason to count again what the own one has.
        (Some(known), Some(own)) if stands_at(own) > stands_at(known) => Standing::Changed(own),
        (Some(known), _) => Standing::Known(known),
        (None, Some(own)) => Standing::Changed(own),
        (None, None) => Standing::New,
    })
}

fn add(text: &mut dyn Read, sum: &mut Sha256) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut all = 0;
    loop {
        match text.read(&mut chunk) {
            Ok(0) => return Ok(all),
            Ok(read) => {
                sum.update(&chunk[..read]);
                all += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a text that cannot be opened again, and keeps what is read.
pub(crate) struct Kept<R> {
    text: R,
    kept: tempfile::SpooledTempFile,
}

impl<R: Read> Kept<R> {
    /// The most bytes that are kept in memory rather than in a temporary file.
    const IN_MEMORY: usize = 8 * 1024 * 1024;

    pub(crate) fn new(text: R) -> Self {
        Self { text, kept: tempfile::SpooledTempFile::new(Self::IN_MEMORY) }
    }

    /// The text from its beginning.
    pub(crate) fn again(mut self) -> io::Result<impl Read> {
        self.kept.seek(SeekFrom::Start(0))?;
        Ok(self.kept.chain(self.text))
    }
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        io::Write::write_all(&mut self.kept, &buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use model::{SourceName, SourcePosition};
    use sha2::{Digest, Sha256};

    use super::{Kept, Standing, check, standing_of};

    fn source(name: &str, content: &str) -> (SourceName, SourcePosition) {
        let check = check(&Sha256::new_with_prefix(content));
        (SourceName::new(name).unwrap(), SourcePosition { position: content.len() as u64, check })
    }

    #[test]
    fn a_file_is_the_source_that_stands_furthest_within_it() {
        let standing = |text: &str, own: &str| {
            let sources = [source("a", "one\ntwo\n"), source("b", "one\n"), source("c", "one\nother\nmore\n")];
            standing_of(&mut text.as_bytes(), &sources, Some(&SourceName::new(own).unwrap())).unwrap()
        };
        assert_eq!(standing("one\ntwo\n", "x"), Standing::Known(0));
        assert_eq!(standing("one\ntwo\nthree\n", "x"), Standing::Known(0));
        assert_eq!(standing("one\nother\n", "x"), Standing::Known(1));
        assert_eq!(standing("one\nother\nmore\nand more\n", "x"), Standing::Known(2));
        assert_eq!(standing("one\ntwo, edited\n", "a"), Standing::Changed(0));
        assert_eq!(standing("One\ntwo\n", "x"), Standing::New);
        assert_eq!(standing("One\ntwo\n", "a"), Standing::Changed(0));
        assert_eq!(standing("on", "c"), Standing::Changed(2));
        assert_eq!(standing_of(&mut "one\n".as_bytes(), &[], None).unwrap(), Standing::New);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let mut kept = Kept::new("one\ntwo\n".as_bytes());
        let mut first = [0; 4];
        kept.read_exact(&mut first).unwrap();
        let mut all = String::new();
        kept.again().unwrap().read_to_string(&mut all).unwrap();
        assert_eq!(all, "one\ntwo\n");
    }
}
