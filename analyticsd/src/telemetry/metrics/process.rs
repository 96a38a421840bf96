//! Metrics of the process, under the names that Prometheus' own libraries use. They come from /proc, so only on Linux.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use super::Sink;

/// The unit of times in `/proc`: hundredths of a second on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) struct Process {
    began: SystemTime,
}

impl Process {
    pub(super) fn since_now() -> Self {
        Self { began: SystemTime::now() }
    }

    pub(super) fn encode(&self, sink: &mut Sink<'_>) -> fmt::Result {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let one = |value: Option<f64>| value.map(|value| (vec![], value));
        sink.gauge("process_start_time_seconds", "When the process started, in seconds since 1970", one(Some(began)))?;
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        sink.counter("process_cpu_seconds", "Processor time that the process used", one(cpu_seconds(&stat)))?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        sink.gauge("process_resident_memory_bytes", "Resident memory of the process", one(bytes(&status, "VmRSS:")))?;
        sink.gauge("process_virtual_memory_bytes", "Virtual memory of the process", one(bytes(&status, "VmSize:")))?;
        sink.gauge("process_threads", "Threads of the process", one(number(&status, "Threads:")))?;
        // The folder itself is open while it is read.
        #[allow(clippy::cast_precision_loss)]
        let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64);
        sink.gauge("process_open_fds", "Open files and connections", one(open))?;
        #[allow(clippy::cast_precision_loss)]
        let most = rlimit::Resource::NOFILE.get_soft().ok().map(|most| most as f64);
        sink.gauge("process_max_fds", "The most open files and connections that the system allows", one(most))
    }
}

/// The name of the program is in parentheses and may contain any character, also parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn number(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn bytes(status: &str, name: &str) -> Option<f64> {
    number(status, name).map(|kibibytes| kibibytes * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::{bytes, cpu_seconds, number};

    #[test]
    fn proc_is_parsed_whatever_the_program_is_called() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 9 9 9 9 1500 250 7 7 20 0 4 0 5 1000 20";
        assert_eq!(cpu_seconds(stat), Some(17.5));
        let status = "Name:\tx\nVmSize:\t    2 kB\nVmRSS:\t    1 kB\nThreads:\t4\n";
        assert_eq!((bytes(status, "VmRSS:"), number(status, "Threads:")), (Some(1_024.0), Some(4.0)));
        assert_eq!((cpu_seconds(""), bytes("", "VmRSS:")), (None, None));
    }
}
