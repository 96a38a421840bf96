use std::{process::ExitCode, time::Duration};

use clap::Args;

use crate::{
    doctor::{self, Report},
    failure::Failure,
    output::{self, ReportFormat},
    settings::{DatabaseArgs, Settings, WithSources},
};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    /// The time limit of each check; a check that takes longer is a problem.
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "5s")]
    timeout: Duration,

    /// The output format.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    format: ReportFormat,
}

pub(crate) async fn run(args: DoctorArgs, settings: Settings) -> Result<ExitCode, Failure> {
    if let Some(exposed) = settings.file.exposed_secret() {
        output::warn(&exposed);
    }
    let databases = settings.databases(&args.database)?;
    let mut report = Report::new(args.format);
    doctor::run(settings, databases, args.timeout, &mut report).await?;
    Ok(report.finish()?)
}

fn timeout(text: &str) -> Result<Duration, String> {
    const ACCEPTED: &str = "accepted is a duration from 1ms to 1h, as in 5s";
    let limit = humantime::parse_duration(text).map_err(|error| format!("{error}; {ACCEPTED}"))?;
    let is_accepted = (Duration::from_millis(1)..=Duration::from_hours(1)).contains(&limit);
    if is_accepted { Ok(limit) } else { Err(ACCEPTED.to_owned()) }
}
