//! Processor time and memory of processes, from Linux's /proc. See proc(5).

use std::fs;

use crate::measure::Cpu;

/// Microseconds in a tick of /proc: `USER_HZ` is 100 on every machine.
const TICK_US: f64 = 10_000.0;

#[derive(Debug, Clone)]
pub(crate) struct Meter {
    servers: Vec<u32>,
    postmaster: Option<u32>,
}

/// Ticks since the processes began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    servers: u64,
    database: Option<u64>,
    generator: u64,
    /// Of all cores, whoever used them.
    cores: Option<Cores>,
}

/// Ticks since the machine began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cores {
    all: u64,
    idle: u64,
}

impl Meter {
    /// These servers, the database server with this main process, and this process with its load generators.
    pub(crate) fn new(servers: Vec<u32>, postmaster: Option<u32>) -> Self {
        Self { servers, postmaster }
    }

    /// None without /proc, or if a process has ended.
    pub(crate) fn read(&self) -> Option<Reading> {
        let own = Stat::of("self")?;
        Some(Reading {
            servers: self.servers.iter().map(|pid| Some(Stat::of(&pid.to_string())?.own)).sum::<Option<u64>>()?,
            database: self.postmaster.and_then(time_of_tree),
            generator: own.own + own.ended_children,
            cores: Cores::read(),
        })
    }
}

impl Reading {
    /// The time between two readings, for each request.
    pub(crate) fn since(self, before: Self, requests: u64) -> Cpu {
        #[expect(clippy::cast_precision_loss, reason = "neither ticks nor requests come near 2^52")]
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 * TICK_US / requests as f64;
        Cpu {
            server_us: each(self.servers, before.servers),
            database_us: self.database.zip(before.database).map(|(after, before)| each(after, before)),
            generator_us: each(self.generator, before.generator),
            busy: self.cores.zip(before.cores).and_then(|(after, before)| after.busy_since(before)),
        }
    }
}

impl Cores {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: `cpu`, then the ticks of eight states, of which the fourth and the fifth (waiting for a disk) are
    /// idle. Those of guests, which follow, are part of the first two.
    fn parse(stat: &str) -> Option<Self> {
        let states = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
        let states: Vec<u64> = states.map(|ticks| ticks.parse().ok()).collect::<Option<_>>()?;
        Some(Self { all: states.iter().sum(), idle: states.get(3)? + states.get(4)? })
    }

    /// The share that was not idle; none if no tick has passed.
    #[expect(clippy::cast_precision_loss, reason = "ticks do not come near 2^52")]
    fn busy_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|&ticks| ticks > 0)?;
        Some(1.0 - self.idle.saturating_sub(before.idle) as f64 / all as f64)
    }
}

/// The main process of a database session, if it runs on this machine. On another machine the number may belong to
/// any process, so this one must be PostgreSQL's.
pub(crate) fn postmaster_of(backend: u32) -> Option<u32> {
    let parent = Stat::of(&backend.to_string()).filter(|stat| stat.name == "postgres")?.parent;
    Stat::of(&parent.to_string()).filter(|stat| stat.name == "postgres").map(|_| parent)
}

/// The most memory that a process has had, in MiB.
pub(crate) fn peak_memory_mib(pid: u32) -> Option<f64> {
    peak_memory_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_memory_in(status: &str) -> Option<f64> {
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(size.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

/// A process, its children, and those of its children that have ended.
fn time_of_tree(root: u32) -> Option<u64> {
    let root_stat = Stat::of(&root.to_string())?;
    let living = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let pid = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
        Stat::of(pid).filter(|stat| stat.parent == root).map(|stat| stat.own)
    });
    Some(root_stat.own + root_stat.ended_children + living.sum::<u64>())
}

/// One line of /proc/PID/stat.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    own: u64,
    /// Children that have ended.
    ended_children: u64,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// The name is in parentheses and may contain any character; after it come the state (field 3), the parent (4),
    /// and user and system time of the process (14, 15) and of its children (16, 17).
    fn parse(line: &str) -> Option<Self> {
        let (start, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name: start.split_once('(')?.1.to_owned(),
            parent: u32::try_from(number(4)?).ok()?,
            own: number(14)? + number(15)?,
            ended_children: number(16)? + number(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cores, Meter, Reading, Stat, peak_memory_in};

    #[test]
    fn a_process_may_have_any_name() {
        let line = "4711 (a) (b 1) S 12 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 77 1 2";
        let expected = Stat { name: "a) (b 1".to_owned(), parent: 12, own: 120, ended_children: 7 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("4711 (cut off) S 12"), None);
    }

    #[test]
    fn time_is_divided_by_requests() {
        let before = Reading { servers: 100, database: Some(10), generator: 7, cores: None };
        let after = Reading { servers: 300, database: Some(60), generator: 8, cores: None };
        let cpu = after.since(before, 1_000);
        assert_eq!(format!("{} {:?} {}", cpu.server_us, cpu.database_us, cpu.generator_us), "2000 Some(500.0) 10");
        assert_eq!(after.since(Reading { database: None, ..before }, 1_000).database_us, None);
    }

    #[test]
    fn cores_are_busy_unless_they_are_idle_or_wait_for_a_disk() {
        let of = |line: &str| Cores::parse(line).unwrap();
        let before = of("cpu  10 0 10 100 20 0 0 0 7 0\ncpu0 1 2 3\n");
        let after = of("cpu  40 0 20 130 40 5 5 0 9 0\n");
        assert_eq!(after.busy_since(before), Some(0.5));
        assert_eq!(before.busy_since(before), None);
        assert_eq!(Cores::parse("intr 1 2 3"), None);
    }

    #[test]
    fn the_generator_has_a_share_of_what_all_three_took() {
        let before = Reading { servers: 0, database: Some(0), generator: 0, cores: None };
        let after = Reading { servers: 20, database: Some(10), generator: 10, cores: None };
        assert_eq!(after.since(before, 1).generator_share(), Some(0.25));
        assert_eq!(Reading { database: None, ..after }.since(before, 1).generator_share(), None);
    }

    #[test]
    fn the_peak_of_memory_is_read_in_mebibytes() {
        assert_eq!(peak_memory_in("VmPeak:\t  999 kB\nVmHWM:\t    3072 kB\nVmRSS:\t 1 kB\n"), Some(3.0));
        assert_eq!(peak_memory_in("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_read() {
        let reading = Meter::new(vec![std::process::id()], None).read().unwrap();
        assert_eq!(reading.database, None);
        assert!(Meter::new(vec![0], None).read().is_none());
    }
}
