//! Draws counts with the blocks that every terminal font has.

use model::{Period, Step};

use super::{
    metric::Metric,
    palette::{self, Palette},
    period_format::label,
};

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// An eighth, two eighths and so on of a character's width.
const WIDTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// What a line of sparklines begins with. The largest number is in the next line where it does not fit behind them.
const BESIDE_SPARKLINES: usize = "unique_users  ".len();

/// How many periods can be drawn beside each other.
pub(crate) fn room_for_sparklines(width: usize) -> usize {
    width.saturating_sub(BESIDE_SPARKLINES)
}

/// One line a metric, one character a period, scaled to the largest number of the line. What nobody knows is a blank.
pub(crate) fn sparklines(periods: &[Period], width: usize, palette: Palette) -> String {
    let line = |metric: &Metric| {
        let numbers: Vec<Option<u64>> = periods.iter().map(|period| metric.of(period)).collect();
        let most = numbers.iter().copied().flatten().max().unwrap_or_default();
        let height = |number: &Option<u64>| number.map_or(' ', |it| HEIGHTS[share(it, most, HEIGHTS.len() - 1)]);
        let drawn: String = numbers.iter().map(height).collect();
        let (name, most) = (format!("{:<12}  ", metric.name()), format!("at most {most}"));
        let fits = name.len() + numbers.len() + 2 + most.len() <= width;
        let between = if fits { "  " } else { "\n              " };
        format!("{name}{}{between}{most}\n", palette.paint(palette::DRAWN, drawn))
    };
    Metric::ALL.iter().map(line).collect()
}

/// `note` says more about the periods.
pub(crate) fn bars(
    (step, periods): (Step, &[Period]),
    metric: Metric,
    note: &str,
    width: usize,
    palette: Palette,
) -> String {
    let most = periods.iter().filter_map(|period| metric.of(period)).max().unwrap_or_default();
    let names: Vec<String> = periods.iter().map(|period| label(step, period)).collect();
    let of_name = names.iter().map(String::len).max().unwrap_or_default();
    let of_number = most.to_string().len();
    let longest = width.saturating_sub(of_name + of_number + 4).max(1);
    let line = |(period, name): (&Period, &String)| {
        let Some(number) = metric.of(period) else { return format!("{name:<of_name$}  {:>of_number$}\n", "?") };
        let eighths = share(number, most, longest * 8);
        let bar = "█".repeat(eighths / 8) + WIDTHS[eighths % 8];
        let text = format!("{name:<of_name$}  {number:>of_number$}");
        if bar.is_empty() { text + "\n" } else { format!("{text}  {}\n", palette.paint(palette::DRAWN, bar)) }
    };
    let lines: String = periods.iter().zip(&names).map(line).collect();
    format!("{}{note}\n{lines}", palette.paint(palette::HEADER, format!("{} each {step}", metric.name())))
}

/// The number's share of the largest one, in parts: 0 for 0, else at least 1.
fn share(number: u64, most: u64, parts: usize) -> usize {
    let parts = u128::try_from(parts).unwrap_or_default();
    let share = (u128::from(number) * parts).checked_div(u128::from(most)).unwrap_or_default();
    usize::try_from(share).unwrap_or_default().max(usize::from(number > 0))
}

#[cfg(test)]
mod tests {
    use model::{Hour, Period, Step, Timestamp};

    use super::{bars, room_for_sparklines, share, sparklines};
    use crate::output::{metric::Metric, palette::Palette};

    fn periods() -> Vec<Period> {
        let period = |(number, (clicks, impressions)): (i64, (u64, u64))| {
            let hour = Hour::containing(Timestamp::from_millis(number * 3_600_000).unwrap());
            let start = hour.to_string().replace('Z', "+00:00");
            let unique_users = (clicks != 1).then_some(clicks);
            Period { start, from: hour, to: hour, unique_users, clicks, impressions, settled: false }
        };
        (0..).zip([(0, 0), (1, 900), (4, 1_000), (8, 5)]).map(period).collect()
    }

    #[test]
    fn a_sparkline_shows_each_metric_by_its_own_measure() {
        insta::assert_snapshot!(sparklines(&periods(), 80, Palette::PLAIN), @"
        unique_users  ▁ ▄█  at most 8
        clicks        ▁▂▄█  at most 8
        impressions   ▁▇█▂  at most 1000
        ");
    }

    #[test]
    fn a_line_that_would_be_too_long_goes_on_in_the_next() {
        let mut periods = periods();
        periods[2].impressions = 1_000_000_000;
        let width = 80;
        let many: Vec<Period> = periods.into_iter().cycle().take(room_for_sparklines(width)).collect();
        let drawn = sparklines(&many, width, Palette::PLAIN);
        assert!(drawn.lines().all(|line| line.chars().count() <= width), "{drawn}");
        assert_eq!(drawn.lines().count(), 6, "{drawn}");
    }

    #[test]
    fn bars_stand_beside_their_periods_and_numbers_and_fit() {
        insta::assert_snapshot!(bars((Step::Hour, &periods()), Metric::Impressions, ", UTC", 60, Palette::PLAIN), @"
        impressions each hour, UTC
        1970-01-01T00:00:00Z     0
        1970-01-01T01:00:00Z   900  ████████████████████████████▊
        1970-01-01T02:00:00Z  1000  ████████████████████████████████
        1970-01-01T03:00:00Z     5  ▏
        ");
        insta::assert_snapshot!(bars((Step::Hour, &periods()[..2]), Metric::UniqueUsers, "", 60, Palette::PLAIN), @"
        unique_users each hour
        1970-01-01T00:00:00Z  0
        1970-01-01T01:00:00Z  ?
        ");
    }

    #[test]
    fn nothing_is_drawn_as_nothing_and_little_is_seen() {
        assert_eq!(share(0, 0, 8), 0);
        assert_eq!(share(0, 9, 8), 0);
        assert_eq!(share(1, u64::MAX, 8), 1);
        assert_eq!(share(u64::MAX, u64::MAX, 8), 8);
    }
}
