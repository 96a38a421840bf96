use std::process::ExitCode;

use clap::Args;
use client::{Client, Periods};
use model::Step;

use crate::{
    failure::Failure,
    output::{self, Metric, PeriodFormat},
    range::{Range, RangeArgs, Span},
    site::SiteOption,
    time::{Clock, TimeArgument},
};

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    site: SiteOption,

    /// The period that contains this time [default: the current one]. Of a day, as in 2015-05-17 or yesterday, it is
    /// the day, unless --step is given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["from", "to", "last"])]
    at: Option<TimeArgument>,

    #[command(flatten)]
    range: RangeArgs,

    /// The output format.
    #[arg(long, value_enum, default_value_t = PeriodFormat::Table)]
    format: PeriodFormat,

    /// Draw the periods instead: a line for each metric, and bars for this one. If they are more than fit beside each
    /// other, days, weeks or months are drawn.
    #[arg(long, value_name = "METRIC", value_enum, num_args = 0..=1, default_missing_value = "impressions", conflicts_with = "format")]
    plot: Option<Metric>,

    /// Also compare with as many periods before.
    #[arg(long, conflicts_with = "format")]
    compare: bool,
}

/// Prints nothing unless all was answered.
pub(crate) async fn run(args: QueryArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let (clock, palette, width) = (args.range.clock(), output::palette(), output::width());
    let (range, note) = args.range(clock, width)?;
    let found = read(client, &range).await?;
    let (step, periods) = (range.step, found.periods.as_slice());
    let mut text = match args.plot {
        Some(metric) => {
            let is_drawn = periods.len() <= output::room_for_sparklines(width);
            let lines = if is_drawn { output::sparklines(periods, width, palette) + "\n" } else { String::new() };
            lines + &output::bars((step, periods), metric, &note, width, palette)
        }
        None => args.format.write(step, periods, palette),
    };
    // A single hour says all by itself.
    let has_summary = args.format == PeriodFormat::Table && (range.count > 1 || step != Step::Hour);
    if has_summary {
        text = format!("{text}\n{}", output::summary(&found, step, clock.calendar, clock.now));
    }
    if args.compare {
        let earlier = read(client, &range.before()?).await?;
        text = format!("{text}\n{}", output::comparison(step, &found, &earlier, palette));
        if output::is_unfinished(&found, clock.now) {
            text.extend([format!("\nthe last {step} is not over, and is compared with a whole one\n")]);
        }
    }
    output::print(&text)?;
    if let Some(why) = output::why_unknown(&found).filter(|_| has_summary || output::lacks_users(&found)) {
        output::warn(&why);
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(client: &Client, range: &Range) -> Result<Periods, Failure> {
    Ok(client.periods(&range.hours, range.step, range.calendar).await?)
}

impl QueryArgs {
    /// What is asked for, in a step that fits a plot of this width. If that is longer than the step that was asked for, a note says so.
    fn range(&self, clock: Clock, width: usize) -> Result<(Range, String), Failure> {
        let at = self.at.as_ref().unwrap_or(&TimeArgument::Now);
        let span = self.range.span(clock)?.map_or_else(|| Span::at(at, clock), Ok)?;
        let is_day = self.at.as_ref().is_some_and(TimeArgument::is_day);
        let asked = self.range.step().unwrap_or(if is_day { Step::Day } else { Step::Hour });
        let range = span.range(asked, clock)?;
        if self.plot.is_none() || range.count <= output::room_for_sparklines(width) {
            return Ok((range, String::new()));
        }
        let note = format!("\n({} {asked}s are more than fit beside each other)", range.count);
        let mut fitting = range;
        for step in [Step::Day, Step::Week, Step::Month] {
            if fitting.count > output::room_for_sparklines(width) && step > fitting.step {
                fitting = span.range(step, clock)?;
            }
        }
        Ok((fitting, note))
    }
}
