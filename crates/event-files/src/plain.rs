//! The text of a file that is compressed, or written in UTF-16.

use std::io::{self, Cursor, Read};

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use encoding_rs_io::DecodeReaderBytesBuilder;
use thiserror::Error;

use crate::packed;

/// What a file is that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is {0}; accepted is text, and text that is compressed by gzip or zstd; {1}")]
pub struct NotText(&'static str, &'static str);

/// As many bytes as tell what a file is: those of a tar archive stand last.
const HEAD: usize = 512;

/// How other files begin, and where.
const OTHERS: [(usize, &[u8], NotText); 8] = [
    (257, b"ustar", NotText("a tar archive", "extract it first, as with `tar --to-stdout -xf FILE`")),
    (0, b"BZh", NotText("compressed by bzip2", "give what `bzcat FILE` writes")),
    (0, b"\xfd7zXZ\0", NotText("compressed by xz", "give what `xzcat FILE` writes")),
    (0, b"PK\x03\x04", NotText("a zip archive", "extract it first, as with `unzip -p FILE`")),
    (0, b"7z\xbc\xaf\x27\x1c", NotText("a 7z archive", "extract it first")),
    (0, b"\x04\x22\x4d\x18", NotText("compressed by lz4", "give what `lz4cat FILE` writes")),
    (0, b"\x1f\x9d", NotText("compressed by compress", "give what `zcat FILE` writes")),
    (0, b"PAR1", NotText("a Parquet file", "write it as CSV first")),
];

/// The text in a file. Nothing is read beyond what tells what it is.
pub fn text_of(mut file: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let head = head_of(&mut file)?;
    let is = |magic: &[u8]| head.starts_with(magic);
    if let Some(other) = other_in(&head) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, other));
    }
    let (is_gzip, is_zstd) = (is(b"\x1f\x8b"), is(b"\x28\xb5\x2f\xfd"));
    let file = Cursor::new(head).chain(file);
    if is_gzip {
        text_within(packed::gzip(file))
    } else if is_zstd {
        text_within(packed::zstd(file))
    } else {
        decoded(file)
    }
}

fn other_in(head: &[u8]) -> Option<NotText> {
    let other = OTHERS.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|it| it.starts_with(magic)));
    other.map(|(.., other)| *other)
}

/// What is compressed may be an archive again, or compressed twice.
fn text_within(mut file: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let head = head_of(&mut file)?;
    let twice = NotText("compressed twice", "decompress it once first");
    let is_again = head.starts_with(b"\x1f\x8b") || head.starts_with(b"\x28\xb5\x2f\xfd");
    match other_in(&head).or(is_again.then_some(twice)) {
        Some(other) => Err(io::Error::new(io::ErrorKind::InvalidData, other)),
        None => decoded(Cursor::new(head).chain(file)),
    }
}

/// Without the zeros that a log begins with if it was cut while a server wrote on at its old place.
fn decoded(mut file: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut head = head_of(&mut file)?;
    let encoding = utf_16(&head);
    if encoding.is_none() {
        while !head.is_empty() && head.iter().all(|&byte| byte == 0) {
            head = head_of(&mut file)?;
        }
        let zeros = head.iter().take_while(|&&byte| byte == 0).count();
        head.drain(..zeros);
    }
    let file = Cursor::new(head).chain(file);
    Ok(match encoding {
        Some(encoding) => Box::new(DecodeReaderBytesBuilder::new().encoding(Some(encoding)).build(file)),
        None => Box::new(file),
    })
}

/// The encoding of a text of which every other byte is zero, as in UTF-16 for what is mostly ASCII; also with its mark.
fn utf_16(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0xff, 0xfe, ..] => return Some(UTF_16LE),
        [0xfe, 0xff, ..] => return Some(UTF_16BE),
        _ => {}
    }
    let pairs = head.get(..8)?.chunks_exact(2);
    if pairs.clone().all(|pair| pair[0] != 0 && pair[1] == 0) {
        Some(UTF_16LE)
    } else if pairs.clone().all(|pair| pair[0] == 0 && pair[1] != 0) {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// The first bytes: up to a line's end, so that a pipe is not waited for longer than needed.
fn head_of(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while length < HEAD && !(length >= 8 && head[..length].contains(&b'\n')) {
        match file.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(length);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::text_of;

    fn text(bytes: Vec<u8>) -> Result<String, String> {
        let mut text = Vec::new();
        text_of(Cursor::new(bytes))
            .and_then(|mut reader| reader.read_to_end(&mut text))
            .map_err(|error| error.to_string())
            .map(|_| String::from_utf8_lossy(&text).into_owned())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn a_text_is_the_same_however_it_is_packed() {
        let plain = "timestamp,user,event\n1706796001000,ännä,click\n".to_owned();
        let bytes = plain.as_bytes();
        for packed in [
            bytes.to_vec(),
            gzip(bytes),
            [gzip(&bytes[..9]), gzip(&bytes[9..])].concat(),
            [gzip(&bytes[..9]), vec![0; 512], gzip(&bytes[9..]), vec![0; 100_000]].concat(),
            [zstd::encode_all(bytes, 1).unwrap(), vec![0; 100_000]].concat(),
            zstd::encode_all(bytes, 1).unwrap(),
            [zstd::encode_all(&bytes[..9], 1).unwrap(), zstd::encode_all(&bytes[9..], 1).unwrap()].concat(),
            utf_16(&plain, u16::to_le_bytes),
            utf_16(&format!("\u{feff}{plain}"), u16::to_le_bytes),
            utf_16(&format!("\u{feff}{plain}"), u16::to_be_bytes),
            utf_16(&plain, u16::to_be_bytes),
            gzip(&utf_16(&plain, u16::to_le_bytes)),
            [vec![0; 5_000], bytes.to_vec()].concat(),
            [vec![0; 3], bytes.to_vec()].concat(),
        ] {
            let seen = text(packed).unwrap();
            assert_eq!(seen.trim_start_matches('\u{feff}'), plain);
        }
        assert_eq!(text(Vec::new()).unwrap(), "");
        assert_eq!(text(vec![0; 9]).unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_named_once() {
        let mut tar = vec![b'a'; 100];
        tar.resize(257, 0);
        tar.extend(b"ustar\0");
        tar.resize(1024, 0);
        for (bytes, name) in [
            (tar.clone(), "a tar archive"),
            (gzip(&tar), "a tar archive"),
            (gzip(&gzip(b"x")), "compressed twice"),
            (b"PK\x03\x04rest".to_vec(), "a zip archive"),
            (b"BZh91".to_vec(), "bzip2"),
        ] {
            let error = text(bytes).unwrap_err();
            assert!(error.contains(name) && error.contains("accepted is text"), "{error}");
        }
    }

    #[test]
    fn what_ends_within_its_compression_is_an_error_after_what_could_be_read() {
        let mut cut = gzip("line\n".repeat(1_000).as_bytes());
        cut.truncate(cut.len() - 9);
        let zstd = zstd::encode_all("line\n".repeat(1_000).as_bytes(), 1).unwrap();
        for (damaged, by) in [
            (cut.clone(), "gzip"),
            ([cut, vec![0; 512]].concat(), "gzip"),
            ([gzip(b"a\n"), b"rest".to_vec()].concat(), "gzip"),
            (zstd[..zstd.len() - 3].to_vec(), "zstd"),
            ([zstd, b"rest".to_vec()].concat(), "zstd"),
        ] {
            let error = text(damaged).unwrap_err();
            assert!(error.contains(&format!("what {by} compressed is damaged or not whole")), "{error}");
        }
    }
}
