//! Files that are compressed by gzip or zstd: members one behind the other, and zeros behind the last, which tapes and
//! file systems leave there.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// One of what stands behind one another in a file, which is read up to its own end.
trait Member<R: Read>: Read + Sized {
    const BY: &'static str;
    fn begin(file: BufReader<R>) -> io::Result<Self>;
    fn end(self) -> BufReader<R>;
}

impl<R: Read> Member<R> for GzDecoder<BufReader<R>> {
    const BY: &'static str = "gzip";

    fn begin(file: BufReader<R>) -> io::Result<Self> {
        Ok(Self::new(file))
    }

    fn end(self) -> BufReader<R> {
        self.into_inner()
    }
}

impl<R: Read> Member<R> for ZstdDecoder<'static, BufReader<R>> {
    const BY: &'static str = "zstd";

    fn begin(file: BufReader<R>) -> io::Result<Self> {
        Ok(Self::with_buffer(file)?.single_frame())
    }

    fn end(self) -> BufReader<R> {
        self.finish()
    }
}

pub(crate) fn gzip(file: impl Read) -> impl Read {
    Packed(State::<_, GzDecoder<_>>::Between(BufReader::new(file)))
}

pub(crate) fn zstd(file: impl Read) -> impl Read {
    Packed(State::<_, ZstdDecoder<'static, _>>::Between(BufReader::new(file)))
}

struct Packed<R, M>(State<R, M>);

enum State<R, M> {
    Between(BufReader<R>),
    Within(M),
    /// Behind the last, or an error.
    Ended,
}

impl<R: Read, M: Member<R>> Read for Packed<R, M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("what {} compressed is damaged or not whole: {error}", M::BY))
        })
    }
}

impl<R: Read, M: Member<R>> Packed<R, M> {
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.0, State::Ended) {
                State::Between(mut file) => {
                    if !is_at_end(&mut file)? {
                        self.0 = State::Within(M::begin(file)?);
                        continue;
                    }
                    return Ok(0);
                }
                State::Within(mut member) => {
                    let read = member.read(buffer)?;
                    if read > 0 || buffer.is_empty() {
                        self.0 = State::Within(member);
                        return Ok(read);
                    }
                    self.0 = State::Between(member.end());
                }
                State::Ended => return Ok(0),
            }
        }
    }
}

/// Skips zeros, with which no member begins.
fn is_at_end(file: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let there = match file.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            there => there?,
        };
        let zeros = there.iter().take_while(|&&byte| byte == 0).count();
        let (is_end, has_more) = (there.is_empty(), zeros < there.len());
        file.consume(zeros);
        if is_end || has_more {
            return Ok(is_end);
        }
    }
}
