use std::{iter, process::ExitCode, time::Duration};

use clap::Args;
use client::Client;
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Hour, HourRow, Timestamp};

use crate::{
    failure::Failure,
    output::{self, HourFormat, Metric},
    site::SiteOption,
    time::{TimeArgument, parse_span},
};

/// The most hours of one query; a little more than a year.
const MAX_HOURS: usize = 10_000;
/// The daemon answers requests that wait at the same time with one read.
const IN_FLIGHT: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    site: SiteOption,

    /// The hour that contains this time [default: the current hour].
    ///
    /// A time is RFC 3339, now, a time before now as in -2h, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    at: Option<TimeArgument>,

    /// Every hour from the one that contains this time, at most 10,000 hours.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "to")]
    from: Option<TimeArgument>,

    /// Every hour up to the one that contains this time, which is included.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    to: Option<TimeArgument>,

    /// The last hours, up to the current one, that span this time, as in 24h or 7d.
    #[arg(long, value_name = "DURATION", value_parser = parse_span, conflicts_with_all = ["at", "from", "to"])]
    last: Option<Duration>,

    /// The output format.
    #[arg(long, value_enum, default_value_t = HourFormat::Table)]
    format: HourFormat,

    /// Draw the hours instead: a line for each metric, and bars for this one.
    #[arg(long, value_name = "METRIC", value_enum, num_args = 0..=1, default_missing_value = "impressions", conflicts_with = "format")]
    plot: Option<Metric>,

    /// Also compare the sums of clicks and impressions with those of as many hours before.
    #[arg(long, conflicts_with = "format")]
    compare: bool,
}

/// Prints nothing unless every hour was answered.
pub(crate) async fn run(args: QueryArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let hours = args.hours(Timestamp::now())?;
    let rows = counts(client, &hours).await?;
    let palette = output::palette();
    let mut text = match args.plot {
        Some(metric) => format!("{}\n{}", output::sparklines(&rows, palette), output::bars(&rows, metric, palette)),
        None => args.format.write(&rows, palette),
    };
    if args.compare {
        let earlier = counts(client, &before(&hours)?).await?;
        text = format!("{text}\n{}", output::comparison(&rows, &earlier, palette));
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn counts(client: &Client, hours: &[Hour]) -> Result<Vec<HourRow>, Failure> {
    stream::iter(hours.iter().copied())
        .map(|hour| async move { Ok(HourRow { hour, counts: client.counts(hour).await?, settled: false }) })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await
}

impl QueryArgs {
    fn hours(&self, now: Timestamp) -> Result<Vec<Hour>, Failure> {
        let resolve = |flag, time: &Option<TimeArgument>| time.as_ref().map_or(Ok(now), |time| time.resolve(flag, now));
        if let Some(last) = self.last {
            return last_hours(last, now);
        }
        if self.from.is_some() {
            let last = self.to.as_ref().map_or(Ok(now), |time| time.resolve_last("--to", now))?;
            return hours_between(resolve("--from", &self.from)?, last);
        }
        let at = resolve("--at", &self.at)?;
        hours_between(at, at)
    }
}

/// As many hours as span the time, the current one last: 24h are 24 hours, 90m are two.
pub(crate) fn last_hours(span: Duration, now: Timestamp) -> Result<Vec<Hour>, Failure> {
    let hours = span.as_secs().div_ceil(3_600).max(1);
    let back = i64::try_from(hours - 1).unwrap_or(i64::MAX);
    let current = Hour::containing(now);
    hours_between(current.plus(back.saturating_neg()).start(), now)
}

fn hours_between(from: Timestamp, to: Timestamp) -> Result<Vec<Hour>, Failure> {
    if from > to {
        return Err(Failure::CannotRun("--from is later than --to; swap them".to_owned()));
    }
    let (first, last) = (Hour::containing(from), Hour::containing(to));
    let range = iter::successors(Some(first), |hour| hour.next()).take_while(|hour| *hour <= last);
    let hours: Vec<Hour> = range.take(MAX_HOURS + 1).collect();
    if hours.len() > MAX_HOURS {
        return Err(Failure::CannotRun(format!(
            "{first} to {last} are more than {MAX_HOURS} hours; query them in parts, with --from and --to"
        )));
    }
    Ok(hours)
}

/// As many hours before these.
fn before(hours: &[Hour]) -> Result<Vec<Hour>, Failure> {
    let back = i64::try_from(hours.len()).unwrap_or(i64::MAX).saturating_neg();
    let earlier: Vec<Hour> = hours.iter().map(|hour| hour.plus(back)).collect();
    // Hours before 1970 do not exist; `plus` gives the first hour in their place.
    let begins_in_range = earlier.first().is_none_or(|first| Some(&first.plus(-back)) == hours.first());
    if !begins_in_range {
        return Err(Failure::CannotRun(
            "--compare needs hours before 1970, which do not exist; leave it out, or begin later".to_owned(),
        ));
    }
    Ok(earlier)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Timestamp;

    use super::{MAX_HOURS, before, hours_between, last_hours};

    const HOUR: i64 = 3_600_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn both_ends_of_a_range_are_included() {
        let count = |from, to| hours_between(at(from), at(to)).unwrap().len();
        assert_eq!(count(0, 0), 1);
        assert_eq!(count(0, HOUR - 1), 1);
        assert_eq!(count(HOUR - 1, HOUR), 2);
        assert_eq!(count(HOUR, 3 * HOUR), 3);
        assert_eq!(count(Timestamp::MAX.millis(), Timestamp::MAX.millis()), 1);
    }

    #[test]
    fn the_last_hours_end_with_the_current_one_and_are_as_many_as_span_the_time() {
        let now = at(1_431_857_103_000);
        for (span, hours) in [("1s", 1), ("1h", 1), ("90m", 2), ("24h", 24), ("7d", 168)] {
            let last = last_hours(humantime::parse_duration(span).unwrap(), now).unwrap();
            assert_eq!(
                (last.len(), last.last().unwrap().to_string()),
                (hours, "2015-05-17T10:00:00Z".to_owned()),
                "{span}"
            );
        }
        assert!(last_hours(Duration::MAX, now).is_err());
    }

    #[test]
    fn as_many_hours_before_are_all_there_or_it_is_refused() {
        let hours = |first: i64, count: i64| hours_between(at(first * HOUR), at((first + count - 1) * HOUR)).unwrap();
        assert_eq!(before(&hours(5, 5)).unwrap(), hours(0, 5));
        assert_eq!(before(&hours(1, 1)).unwrap(), hours(0, 1));
        for (first, count) in [(0, 1), (0, 5), (3, 5), (4, 5)] {
            let error = before(&hours(first, count)).unwrap_err().to_string();
            assert!(error.contains("before 1970"), "{count} hours from hour {first}: {error}");
        }
    }

    #[test]
    fn a_range_of_too_many_hours_or_backwards_is_refused() {
        let last = HOUR * i64::try_from(MAX_HOURS - 1).unwrap();
        assert_eq!(hours_between(at(0), at(last)).unwrap().len(), MAX_HOURS);
        let error = hours_between(at(0), at(last + HOUR)).unwrap_err().to_string();
        assert!(error.contains("more than 10000 hours"), "{error}");
        let error = hours_between(at(1), at(0)).unwrap_err().to_string();
        assert!(error.contains("swap them"), "{error}");
    }
}
