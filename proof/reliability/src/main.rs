//! Runs the scenarios and prints the results as a table.

use std::{
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum, value_parser};
use reliability::{options::Options, report::Report, scenarios::Scenario, table};

/// Injects faults into analyticsd and its database under load, and compares the answers that clients got with what is
/// stored.
///
/// It runs on private PostgreSQL servers, with TimescaleDB if that is installed. `analyticsd` must lie in the same
/// folder as this program.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 if every promise was kept; 1 if one was broken; 2 if something could not be run, or if \
                  the run had fewer events, faults or crashes than was asked."
)]
struct Args {
    /// The scenarios to run [default: all].
    scenarios: Vec<Scenario>,

    /// The seed of all random choices [default: the clock].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How long each scenario injects faults.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = value_parser!(u64).range(1..=86_400))]
    seconds: u64,

    /// The number of clients.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = value_parser!(u32).range(4..=1_000))]
    clients: u32,

    /// The databases of a counter, in the scenarios of several.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = value_parser!(u16).range(1..=64))]
    shards: u16,

    /// The folder of PostgreSQL's programs [default: searched].
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,

    /// The daemons' filter of the log. Faults make them log a lot.
    #[arg(long, default_value = "off", value_name = "FILTER")]
    daemon_log: String,

    /// The events that all scenarios together must try.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    at_least_events: u64,

    /// The faults that all scenarios together must inject.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    at_least_faults: u64,

    /// The crashes of a database that must be among the faults.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    at_least_crashes: u64,

    /// The output format.
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table in Markdown, and what was noted.
    Table,
    /// One JSON object a line.
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(clock_seed);
    let options = Options {
        seed,
        clients: args.clients,
        duration: Duration::from_secs(args.seconds),
        postgres_bin: args.postgres_bin.clone(),
        daemon_log: args.daemon_log.clone(),
        shards: args.shards.into(),
    };
    let scenarios = if args.scenarios.is_empty() { Scenario::value_variants() } else { &args.scenarios };
    eprintln!("seed {seed}");

    let (mut reports, mut failed) = (Vec::new(), false);
    for &scenario in scenarios {
        let began = Instant::now();
        // In a task of its own, so that the others run even if one panics.
        let options = options.clone();
        let ended = tokio::spawn(async move { scenario.run(&options).await }).await;
        match ended.map_err(anyhow::Error::from).flatten() {
            Ok(report) => {
                eprintln!("{} in {:.0?}", verdict(&report), began.elapsed());
                reports.push(report);
            }
            Err(error) => {
                eprintln!("error: {scenario:?} did not run to its end: {error:#}");
                failed = true;
            }
        }
    }

    // The reader may be gone. That is no failure of the run.
    let _ = write!(std::io::stdout(), "{}", printed(&reports, args.format));
    let all = Report::sum(&reports);
    for short in shortfalls(&all, &args) {
        eprintln!("error: {short}");
        failed = true;
    }
    if reports.iter().any(|report| !report.broken.is_empty()) {
        ExitCode::FAILURE
    } else if failed {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

/// What the run had less of than was asked.
fn shortfalls(all: &Report, args: &Args) -> Vec<String> {
    let asked = [
        ("events", all.tried, args.at_least_events),
        ("faults", all.faults, args.at_least_faults),
        ("crashes of a database", all.crashes, args.at_least_crashes),
    ];
    let short = asked.into_iter().filter(|(_, had, least)| had < least);
    short
        .map(|(what, had, least)| format!("the run had {had} {what}, and {least} were asked for: give more --seconds"))
        .collect()
}

fn clock_seed() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_secs())
}

fn verdict(report: &Report) -> String {
    let Report { scenario, skipped, broken, .. } = report;
    match (skipped, broken.as_slice()) {
        (Some(why), _) => format!("SKIPPED: {scenario}: {why}"),
        (None, []) => format!("kept: {scenario}"),
        (None, broken) => format!("BROKEN: {scenario}:\n{}", broken.join("\n")),
    }
}

fn printed(reports: &[Report], format: Format) -> String {
    match format {
        Format::Table => table::markdown(reports),
        Format::Json => {
            let json = |report| serde_json::to_string(report).expect("a report holds only strings and numbers") + "\n";
            reports.iter().map(json).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, shortfalls};
    use reliability::report::Report;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_run_that_is_smaller_than_asked_says_so() {
        let args = Args::parse_from(["reliability", "--at-least-events", "100", "--at-least-crashes", "2"]);
        let run = |tried, crashes| Report { tried, crashes, ..Report::default() };
        assert!(shortfalls(&run(100, 2), &args).is_empty());
        let short = shortfalls(&run(99, 1), &args);
        assert_eq!(short.len(), 2, "{short:?}");
        assert!(short[0].starts_with("the run had 99 events, and 100 were asked for"), "{short:?}");
    }
}
