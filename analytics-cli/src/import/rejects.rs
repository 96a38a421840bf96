use std::{
    fmt::Display,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::input::Input;
use crate::{failure::Failure, output};

const NAMED_PER_FILE: u64 = 20;

/// Lines that could not be read.
pub(crate) struct Rejects {
    file: Option<BufWriter<File>>,
    named: Vec<String>,
    in_this_file: u64,
    total: u64,
}

impl Rejects {
    /// All lines are written to the file at `path`, which must not be one of the inputs.
    pub(crate) fn begin(path: Option<&Path>, inputs: &[Input]) -> Result<Self, Failure> {
        if let Some(path) = path
            && inputs.iter().any(|input| input.is_at(path))
        {
            return Err(Failure::CannotRun(format!(
                "{} is one of the files to import, and --rejects would overwrite it; choose another file",
                path.display()
            )));
        }
        let create = |path: &Path| {
            File::create(path).map(BufWriter::new).map_err(|error| {
                Failure::CannotRun(format!(
                    "cannot write to {}: {error}; choose another file for --rejects",
                    path.display()
                ))
            })
        };
        Ok(Self { file: path.map(create).transpose()?, named: Vec::new(), in_this_file: 0, total: 0 })
    }

    pub(crate) fn add(&mut self, source: &str, line: u64, reason: &dyn Display) -> io::Result<()> {
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

    /// The lines that follow are those of another file.
    pub(crate) fn end_file(&mut self, source: &str) -> io::Result<()> {
        let more = self.in_this_file.saturating_sub(NAMED_PER_FILE);
        if more > 0 {
            self.named.push(format!("{source}: and {more} more"));
        }
        self.in_this_file = 0;
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn print(&self) {
        for line in &self.named {
            output::message(line);
        }
        if self.total > 0 {
            let place = if self.file.is_some() {
                "the --rejects file has all of them"
            } else {
                "--rejects FILE writes all of them to a file"
            };
            output::message(&format!("lines that could not be read and were skipped: {}; {place}", self.total));
        }
    }
}

#[cfg(test)]
mod tests {
    use event_files::Unreadable;

    use super::Rejects;

    #[test]
    fn twenty_lines_of_each_file_are_named_and_all_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mut rejects = Rejects::begin(Some(&path), &[]).unwrap();
        for (source, lines) in [("a", 20), ("b", 22), ("c", 1)] {
            for line in 1..=lines {
                rejects.add(source, line, &Unreadable::TooLong).unwrap();
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
