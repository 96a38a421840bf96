//! Slow and failing calls of `fsync`, which strace makes in processes that run.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use harness::signal;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::sleep,
};

const PATIENCE: Duration = Duration::from_mins(1);
const CALLS: &str = "fsync,fdatasync";

/// What becomes of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Each begins this much later.
    Slow(Duration),
    /// Each fails, as with a broken disk.
    Fails,
}

/// Until it is detached or dropped.
pub(crate) struct Tracer {
    process: Child,
}

impl Tracer {
    /// An error says why no process can be traced here.
    pub(crate) async fn try_out() -> anyhow::Result<()> {
        let mut process = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
        let pid = process.id().context("sleep ended")?;
        let tried = Self::attach(&[pid], Sync::Fails).await;
        process.kill().await?;
        tried.map(|_| ())
    }

    /// Returns once all threads of these processes are traced that have not ended.
    pub(crate) async fn attach(pids: &[u32], sync: Sync) -> anyhow::Result<Self> {
        let fault = match sync {
            Sync::Slow(delay) => format!("delay_enter={}us", delay.as_micros()),
            Sync::Fails => "error=EIO".to_owned(),
        };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "strace", "-f", "-qq", "-o", "/dev/null"]);
        command.args(["-e", &format!("trace={CALLS}"), "-e", &format!("inject={CALLS}:{fault}")]);
        command.args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("setpriv cannot be run")?;
        let began = Instant::now();
        while !pids.iter().all(|&pid| is_traced(pid)) {
            if process.try_wait()?.is_some() {
                let mut said = String::new();
                if let Some(stderr) = &mut process.stderr {
                    stderr.read_to_string(&mut said).await?;
                }
                // It ends with the last process that it traced, which a failed call may have ended already.
                ensure!(said.is_empty(), "{}", said.trim());
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "strace does not attach to {pids:?}");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { process })
    }

    /// From now on the calls do what they always do.
    pub(crate) async fn detach(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.process.id() {
            // It may have ended with the last process that it traced.
            let _ = signal(pid, "INT").await;
        }
        self.process.wait().await?;
        Ok(())
    }
}

/// Whether all of the process's threads are traced. One that has ended needs no tracer.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")) else { return true };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().all(|line| line.split_whitespace().collect::<Vec<_>>() != ["TracerPid:", "0"])
    })
}
