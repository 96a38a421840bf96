//! Reads a log as it grows, through rotation: by a new file under its name, or by cutting it after it was copied.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a file that was rotated has to stand still: its writer may have lines for it still.
const QUIET: Duration = Duration::from_secs(1);
/// By how many of its last bytes it is told whether a file was cut and written again.
const LAST: usize = 256;
/// The most rotated files that are looked at.
const MAX_ROTATED: usize = 16;

/// Follows files until it is ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Following(Arc<AtomicBool>);

impl Following {
    /// Every file ends from now on.
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Waits until there is a file.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Followed> {
        loop {
            match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.has_ended() => thread::sleep(LOOK),
                file => {
                    let file = file?;
                    return Ok(Followed {
                        file,
                        path: path.to_owned(),
                        following: self.clone(),
                        read: 0,
                        last: Vec::new(),
                    });
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file that ends only when it is rotated.
pub(crate) struct Followed {
    file: File,
    path: PathBuf,
    following: Following,
    read: u64,
    /// The last bytes that were read.
    last: Vec<u8>,
}

impl Followed {
    /// The same file from its beginning, whatever has its name now.
    pub(crate) fn again(&self) -> io::Result<FromStart> {
        FromStart::of(&self.file)
    }

    /// Whether it was cut, and perhaps written again: what was read last is no longer there.
    fn was_cut(&self) -> io::Result<bool> {
        let mut there = vec![0; self.last.len()];
        match self.file.read_exact_at(&mut there, self.read - self.last.len() as u64) {
            Ok(()) => Ok(there != self.last),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        self.last.extend_from_slice(bytes);
        let too_many = self.last.len().saturating_sub(LAST);
        self.last.drain(..too_many);
    }

    /// Whether another file has its name now, or none has.
    fn was_renamed(&self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        match fs::metadata(&self.path) {
            Ok(named) => Ok(identity(&named) != identity(&own)),
            // The new file may come soon. Until then its writer writes to this one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Followed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut still_since = Instant::now();
        loop {
            if self.was_cut()? {
                return Ok(0);
            }
            let read = self.file.read(buffer)?;
            if read > 0 || self.following.has_ended() {
                self.note_read(&buffer[..read]);
                return Ok(read);
            }
            if !self.was_renamed()? {
                still_since = Instant::now();
            } else if still_since.elapsed() >= QUIET {
                return Ok(0);
            }
            thread::sleep(LOOK);
        }
    }
}

/// A file from its beginning, without moving the place where others read it.
pub(crate) struct FromStart {
    file: File,
    read: u64,
}

impl FromStart {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, read: 0 })
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.read)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// The files that a log was rotated to, as `access.log.1`, `access.log-20240201` and `access.log.2.gz`: the latest ones, the
/// oldest of them first.
pub(crate) fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_of_log = |file: &Path| {
        let rest = file.file_name().and_then(|file| file.to_str()).and_then(|file| file.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['.', '-']))
    };
    let files = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
    });
    let mut files: Vec<_> = files.filter(|(_, path)| is_of_log(path)).collect();
    // Of two that were written at the same moment, the one with the higher number is older.
    files.sort_by(|(one_at, one), (other_at, other)| one_at.cmp(other_at).then(other.cmp(one)));
    let too_many = files.len().saturating_sub(MAX_ROTATED);
    files.into_iter().skip(too_many).map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, path::Path};

    use super::{Following, rotated};

    #[test]
    fn the_files_that_a_log_was_rotated_to_have_its_name_and_more() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["access.log", "access.log.2.gz", "access.log.1", "access.log-20240201", "access.login", "error.log.1"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut names: Vec<_> = rotated(&folder.path().join("access.log"));
        names.sort();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["access.log-20240201", "access.log.1", "access.log.2.gz"]);
        assert!(rotated(Path::new("/")).is_empty());
    }

    #[test]
    fn a_file_ends_when_it_was_rotated_by_either_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let follow = || {
            let mut file = Following::default().open(&path).unwrap();
            std::thread::spawn(move || {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text
            })
        };
        fs::write(&path, "one\n").unwrap();
        let renamed = follow();
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        fs::write(&path, "two\n").unwrap();
        assert_eq!(renamed.join().unwrap(), "one\n");
        let mut first = [0; 4];
        let mut cut = Following::default().open(&path).unwrap();
        cut.read_exact(&mut first).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(cut.read(&mut first).unwrap(), 0);
    }
}
