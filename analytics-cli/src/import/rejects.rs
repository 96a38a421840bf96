use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use event_files::Unreadable;

use super::source::Source;
use crate::{failure::Failure, output};

/// How many lines of each file are named on standard error.
const NAMED_PER_FILE: u64 = 20;

/// The lines that could not be read.
pub(crate) struct Rejects {
    file: Option<BufWriter<File>>,
    named: Vec<String>,
    in_this_file: u64,
    total: u64,
}

impl Rejects {
    /// Begins with none. Every one will be written to the file, if there is one, which must not be one of the sources.
    pub(crate) fn begin(path: Option<&Path>, sources: &[Source]) -> Result<Self, Failure> {
        if let Some(path) = path
            && sources.iter().any(|source| source.is_at(path))
        {
            return Err(Failure::CannotRun(format!(
                "{} is to be imported, and writing rejects to it would destroy it; choose another --rejects",
                path.display()
            )));
        }
        let create = |path: &Path| {
            File::create(path).map(BufWriter::new).map_err(|error| {
                Failure::CannotRun(format!("cannot write to {}: {error}; choose another --rejects", path.display()))
            })
        };
        Ok(Self { file: path.map(create).transpose()?, named: Vec::new(), in_this_file: 0, total: 0 })
    }

    /// Notes a line of a file.
    pub(crate) fn note(&mut self, source: &str, line: u64, reason: &Unreadable) -> io::Result<()> {
        self.total += 1;
        self.in_this_file += 1;
        let text = format!("{source}:{line}: {reason}");
        if let Some(file) = &mut self.file {
            writeln!(file, "{text}")?;
        }
        if self.in_this_file <= NAMED_PER_FILE {
            self.named.push(text);
        }
        Ok(())
    }

    /// Makes an end with a file: what follows is of another.
    pub(crate) fn end_file(&mut self, source: &str) -> io::Result<()> {
        let more = self.in_this_file.saturating_sub(NAMED_PER_FILE);
        if more > 0 {
            self.named.push(format!("{source}: and {more} more"));
        }
        self.in_this_file = 0;
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Names them on standard error.
    pub(crate) fn tell(&self) {
        for line in &self.named {
            output::talk(line);
        }
        if self.total > 0 {
            let where_to = if self.file.is_some() {
                "all of them are in the --rejects file"
            } else {
                "--rejects FILE keeps them all"
            };
            output::talk(&format!("lines that could not be read and were left out: {}; {where_to}", self.total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rejects, Unreadable};

    #[test]
    fn twenty_lines_of_each_file_are_named_and_all_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mut rejects = Rejects::begin(Some(&path), &[]).unwrap();
        for (source, lines) in [("a", 20), ("b", 22), ("c", 1)] {
            for line in 1..=lines {
                rejects.note(source, line, &Unreadable::TooLong).unwrap();
            }
            rejects.end_file(source).unwrap();
        }
        assert_eq!(rejects.total(), 43);
        assert_eq!(rejects.named.len(), 42);
        assert_eq!(rejects.named[0], "a:1: is longer than 1048576 bytes");
        assert_eq!(rejects.named[40..], ["b: and 2 more", "c:1: is longer than 1048576 bytes"]);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 43);
    }
}
