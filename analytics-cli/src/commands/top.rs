use std::time::Duration;

use clap::{Args, value_parser};
use model::{HourRow, Timestamp};

use super::query::last_hours;
use crate::{
    failure::{Failure, Verdict},
    output::{self, hour_format::HourFormat, metric::Metric},
    server::Server,
    time::parse_span,
};

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Of the current hour and those before it, so many that they span this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_span, default_value = "30d")]
    last: Duration,

    /// What the most is wanted of.
    #[arg(long, value_enum, default_value_t = Metric::Impressions)]
    by: Metric,

    /// How many hours to show; fewer where fewer have events.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = value_parser!(u16).range(1..=1_000))]
    count: u16,

    /// How to write them.
    #[arg(long, value_enum, default_value_t = HourFormat::Table)]
    format: HourFormat,
}

/// Prints the busiest hours, the busiest first, of equal ones the latest first.
pub(crate) async fn run(args: TopArgs, server: &Server) -> Result<Verdict, Failure> {
    let hours = last_hours(args.last, Timestamp::now())?;
    let (Some(&first), Some(&last)) = (hours.first(), hours.last()) else { return Ok(Verdict::Yes) };
    let mut rows = server.hours(first, last).await?;
    rows.retain(|row| args.by.of(row.counts) > 0);
    rows.sort_by_key(|row: &HourRow| std::cmp::Reverse((args.by.of(row.counts), row.hour)));
    rows.truncate(args.count.into());
    output::print(&args.format.write(&rows, output::palette()))?;
    Ok(Verdict::Yes)
}
