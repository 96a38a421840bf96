//! The machine and the sources that figures belong to.

use std::{fmt, fs, num::NonZero, process::Command, thread};

use anyhow::Context;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
}

impl Machine {
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

/// The commit of the working tree, if git has it; with a plus sign if there are uncommitted changes.
pub(crate) fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(commit + if changes.is_empty() { "" } else { "+" })
}
