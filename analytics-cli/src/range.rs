//! Which periods a command is for.

use std::{iter, ops::RangeInclusive, time::Duration};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use client::{Client, Periods};
use model::{Calendar, Hour, InvalidInput, Step, Timestamp};

use crate::{
    failure::Failure,
    time::{Clock, TimeArgument, parse_span},
};

/// The most periods of one command: as hours a little more than a year.
const MAX_PERIODS: usize = 10_000;

/// In hours, how long the ranges are that are shown in hours (with the hour that comes twice in autumn), days and weeks.
const LONGEST: [(Step, u64); 3] = [(Step::Hour, 7 * 24 + 1), (Step::Day, 93 * 24), (Step::Week, 732 * 24)];

#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    /// Every period from the one that contains this time, at most 10,000.
    ///
    /// A time is RFC 3339, a month, day or hour of the time zone as in 2015-05, 2015-05-17 or 2015-05-17T10, today,
    /// yesterday, now, a time before now as in -2h, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<TimeArgument>,

    /// Every period up to the one that contains this time, which is included [default: now].
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    to: Option<TimeArgument>,

    /// The last periods, up to the current one, that span this time, as in 24h or 30d; or all, from the first event on.
    #[arg(long, value_name = "DURATION", value_parser = parse_last, conflicts_with_all = ["from", "to"])]
    last: Option<Last>,

    /// How long the periods are. A week begins on Monday. By default top takes hours, and query hours for up to 7 days,
    /// days for up to 93, weeks for up to two years, and else months.
    #[arg(long, value_name = "STEP", value_parser = PossibleValuesParser::new(Step::NAMES).try_map(|name| name.parse::<Step>()))]
    step: Option<Step>,

    /// The time zone of days and of --from and --to: a name of the IANA database whose offset is whole hours.
    #[arg(long, value_name = "ZONE", default_value_t = Calendar::UTC)]
    time_zone: Calendar,
}

/// How much of the past.
#[derive(Debug, Clone, Copy)]
enum Last {
    All,
    Span(Duration),
}

fn parse_last(text: &str) -> Result<Last, String> {
    if text == "all" {
        return Ok(Last::All);
    }
    parse_span(text).map(Last::Span).map_err(|invalid| format!("{invalid}, or all"))
}

/// From when to when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Span {
    Between(Timestamp, Timestamp),
    /// So long before now.
    Last(Duration),
}

/// Periods that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) step: Step,
    pub(crate) calendar: Calendar,
    /// From the first hour of the first period to the last of the last.
    pub(crate) hours: RangeInclusive<Hour>,
    /// How many periods.
    pub(crate) count: usize,
}

impl RangeArgs {
    pub(crate) fn clock(&self) -> Clock {
        Clock::of(self.time_zone)
    }

    pub(crate) fn step(&self) -> Option<Step> {
        self.step
    }

    /// None if no flag names one.
    pub(crate) async fn span(&self, clock: Clock, client: &Client) -> Result<Option<Span>, Failure> {
        if let Some(from) = &self.from {
            let last = self.to.as_ref().map_or(Ok(clock.now), |to| to.resolve_last("--to", clock))?;
            return Ok(Some(Span::Between(from.resolve("--from", clock)?, last)));
        }
        Ok(match self.last {
            None => None,
            Some(Last::Span(span)) => Some(Span::Last(span)),
            Some(Last::All) => {
                let first = client.stored().await?.map_or(clock.now, |stored| stored.first.start().min(clock.now));
                Some(Span::Between(first, clock.now))
            }
        })
    }
}

impl Span {
    pub(crate) fn at(time: &TimeArgument, clock: Clock) -> Result<Self, Failure> {
        let first = time.resolve("--at", clock)?;
        Ok(Self::Between(first, if time.whole().is_some() { time.resolve_last("--at", clock)? } else { first }))
    }

    fn hours(self) -> u64 {
        match self {
            Self::Between(first, last) => {
                let [first, last] = [first, last].map(|at| Hour::containing(at).start().millis() / 3_600_000);
                (last - first + 1).try_into().unwrap_or_default()
            }
            Self::Last(span) => span.as_secs().div_ceil(3_600),
        }
    }

    /// The step that shows it well, as on the page.
    pub(crate) fn usual_step(self) -> Step {
        let fits = LONGEST.into_iter().find(|(_, longest)| self.hours() <= *longest);
        fits.map_or(Step::Month, |(step, _)| step)
    }

    /// Hours, or days if these would be too many.
    pub(crate) fn short_step(self) -> Step {
        if self.hours() <= MAX_PERIODS as u64 { Step::Hour } else { Step::Day }
    }

    /// The periods of this length.
    pub(crate) fn range(self, step: Step, Clock { now, calendar }: Clock) -> Result<Range, Failure> {
        let (first, last) = match self {
            Self::Between(first, last) => (first, last),
            Self::Last(span) => {
                let before = usize::try_from(span.as_secs().div_ceil(seconds(step))).unwrap_or(usize::MAX).max(1) - 1;
                let first = calendar
                    .back(step, Hour::containing(now), before.min(MAX_PERIODS))
                    .map_err(|invalid| refused(&invalid))?;
                (first.map_or(Timestamp::MIN, Hour::start), now)
            }
        };
        if first > last {
            return Err(Failure::CannotRun("--from is later than --to; swap them".to_owned()));
        }
        Range::of(step, calendar, &(Hour::containing(first)..=Hour::containing(last)))
    }
}

impl Range {
    fn of(step: Step, calendar: Calendar, hours: &RangeInclusive<Hour>) -> Result<Self, Failure> {
        let periods = calendar.periods(step, hours, MAX_PERIODS + 1).map_err(|invalid| refused(&invalid))?;
        if periods.len() > MAX_PERIODS {
            let (first, last) = (hours.start(), hours.end());
            return Err(Failure::CannotRun(format!(
                "{first} to {last} are more than {MAX_PERIODS} {step}s; take a longer --step, or parts with --from and --to"
            )));
        }
        let hours = *periods[0].start()..=*periods[periods.len() - 1].end();
        Ok(Self { step, calendar, hours, count: periods.len() })
    }

    pub(crate) async fn read(&self, client: &Client) -> Result<Periods, Failure> {
        self.read_in(self.step, client).await
    }

    /// The same hours in periods of another step.
    pub(crate) async fn read_in(&self, step: Step, client: &Client) -> Result<Periods, Failure> {
        Ok(client.periods(&self.hours, step, self.calendar).await?)
    }

    /// The shortest step, but not shorter than its own, of which so many periods hold these hours; else months.
    pub(crate) fn step_of_at_most(&self, most: usize) -> Result<Step, Failure> {
        let longer = [Step::Day, Step::Week].into_iter().filter(|step| *step > self.step);
        for step in iter::once(self.step).chain(longer) {
            let periods = self.calendar.periods(step, &self.hours, most + 1).map_err(|invalid| refused(&invalid))?;
            if periods.len() <= most {
                return Ok(step);
            }
        }
        Ok(Step::Month)
    }

    /// As many periods before these. If these are not over, it ends after as many hours as have begun, and says so.
    pub(crate) fn before(&self, now: Timestamp) -> Result<(Self, bool), Failure> {
        let Self { step, calendar, count, .. } = *self;
        let first = *self.hours.start();
        let earlier = calendar.back(step, first, count).map_err(|invalid| refused(&invalid))?;
        let Some((earlier, last)) = earlier.zip(first.previous()) else {
            return Err(Failure::CannotRun(format!(
                "--compare needs {step}s before 1970, which do not exist; leave it out, or begin later"
            )));
        };
        let mut before = Self::of(step, calendar, &(earlier..=last))?;
        let current = Hour::containing(now);
        let begun = (current.start().millis() - first.start().millis()) / 3_600_000;
        let end = earlier.plus(begun);
        let is_cut = self.hours.contains(&current) && end < *before.hours.end();
        if is_cut {
            before.hours = earlier..=end;
            before.count = calendar.periods(step, &before.hours, count).map_err(|invalid| refused(&invalid))?.len();
        }
        Ok((before, is_cut))
    }
}

/// Of a month as many as the unit of durations has.
fn seconds(step: Step) -> u64 {
    match step {
        Step::Hour => 3_600,
        Step::Day => 86_400,
        Step::Week => 7 * 86_400,
        Step::Month => 2_630_016,
    }
}

fn refused(invalid: &InvalidInput) -> Failure {
    Failure::CannotRun(format!("--time-zone: {invalid}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Step, Timestamp};

    use super::{MAX_PERIODS, Range, Span};
    use crate::{
        failure::Failure,
        time::{Clock, TimeArgument},
    };

    /// 10:05:03 UTC on May 17, 2015, a Sunday.
    fn clock(zone: &str) -> Clock {
        Clock { now: Timestamp::from_millis(1_431_857_103_000).unwrap(), calendar: zone.parse().unwrap() }
    }

    fn between(from: &str, to: &str, step: Step, zone: &str) -> Result<Range, Failure> {
        let [from, to]: [TimeArgument; 2] = [from, to].map(|text| text.parse().unwrap());
        let clock = clock(zone);
        let (first, last) = (from.resolve("--from", clock)?, to.resolve_last("--to", clock)?);
        Span::Between(first, last).range(step, clock)
    }

    fn last(span: &str, step: Step) -> (usize, String, String) {
        let range = Span::Last(humantime::parse_duration(span).unwrap()).range(step, clock("UTC")).unwrap();
        (range.count, range.hours.start().to_string(), range.hours.end().to_string())
    }

    #[test]
    fn both_ends_of_a_range_are_included() {
        let count = |from, to| between(from, to, Step::Hour, "UTC").unwrap().count;
        assert_eq!(count("0", "0"), 1);
        assert_eq!(count("0", "3599999"), 1);
        assert_eq!(count("3599999", "3600000"), 2);
        assert_eq!(count("2015-05-16", "yesterday"), 24);
        assert_eq!(count("253402300799999", "253402300799999"), 1);
        assert_eq!(between("2015-03-29", "2015-03-29", Step::Hour, "Europe/Berlin").unwrap().count, 23);
    }

    #[test]
    fn the_last_periods_end_with_the_current_one_and_are_as_many_as_span_the_time() {
        for (span, step, count, first, end) in [
            ("1s", Step::Hour, 1, "2015-05-17T10:00:00Z", "2015-05-17T10:00:00Z"),
            ("1h", Step::Hour, 1, "2015-05-17T10:00:00Z", "2015-05-17T10:00:00Z"),
            ("90m", Step::Hour, 2, "2015-05-17T09:00:00Z", "2015-05-17T10:00:00Z"),
            ("7d", Step::Hour, 168, "2015-05-10T11:00:00Z", "2015-05-17T10:00:00Z"),
            ("30d", Step::Day, 30, "2015-04-18T00:00:00Z", "2015-05-17T23:00:00Z"),
            ("2weeks", Step::Week, 2, "2015-05-04T00:00:00Z", "2015-05-17T23:00:00Z"),
            ("365d", Step::Month, 12, "2014-06-01T00:00:00Z", "2015-05-31T23:00:00Z"),
            ("60years", Step::Month, 545, "1970-01-01T00:00:00Z", "2015-05-31T23:00:00Z"),
        ] {
            assert_eq!(last(span, step), (count, first.to_owned(), end.to_owned()), "{span}");
        }
        assert!(Span::Last(Duration::MAX).range(Step::Hour, clock("UTC")).is_err());
    }

    #[test]
    fn a_long_range_has_long_steps_unless_one_is_asked_for() {
        for (span, usual, short) in [
            ("7d", Step::Hour, Step::Hour),
            ("8d", Step::Day, Step::Hour),
            ("93d", Step::Day, Step::Hour),
            ("94d", Step::Week, Step::Hour),
            ("733d", Step::Month, Step::Day),
        ] {
            let span = Span::Last(humantime::parse_duration(span).unwrap());
            assert_eq!((span.usual_step(), span.short_step()), (usual, short), "{span:?}");
        }
        let [first, last] = [0, 168 * 3_600_000 - 1].map(|millis| Timestamp::from_millis(millis).unwrap());
        assert_eq!(Span::Between(first, last).usual_step(), Step::Hour);
    }

    #[test]
    fn a_period_is_taken_as_a_whole_and_its_days_are_those_of_the_time_zone() {
        let range = between("2015-05-17", "now", Step::Day, "Europe/Berlin").unwrap();
        let (first, end) = (range.hours.start().to_string(), range.hours.end().to_string());
        assert_eq!((range.count, first.as_str(), end.as_str()), (1, "2015-05-16T22:00:00Z", "2015-05-17T21:00:00Z"));
        let refused = between("now", "now", Step::Day, "Asia/Kolkata").unwrap_err().to_string();
        assert!(refused.contains("--time-zone") && refused.contains("+05:30"), "{refused}");
    }

    #[test]
    fn as_many_periods_before_are_all_there_or_it_is_refused() {
        let before = |from, to, step| {
            let (earlier, _) = between(from, to, step, "UTC")?.before(clock("UTC").now)?;
            Ok::<_, Failure>((earlier.count, earlier.hours.start().to_string(), earlier.hours.end().to_string()))
        };
        let is = |count, first: &str, end: &str| (count, first.to_owned(), end.to_owned());
        let hours = before("1970-01-01T05", "1970-01-01T09", Step::Hour).unwrap();
        assert_eq!(hours, is(5, "1970-01-01T00:00:00Z", "1970-01-01T04:00:00Z"));
        let months = before("2015-03-10", "2015-04-10", Step::Month).unwrap();
        assert_eq!(months, is(2, "2015-01-01T00:00:00Z", "2015-02-28T23:00:00Z"));
        for (from, to) in [("0", "0"), ("1970-01-01T03", "1970-01-01T07")] {
            let error = before(from, to, Step::Hour).unwrap_err().to_string();
            assert!(error.contains("hours before 1970"), "{from} to {to}: {error}");
        }
    }

    #[test]
    fn a_range_that_is_not_over_is_compared_with_as_many_hours_as_have_begun() {
        for (from, to, step, end, is_cut) in [
            ("2015-05-17", "2015-05-17", Step::Day, "2015-05-16T10:00:00Z", true),
            ("2015-05-16", "now", Step::Day, "2015-05-15T10:00:00Z", true),
            ("2015-05-01", "now", Step::Month, "2015-04-17T10:00:00Z", true),
            ("-2h", "now", Step::Hour, "2015-05-17T07:00:00Z", false),
            ("2015-05-16", "2015-05-16", Step::Day, "2015-05-15T23:00:00Z", false),
        ] {
            let (before, was_cut) = between(from, to, step, "UTC").unwrap().before(clock("UTC").now).unwrap();
            assert_eq!((before.hours.end().to_string().as_str(), was_cut), (end, is_cut), "{from} to {to}");
        }
    }

    #[test]
    fn what_is_too_much_to_draw_is_drawn_in_the_shortest_longer_step_of_the_same_hours() {
        for (step, most, drawn) in [
            (Step::Hour, 24, Step::Hour),
            (Step::Hour, 23, Step::Day),
            (Step::Hour, 1, Step::Week),
            (Step::Month, 1, Step::Month),
        ] {
            let range = between("2015-05-16T12", "2015-05-17T11", step, "UTC").unwrap();
            assert_eq!(range.step_of_at_most(most).unwrap(), drawn, "at most {most}");
        }
    }

    #[test]
    fn a_range_of_too_many_periods_or_backwards_is_refused() {
        let last = 3_600_000 * (MAX_PERIODS - 1);
        assert_eq!(between("0", &last.to_string(), Step::Hour, "UTC").unwrap().count, MAX_PERIODS);
        let error = between("0", &(last + 3_600_000).to_string(), Step::Hour, "UTC").unwrap_err().to_string();
        assert!(error.contains("more than 10000 hours; take a longer --step"), "{error}");
        let error = between("now", "-1h", Step::Hour, "UTC").unwrap_err().to_string();
        assert!(error.contains("swap them"), "{error}");
    }
}
