use std::{cmp::Reverse, process::ExitCode, time::Duration};

use clap::{Args, value_parser};
use client::Client;
use model::Period;

use crate::{
    failure::Failure,
    output::{self, Metric, PeriodFormat},
    range::{RangeArgs, Span},
    site::SiteOption,
};

/// What is searched unless it is said.
const USUAL: Span = Span::Last(Duration::from_hours(30 * 24));

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    site: SiteOption,

    #[command(flatten)]
    range: RangeArgs,

    /// The metric to sort by.
    #[arg(long, value_enum, default_value_t = Metric::Impressions)]
    by: Metric,

    /// The most periods to show.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = value_parser!(u16).range(1..=1_000))]
    count: u16,

    /// The output format.
    #[arg(long, value_enum, default_value_t = PeriodFormat::Table)]
    format: PeriodFormat,
}

/// Prints the busiest period first, and the latest of equal ones first, and below what all of the range have.
pub(crate) async fn run(args: TopArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let clock = args.range.clock();
    let span = args.range.span(clock, client).await?.unwrap_or(USUAL);
    let step = args.range.step().unwrap_or(span.short_step());
    let range = span.range(step, clock)?;
    let mut found = range.read(client).await?;
    let are_missing = args.by == Metric::UniqueUsers && output::lacks_users(&found);
    let is_table = args.format == PeriodFormat::Table;
    let why = output::why_unknown(&found).filter(|_| is_table || are_missing);
    let summary = format!("\n{}", output::summary(&found, step, clock.calendar, clock.now));
    let periods = &mut found.periods;
    periods.retain(|period| args.by.of(period).is_some_and(|number| number > 0));
    periods.sort_by_key(|period: &Period| Reverse((args.by.of(period), period.from)));
    periods.truncate(args.count.into());
    let table = args.format.write(step, periods, output::palette(), output::width());
    output::print(&if is_table { table + &summary } else { table })?;
    if let Some(why) = why {
        output::warn(&why);
    }
    Ok(ExitCode::SUCCESS)
}
