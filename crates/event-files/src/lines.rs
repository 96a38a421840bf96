use std::io::{self, BufRead, BufReader, Read};

/// The longest line, in bytes. It bounds the memory that a file without line ends can take.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Without the line end; none if there are more than [`MAX_LINE_BYTES`].
    pub(crate) bytes: Option<&'a [u8]>,
    /// Whether it ends with CR LF rather than LF, which matters if a quoted field continues in the next line.
    pub(crate) crlf: bool,
    /// Whether it has its end. Only the last one may lack it.
    pub(crate) is_ended: bool,
}

/// Reads the lines of a file one after the other, in bounded memory.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    number: u64,
    /// How many bytes were read.
    position: u64,
    buffer: Vec<u8>,
    /// What ends a line.
    end: u8,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            number: 0,
            position: 0,
            buffer: Vec::new(),
            end: b'\n',
        }
    }

    /// The next line, or none at the end. Lines end with LF or CR LF, or with CR alone if the file begins so; the last
    /// one may lack its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.number == 0 && ends_with_cr_alone(self.reader.fill_buf()?) {
            self.end = b'\r';
        }
        // Two more than the limit, so that a line of exactly the limit is read together with its CR LF.
        let limit = MAX_LINE_BYTES as u64 + 2;
        self.buffer.clear();
        let read = (&mut self.reader).take(limit).read_until(self.end, &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        self.position += read as u64;
        self.number += 1;
        let mut line = self.buffer.as_slice();
        let crlf = line.ends_with(b"\r\n");
        let mut is_ended = true;
        match line.strip_suffix(&[self.end]) {
            Some(whole) => line = whole.strip_suffix(b"\r").unwrap_or(whole),
            None if line.len() > MAX_LINE_BYTES => {
                self.position += self.reader.skip_until(self.end)? as u64;
            }
            None => is_ended = false,
        }
        if self.number == 1 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let bytes = (line.len() <= MAX_LINE_BYTES).then_some(line);
        Ok(Some(Line { number: self.number, bytes, crlf, is_ended }))
    }

    /// How many bytes of the file the lines have that were returned.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }
}

/// Whether the first bytes of a file have ends of lines, and all as Macs wrote them before 2001.
fn ends_with_cr_alone(beginning: &[u8]) -> bool {
    let first = beginning.iter().position(|&byte| byte == b'\r');
    !beginning.contains(&b'\n') && first.is_some_and(|at| at + 1 < beginning.len())
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines, MAX_LINE_BYTES};

    fn lines_of(bytes: &[u8]) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = Lines::new(bytes);
        let mut all = Vec::new();
        while let Some(Line { number, bytes, .. }) = lines.next().unwrap() {
            all.push((number, bytes.map(<[u8]>::to_vec)));
        }
        all
    }

    #[test]
    fn line_ends_may_be_mixed_and_the_last_one_missing() {
        let table: [(&[u8], &[&[u8]]); 8] = [
            (b"", &[]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\r\n\nb\r\r\nc\rd", &[b"a", b"", b"b\r", b"c\rd"]),
            (b"\n\n", &[b"", b""]),
            (b"a\rb\r", &[b"a", b"b"]),
            (b"a\r", &[b"a\r"]),
            (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", &[b"a", b"\xef\xbb\xbfb"]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = (1..).zip(expected.iter().map(|line| Some(line.to_vec()))).collect();
            assert_eq!(lines_of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_overlong_line_is_skipped_and_the_next_one_read() {
        for end in ["\n", "\r\n"] {
            for (length, fits) in [(MAX_LINE_BYTES, true), (MAX_LINE_BYTES + 1, false), (MAX_LINE_BYTES * 3, false)] {
                let long = "x".repeat(length);
                let lines = lines_of(format!("{long}{end}next{end}").as_bytes());
                assert_eq!(lines.len(), 2, "{length}");
                assert_eq!(lines[0].1.is_some(), fits, "{length}");
                assert_eq!(lines[1], (2, Some(b"next".to_vec())), "{length}");
            }
        }
    }
}
