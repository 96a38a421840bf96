//! Lines wait in memory for a thread that alone writes them, so that whoever has something to say never waits for a disk or a reader. What finds no
//! room is dropped and counted, and so is what cannot be written.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::telemetry::metrics::Counter;

/// The most bytes that wait. As many again may be on their way.
const MAX_BYTES: usize = 1024 * 1024;
/// How many of them may be lines that somebody asked for, such as those for each request, so that the others still find room.
const MAX_ASKED_BYTES: usize = MAX_BYTES / 4 * 3;
/// How many bytes more may wait if they tell about what was dropped.
const RESERVE_BYTES: usize = 64 * 1024;
/// How long lines gather, so that under load one call of the system writes many, and neither those who leave lines nor the thread pay for each.
const GATHER: Duration = Duration::from_millis(5);
/// With how many bytes there is no need to gather more.
const ENOUGH_BYTES: usize = 64 * 1024;
/// How many bytes of memory are kept while nothing is to be written.
const KEPT_BYTES: usize = 16 * 1024;
/// How long the thread pauses after it could not write, and how long it waits for a reader of a pipe that blocks nobody.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is told at most that lines were dropped.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How much may wait already if a line is to find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// For what is written only because somebody asked for it.
    Asked,
    /// For everything else.
    Told,
    /// For what is said about lines that were dropped.
    Reserved,
}

impl Room {
    fn bytes(self) -> usize {
        match self {
            Self::Asked => MAX_ASKED_BYTES,
            Self::Told => MAX_BYTES,
            Self::Reserved => MAX_BYTES + RESERVE_BYTES,
        }
    }
}

/// Where lines are left for the thread. Copies are one and the same.
#[derive(Clone)]
pub(crate) struct LineWriter {
    shared: Arc<Shared>,
    dropped: Arc<Counter>,
}

struct Shared {
    waiting: Mutex<Pending>,
    /// The thread has something to do.
    more: Condvar,
    /// The thread has done what there was to do.
    done: Condvar,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// Whether the thread has taken something that it has not done yet.
    is_busy: bool,
    /// Whether the last lines could not be written.
    is_failing: bool,
    /// Whether somebody waits for everything to be written.
    is_last: bool,
    /// How many lines were dropped that nothing was said about yet.
    untold: usize,
    told: Option<Instant>,
}

/// What the thread does next.
enum Next {
    /// It writes the lines that it was given.
    Write,
    /// It tells that so many lines were dropped.
    Tell(usize),
}

impl LineWriter {
    /// Starts a thread that writes to a file. Once it can write again after lines were dropped, `tell` is called with their number, and may leave
    /// a line of its own.
    pub(crate) fn start(file: File, tell: impl Fn(usize) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), more: Condvar::default(), done: Condvar::default() });
        let writer = Self { shared, dropped: Arc::default() };
        let of_thread = writer.clone();
        thread::Builder::new().name("lines".to_owned()).spawn(move || of_thread.write_forever(file, &tell))?;
        Ok(writer)
    }

    /// Leaves a line, which ends with a newline, or drops it if there is no room. Waits for nothing.
    pub(crate) fn leave(&self, line: &[u8], room: Room) {
        let mut waiting = self.shared.lock();
        if waiting.lines.len() + line.len() > room.bytes() {
            waiting.untold += 1;
            drop(waiting);
            self.dropped.add(1);
            return;
        }
        let was_idle = waiting.lines.is_empty() && !waiting.is_busy;
        let was_enough = waiting.lines.len() >= ENOUGH_BYTES;
        waiting.lines.extend_from_slice(line);
        let is_enough = waiting.lines.len() >= ENOUGH_BYTES;
        drop(waiting);
        if was_idle || is_enough != was_enough {
            self.shared.more.notify_one();
        }
    }

    /// Waits until everything is written, but no longer than this. Whether it was.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let mut waiting = self.shared.lock();
        waiting.is_last = true;
        self.shared.more.notify_one();
        let is_under_way = |waiting: &mut Pending| {
            waiting.is_busy || !waiting.lines.is_empty() || (waiting.untold > 0 && !waiting.is_failing)
        };
        let (mut waiting, waited) = self
            .shared
            .done
            .wait_timeout_while(waiting, patience, is_under_way)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.is_last = false;
        !waited.timed_out() && !waiting.is_failing
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> Arc<Counter> {
        Arc::clone(&self.dropped)
    }

    fn write_forever(&self, mut file: File, tell: &dyn Fn(usize)) {
        let mut lines = Vec::new();
        let mut is_within_line = false;
        loop {
            match self.shared.next(&mut lines) {
                Next::Tell(dropped) => {
                    tell(dropped);
                    self.shared.lock().is_busy = false;
                }
                Next::Write => {
                    let written = write(&mut file, &lines, &mut is_within_line);
                    let lost = lines[written..].split_inclusive(|&byte| byte == b'\n').count();
                    self.dropped.add(lost);
                    self.shared.wrote(lost);
                    if lost > 0 {
                        // What comes meanwhile waits, and is tried next.
                        thread::sleep(PAUSE);
                    }
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do. Lines are given in exchange for those that were written before.
    fn next(&self, lines: &mut Vec<u8>) -> Next {
        lines.clear();
        let mut waiting = self.lock();
        loop {
            let pause = match waiting.told {
                _ if waiting.is_last => Duration::ZERO,
                None => Duration::ZERO,
                Some(told) => TELL_EVERY.saturating_sub(told.elapsed()),
            };
            let must_tell = waiting.untold > 0 && !waiting.is_failing;
            if must_tell && pause.is_zero() {
                (waiting.told, waiting.is_busy) = (Some(Instant::now()), true);
                return Next::Tell(std::mem::take(&mut waiting.untold));
            }
            if !waiting.lines.is_empty() {
                let gathers = |waiting: &mut Pending| !waiting.is_last && waiting.lines.len() < ENOUGH_BYTES;
                let gathered = self.more.wait_timeout_while(waiting, GATHER, gathers);
                waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
                waiting.is_busy = true;
                std::mem::swap(lines, &mut waiting.lines);
                return Next::Write;
            }
            lines.shrink_to(KEPT_BYTES);
            waiting.lines.shrink_to(KEPT_BYTES);
            self.done.notify_all();
            waiting = if must_tell {
                self.more.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// The lines that were taken are written, all but so many.
    fn wrote(&self, lost: usize) {
        let mut waiting = self.lock();
        waiting.is_busy = false;
        waiting.is_failing = lost > 0;
        waiting.untold += lost;
        drop(waiting);
        self.done.notify_all();
    }
}

/// Writes as much as can be written, and returns how much that was. A line that was begun before and could not be ended is ended first, so that
/// no other line becomes part of it.
fn write(file: &mut File, lines: &[u8], is_within_line: &mut bool) -> usize {
    if *is_within_line && write_once(file, b"\n").is_none() {
        return 0;
    }
    *is_within_line = false;
    let mut written = 0;
    while written < lines.len() {
        match write_once(file, &lines[written..]) {
            Some(more) => written += more,
            None => break,
        }
    }
    *is_within_line = written < lines.len() && written > 0 && lines[written - 1] != b'\n';
    written
}

/// Writes at least a byte, or nothing if that is not possible.
fn write_once(file: &mut File, bytes: &[u8]) -> Option<usize> {
    loop {
        match file.write(bytes) {
            Ok(0) => return None,
            Ok(written) => return Some(written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares the pipe with this process may have made it one that does not block.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{self, Read},
        os::fd::OwnedFd,
        sync::mpsc,
        time::Duration,
    };

    use super::{LineWriter, MAX_ASKED_BYTES, MAX_BYTES, Room};

    const PATIENCE: Duration = Duration::from_mins(1);

    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn what_is_left_is_written_in_its_order() {
        let (mut reader, file) = pipe();
        let lines = LineWriter::start(file, |_| ()).unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = vec![0; 100_000 * 7];
            reader.read_exact(&mut all).unwrap();
            String::from_utf8(all).unwrap()
        });
        for number in 100_000..200_000 {
            lines.leave(format!("{number}\n").as_bytes(), Room::Told);
            if number % 10_000 == 0 {
                assert!(lines.flush(PATIENCE));
            }
        }
        let written: Vec<u32> = reading.join().unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert!(written.is_sorted() && written.len() == 100_000);
        assert!(lines.dropped().get() < 1.0);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_told_of_once_there_is_room_again() {
        let (mut reader, file) = pipe();
        let (told, hears) = mpsc::channel();
        let lines = LineWriter::start(file, move |dropped| told.send(dropped).unwrap()).unwrap();
        let line = [b"x".repeat(9_999), b"\n".to_vec()].concat();
        let leave_until_dropped = |room| {
            let before = lines.dropped().get();
            let mut left = 0;
            while lines.dropped().get() <= before {
                lines.leave(&line, room);
                left += line.len();
            }
            left
        };
        let asked = leave_until_dropped(Room::Asked);
        assert!(asked >= MAX_ASKED_BYTES && asked < 2 * MAX_BYTES + 2 * line.len(), "{asked}");
        assert!(leave_until_dropped(Room::Told) > 200_000, "there is room left for what was not asked for");
        assert!(!lines.flush(Duration::from_millis(10)), "nobody reads");
        std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        assert!(lines.flush(PATIENCE));
        // The first of them may have been told of before the thread came to a stop.
        assert_eq!(hears.try_iter().sum::<usize>(), 2);
    }

    #[test]
    fn a_reader_who_is_gone_costs_the_lines_and_nothing_else() {
        let (reader, file) = pipe();
        drop(reader);
        let lines = LineWriter::start(file, |_| panic!("nobody could be told")).unwrap();
        for dropped in [1.0, 2.0] {
            lines.leave(b"lost\n", Room::Told);
            assert!(!lines.flush(PATIENCE));
            assert!((lines.dropped().get() - dropped).abs() < 0.1);
        }
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_swallow_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "whole\ncut o").unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        let mut is_within_line = true;
        assert_eq!(super::write(&mut file, b"next\n", &mut is_within_line), 5);
        assert!(!is_within_line);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\ncut o\nnext\n");
    }
}
