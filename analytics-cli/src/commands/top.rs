use std::{process::ExitCode, time::Duration};

use clap::{Args, value_parser};
use client::Client;
use model::{HourRow, Timestamp};

use super::query::last_hours;
use crate::{
    failure::Failure,
    output::{self, HourFormat, Metric},
    site::SiteOption,
    time::parse_span,
};

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    site: SiteOption,

    /// Search the last hours, up to the current one, that span this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_span, default_value = "30d")]
    last: Duration,

    /// The metric to sort by.
    #[arg(long, value_enum, default_value_t = Metric::Impressions)]
    by: Metric,

    /// The most hours to show.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = value_parser!(u16).range(1..=1_000))]
    count: u16,

    /// The output format.
    #[arg(long, value_enum, default_value_t = HourFormat::Table)]
    format: HourFormat,
}

/// Prints the busiest hour first, and the latest of equal ones first.
pub(crate) async fn run(args: TopArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let hours = last_hours(args.last, Timestamp::now())?;
    let (Some(&first), Some(&last)) = (hours.first(), hours.last()) else { return Ok(ExitCode::SUCCESS) };
    let mut rows = client.hours(first, last).await?;
    rows.retain(|row| args.by.of(row.counts) > 0);
    rows.sort_by_key(|row: &HourRow| std::cmp::Reverse((args.by.of(row.counts), row.hour)));
    rows.truncate(args.count.into());
    output::print(&args.format.write(&rows, output::palette()))?;
    Ok(ExitCode::SUCCESS)
}
