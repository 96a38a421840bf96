//! Lines wait in memory for one thread that writes them, so that no other thread waits for a disk or a reader. Lines
//! that find no room, or cannot be written, are dropped and counted.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::telemetry::metrics::Counter;

/// The most bytes that wait. Up to as many again may be in a write.
const MAX_BYTES: usize = 1024 * 1024;
/// How many of them may be verbose lines, such as those for each request, so that the others still find room.
const MAX_VERBOSE_BYTES: usize = MAX_BYTES / 4 * 3;
/// How many more bytes may wait for lines about dropped lines.
const RESERVE_BYTES: usize = 64 * 1024;
/// How long lines gather, so that under load one system call writes many.
const GATHER: Duration = Duration::from_millis(5);
/// From this many bytes on the thread writes at once.
const ENOUGH_BYTES: usize = 64 * 1024;
/// How many bytes of memory an idle writer keeps.
const KEPT_BYTES: usize = 16 * 1024;
/// How long the thread pauses after a failed write, and between two tries on a full non-blocking pipe.
const PAUSE: Duration = Duration::from_millis(100);
/// How often dropped lines are reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The limit of waiting bytes for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// For lines of level debug and trace.
    Verbose,
    /// For other lines.
    Normal,
    /// For lines about dropped lines.
    Reserved,
}

impl Room {
    fn bytes(self) -> usize {
        match self {
            Self::Verbose => MAX_VERBOSE_BYTES,
            Self::Normal => MAX_BYTES,
            Self::Reserved => MAX_BYTES + RESERVE_BYTES,
        }
    }
}

/// The queue of lines for the thread. Clones share it.
#[derive(Clone)]
pub(crate) struct LineWriter {
    shared: Arc<Shared>,
    dropped: Arc<Counter>,
}

struct Shared {
    waiting: Mutex<Pending>,
    /// Wakes the thread when there is work.
    more: Condvar,
    /// Wakes those that wait in [`LineWriter::flush`].
    done: Condvar,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// Whether the thread has work that is not done yet.
    is_busy: bool,
    /// Whether the last lines could not be written.
    is_failing: bool,
    /// Whether a flush waits for everything to be written.
    is_last: bool,
    /// How many dropped lines are not reported yet.
    unreported: usize,
    reported_at: Option<Instant>,
}

/// The thread's next step.
enum Next {
    /// Write the lines.
    Write,
    /// Report so many dropped lines.
    Report(usize),
}

impl LineWriter {
    /// Starts a thread that writes to a file. Once it can write again after lines were dropped, it calls `report` with
    /// their number, which may enqueue a line.
    pub(crate) fn start(file: File, report: impl Fn(usize) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), more: Condvar::default(), done: Condvar::default() });
        let writer = Self { shared, dropped: Arc::default() };
        let of_thread = writer.clone();
        thread::Builder::new().name("lines".to_owned()).spawn(move || of_thread.write_forever(file, &report))?;
        Ok(writer)
    }

    /// Enqueues a line, which ends with a newline, or drops it if there is no room. Never waits.
    pub(crate) fn enqueue(&self, line: &[u8], room: Room) {
        let mut waiting = self.shared.lock();
        if waiting.lines.len() + line.len() > room.bytes() {
            waiting.unreported += 1;
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

    /// Waits until everything is written, but at most for `patience`. Returns whether it was.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let mut waiting = self.shared.lock();
        waiting.is_last = true;
        self.shared.more.notify_one();
        let is_under_way = |waiting: &mut Pending| {
            waiting.is_busy || !waiting.lines.is_empty() || (waiting.unreported > 0 && !waiting.is_failing)
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

    fn write_forever(&self, mut file: File, report: &dyn Fn(usize)) {
        let mut lines = Vec::new();
        let mut is_within_line = false;
        loop {
            match self.shared.next(&mut lines) {
                Next::Report(dropped) => {
                    report(dropped);
                    self.shared.lock().is_busy = false;
                }
                Next::Write => {
                    let written = write(&mut file, &lines, &mut is_within_line);
                    let lost = lines[written..].split_inclusive(|&byte| byte == b'\n').count();
                    self.dropped.add(lost);
                    self.shared.wrote(lost);
                    if lost > 0 {
                        // New lines wait meanwhile and are written next.
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

    /// Waits for work. Swaps the written lines for new ones.
    fn next(&self, lines: &mut Vec<u8>) -> Next {
        lines.clear();
        let mut waiting = self.lock();
        loop {
            let pause = match waiting.reported_at {
                _ if waiting.is_last => Duration::ZERO,
                None => Duration::ZERO,
                Some(reported) => REPORT_EVERY.saturating_sub(reported.elapsed()),
            };
            let must_report = waiting.unreported > 0 && !waiting.is_failing;
            if must_report && pause.is_zero() {
                (waiting.reported_at, waiting.is_busy) = (Some(Instant::now()), true);
                return Next::Report(std::mem::take(&mut waiting.unreported));
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
            waiting = if must_report {
                self.more.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Notes that the lines are written, but for `lost` of them.
    fn wrote(&self, lost: usize) {
        let mut waiting = self.lock();
        waiting.is_busy = false;
        waiting.is_failing = lost > 0;
        waiting.unreported += lost;
        drop(waiting);
        self.done.notify_all();
    }
}

/// Writes as much as possible, and returns how much. If the last write broke off within a line, it ends that line
/// first, so that the next line does not become part of it.
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

/// Writes at least a byte; `None` if that is not possible.
fn write_once(file: &mut File, bytes: &[u8]) -> Option<usize> {
    loop {
        match file.write(bytes) {
            Ok(0) => return None,
            Ok(written) => return Some(written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the pipe may have made it non-blocking.
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

    use super::{LineWriter, MAX_BYTES, MAX_VERBOSE_BYTES, Room};

    const PATIENCE: Duration = Duration::from_mins(1);

    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let (mut reader, file) = pipe();
        let lines = LineWriter::start(file, |_| ()).unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = vec![0; 100_000 * 7];
            reader.read_exact(&mut all).unwrap();
            String::from_utf8(all).unwrap()
        });
        for number in 100_000..200_000 {
            lines.enqueue(format!("{number}\n").as_bytes(), Room::Normal);
            if number % 10_000 == 0 {
                assert!(lines.flush(PATIENCE));
            }
        }
        let written: Vec<u32> = reading.join().unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert!(written.is_sorted() && written.len() == 100_000);
        assert!(lines.dropped().get() < 1.0);
    }

    #[test]
    fn lines_without_room_are_dropped_and_reported_once_there_is_room_again() {
        let (mut reader, file) = pipe();
        let (reports, received) = mpsc::channel();
        let lines = LineWriter::start(file, move |dropped| reports.send(dropped).unwrap()).unwrap();
        let line = [b"x".repeat(9_999), b"\n".to_vec()].concat();
        let enqueue_until_dropped = |room| {
            let before = lines.dropped().get();
            let mut enqueued = 0;
            while lines.dropped().get() <= before {
                lines.enqueue(&line, room);
                enqueued += line.len();
            }
            enqueued
        };
        let verbose = enqueue_until_dropped(Room::Verbose);
        assert!(verbose >= MAX_VERBOSE_BYTES && verbose < 2 * MAX_BYTES + 2 * line.len(), "{verbose}");
        assert!(enqueue_until_dropped(Room::Normal) > 200_000, "there is room left for other lines");
        assert!(!lines.flush(Duration::from_millis(10)), "no process reads the pipe");
        std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        assert!(lines.flush(PATIENCE));
        // The first of them may have been reported before the thread blocked.
        assert_eq!(received.try_iter().sum::<usize>(), 2);
    }

    #[test]
    fn a_closed_pipe_loses_the_lines_and_does_no_other_harm() {
        let (reader, file) = pipe();
        drop(reader);
        let lines = LineWriter::start(file, |_| panic!("nothing can be reported to a closed pipe")).unwrap();
        for dropped in [1.0, 2.0] {
            lines.enqueue(b"lost\n", Room::Normal);
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
