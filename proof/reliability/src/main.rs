//! Runs the scenarios and prints the results as a table.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum, value_parser};
use reliability::{options::Options, report::Report, scenarios::Scenario};

/// Injects faults into analyticsd and its database under load, and compares the answers that clients got with what is
/// stored.
///
/// It runs on private PostgreSQL servers, with TimescaleDB if that is installed. `analyticsd` must lie in the same
/// folder as this program.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 if every promise was kept; 1 if one was broken; 2 if something could not be run."
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

    /// The folder of PostgreSQL's programs [default: searched].
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,

    /// The daemons' filter of the log. Faults make them log a lot.
    #[arg(long, default_value = "off", value_name = "FILTER")]
    daemon_log: String,

    /// The output format.
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table in Markdown.
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
        postgres_bin: args.postgres_bin,
        daemon_log: args.daemon_log,
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
    if reports.iter().any(|report| !report.broken.is_empty()) {
        ExitCode::FAILURE
    } else if failed {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
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
    let mut text = String::new();
    if format == Format::Table {
        text.push_str("| scenario | events tried | acknowledged | refused | unknown | reads checked | faults | lost | phantom | slowest answer | notes |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    }
    for report in reports {
        // Writing to a string cannot fail.
        let _ = match format {
            Format::Json => {
                let line = serde_json::to_string(report).expect("a report holds only strings and numbers");
                writeln!(text, "{line}")
            }
            Format::Table => writeln!(text, "{}", row(report)),
        };
    }
    text
}

fn row(report: &Report) -> String {
    let Report { scenario, tried, acknowledged, refused, unknown, reads, faults, lost, phantoms, .. } = report;
    if let Some(why) = &report.skipped {
        return format!("| {scenario} | skipped: {why} | | | | | | | | | |");
    }
    format!(
        "| {scenario} | {tried} | {acknowledged} | {refused} | {unknown} | {reads} | {faults} | {lost} | {phantoms} | {:.1} s | {} |",
        Duration::from_millis(report.slowest_millis).as_secs_f64(),
        report.notes.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
