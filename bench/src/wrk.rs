//! The load generator, and what it prints.

use std::{
    io::{ErrorKind, Write},
    process::Stdio,
};

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio::process::Command;

const POST_SCRIPT: &str = include_str!("post.lua");
/// A slow answer is a figure, not an error: longer than any answer takes.
const TIMEOUT: &str = "30s";

/// What to send, and for how long.
pub(crate) struct Load {
    pub(crate) url: String,
    /// Whether to POST events to the URL, or to GET it.
    pub(crate) posts: bool,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// What one load came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Requests that were answered before the load ended.
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// wrk, with the script that makes events.
pub(crate) struct Wrk {
    script: NamedTempFile,
}

impl Wrk {
    /// Makes sure that wrk is installed.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // wrk ends with an error after it has said its version, so all that counts is whether it runs.
        let version =
            std::process::Command::new("wrk").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("wrk, which makes the load, is not installed; on Debian: apt-get install wrk")
            }
            _ => anyhow!("wrk cannot be run: {error}"),
        })?;
        let mut script = NamedTempFile::with_suffix(".lua").context("cannot write wrk's script")?;
        script.write_all(POST_SCRIPT.as_bytes()).context("cannot write wrk's script")?;
        Ok(Self { script })
    }

    /// Sends a load, and fails if a single request did.
    pub(crate) async fn run(&self, load: &Load) -> anyhow::Result<Sample> {
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--latency", "--timeout", TIMEOUT]).args([
            "--connections",
            &load.connections.to_string(),
            "--duration",
            &format!("{}s", load.seconds),
        ]);
        if load.posts {
            command.arg("--script").arg(self.script.path());
        }
        let output =
            command.arg(&load.url).stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot run wrk")?;
        if !output.status.success() {
            bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        parse(&String::from_utf8_lossy(&output.stdout))
    }
}

/// Reads what `wrk --latency` prints. The figures of a load with failures are worth nothing, so they are an error.
fn parse(output: &str) -> anyhow::Result<Sample> {
    let after = |start: &str| output.lines().find_map(|line| line.trim().strip_prefix(start));
    for failure in ["Non-2xx", "Socket errors:"] {
        if let Some(what) = after(failure) {
            bail!("requests failed: {failure}{what}");
        }
    }
    let unreadable = || format!("wrk printed what cannot be read:\n{output}");
    let sample = (|| {
        let requests = output.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
        Some(Sample {
            requests,
            requests_per_second: after("Requests/sec:")?.trim().parse().ok()?,
            p50_ms: milliseconds(after("50%")?)?,
            p99_ms: milliseconds(after("99%")?)?,
        })
    })()
    .with_context(unreadable)?;
    if sample.requests == 0 {
        bail!("not one request was answered in time");
    }
    Ok(sample)
}

/// Reads a time as wrk writes it, a number and its unit.
fn milliseconds(time: &str) -> Option<f64> {
    // The longer units come first, because "ms" ends in "s" as well.
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0)];
    units.iter().find_map(|(unit, factor)| Some(time.trim().strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::{Sample, milliseconds, parse};

    const HEAD: &str = "\
Running 3s test @ http://127.0.0.1:39221/analytics
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
";
    const FAST: &str = "    Latency   289.06us    1.00ms  16.69ms   93.95%
    Req/Sec    75.26k    41.91k  132.98k    56.67%
  Latency Distribution
     50%   25.00us
     75%   87.00us
     90%  677.00us
     99%    4.08ms
  224496 requests in 3.00s, 9.21MB read
";
    const FAST_RATE: &str = "Requests/sec:  74767.70
Transfer/sec:      3.07MB
";
    const SLOW: &str = "    Latency     1.20s   802.46us   1.20s    75.00%
    Req/Sec     3.00      0.00     3.00    100.00%
  Latency Distribution
     50%    1.20s 
     75%    1.20s 
     90%    1.20s 
     99%    1.20s 
  8 requests in 3.01s, 304.00B read
Requests/sec:      2.65
Transfer/sec:     100.84B
";
    const NOTHING: &str = "    Latency     0.00us    0.00us   0.00us    -nan%
    Req/Sec     0.00      0.00     0.00      -nan%
  Latency Distribution
     50%    0.00us
     75%    0.00us
     90%    0.00us
     99%    0.00us
  0 requests in 3.00s, 0.00B read
";
    const NO_RATE: &str = "Requests/sec:      0.00
Transfer/sec:       0.00B
";

    fn error(output: &str) -> String {
        parse(output).unwrap_err().to_string()
    }

    #[test]
    fn times_are_read_in_every_unit() {
        let fast = Sample { requests: 224_496, requests_per_second: 74_767.70, p50_ms: 0.025, p99_ms: 4.08 };
        assert_eq!(parse(&format!("{HEAD}{FAST}{FAST_RATE}")).unwrap(), fast);
        let slow = Sample { requests: 8, requests_per_second: 2.65, p50_ms: 1_200.0, p99_ms: 1_200.0 };
        assert_eq!(parse(&format!("{HEAD}{SLOW}")).unwrap(), slow);
        assert_eq!(milliseconds("1.50m"), Some(90_000.0));
        assert_eq!(milliseconds("1.50"), None);
    }

    #[test]
    fn a_load_with_a_failure_has_no_figures() {
        let refused = format!("{HEAD}{FAST}  Non-2xx or 3xx responses: 112247\n{FAST_RATE}");
        assert_eq!(error(&refused), "requests failed: Non-2xx or 3xx responses: 112247");

        let broken = format!("{HEAD}{NOTHING}  Socket errors: connect 0, read 16807, write 0, timeout 0\n{NO_RATE}");
        assert_eq!(error(&broken), "requests failed: Socket errors: connect 0, read 16807, write 0, timeout 0");
    }

    #[test]
    fn a_load_without_an_answer_has_no_figures() {
        assert_eq!(error(&format!("{HEAD}{NOTHING}{NO_RATE}")), "not one request was answered in time");
        assert!(error("unable to connect").starts_with("wrk printed what cannot be read:\nunable to connect"));
    }
}
