use std::{fmt, fs, num::NonZero, thread};

use anyhow::Context;
use serde::Serialize;

/// The machine that the figures belong to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    cpu: String,
    memory_mib: u64,
    kernel: String,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's release")?;
        let kib = value_of(&memory, "MemTotal").and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(Self {
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            cpu: value_of(&cpus, "model name").unwrap_or("CPU of unknown model").to_owned(),
            memory_mib: kib.context("/proc/meminfo does not say how much there is")? / 1024,
            kernel: kernel.trim().to_owned(),
        })
    }
}

/// The value in the first line `name : value`.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores ({}), {} MiB of memory, Linux {}", self.cores, self.cpu, self.memory_mib, self.kernel)
    }
}
