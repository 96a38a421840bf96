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

    /// The period that contains this time [default: the current one]. Of a day or month, as in 2015-05-17, yesterday or
    /// 2015-05, it is the day or month, unless --step is given.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["from", "to", "last"])]
    at: Option<TimeArgument>,

    #[command(flatten)]
    range: RangeArgs,

    /// The output format.
    #[arg(long, value_enum, default_value_t = PeriodFormat::Table)]
    format: PeriodFormat,

    /// Draw the periods instead: a line for each metric, and bars for this one. If they are more than fit beside each
    /// other, days, weeks or months of the same hours are drawn.
    #[arg(long, value_name = "METRIC", value_enum, num_args = 0..=1, default_missing_value = "impressions", conflicts_with = "format")]
    plot: Option<Metric>,

    /// Also compare with as many periods before, and if these are not over, with as many of their hours as have begun.
    #[arg(long, conflicts_with = "format")]
    compare: bool,
}

/// Prints nothing unless all was answered.
pub(crate) async fn run(args: QueryArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let (clock, palette) = (args.range.clock(), output::palette());
    let range = args.range(clock, client).await?;
    let found = range.read(client).await?;
    let (step, periods) = (range.step, found.periods.as_slice());
    let mut text = match args.plot {
        Some(metric) => plot(client, &range, &found, metric).await?,
        None => args.format.write(step, periods, palette, output::width()),
    };
    // A single hour says all by itself.
    let has_summary = args.format == PeriodFormat::Table && (range.count > 1 || step != Step::Hour);
    if has_summary {
        text = format!("{text}\n{}", output::summary(&found, step, clock.calendar, clock.now));
    }
    if args.compare {
        let (before, is_cut) = range.before(clock.now)?;
        text = format!("{text}\n{}", output::comparison(step, &found, &before.read(client).await?, palette));
        if is_cut {
            text.extend([format!("\nthe last {step} is not over, so before has only as many hours as have begun\n")]);
        } else if output::is_unfinished(&found, clock.now) {
            text.push_str("\nthe last hour is not over, and is compared with a whole one\n");
        }
    }
    output::print(&text)?;
    if let Some(why) = output::why_unknown(&found).filter(|_| has_summary || output::lacks_users(&found)) {
        output::warn(&why);
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws the periods, or longer ones of the same hours if they are too many.
async fn plot(client: &Client, range: &Range, found: &Periods, metric: Metric) -> Result<String, Failure> {
    let (width, palette) = (output::width(), output::palette());
    let room = output::room_for_sparklines(width);
    let step = range.step_of_at_most(room)?;
    let longer = if step == range.step { None } else { Some(range.read_in(step, client).await?) };
    let periods = &longer.as_ref().unwrap_or(found).periods;
    let (count, asked) = (range.count, range.step);
    let note = format!("\n({count} {asked}s do not fit in a line)");
    let note = if count > room { note } else { String::new() };
    let is_drawn = periods.len() <= room;
    let lines = if is_drawn { output::sparklines(periods, width, palette) + "\n" } else { String::new() };
    Ok(lines + &output::bars((step, periods), metric, &note, width, palette))
}

impl QueryArgs {
    async fn range(&self, clock: Clock, client: &Client) -> Result<Range, Failure> {
        let at = self.at.as_ref().unwrap_or(&TimeArgument::Now);
        let (span, usual) = match self.range.span(clock, client).await? {
            Some(span) => (span, span.usual_step()),
            None => (Span::at(at, clock)?, at.whole().unwrap_or(Step::Hour)),
        };
        span.range(self.range.step().unwrap_or(usual), clock)
    }
}
