//! Draws counts with the blocks that every terminal font has.

use model::HourRow;

use super::{
    metric::Metric,
    palette::{self, Palette},
};

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// An eighth, two eighths and so on of a character's width.
const WIDTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// The longest bar, in characters: with hour and number beside it, a line stays within 80.
const LONGEST_BAR: usize = 40;

/// One line a metric, one character an hour, scaled to the largest number of the line.
pub(crate) fn sparklines(hours: &[HourRow], palette: Palette) -> String {
    let line = |metric: &Metric| {
        let numbers: Vec<u64> = hours.iter().map(|row| metric.of(row.counts)).collect();
        let most = numbers.iter().copied().max().unwrap_or_default();
        let drawn: String = numbers.iter().map(|&number| HEIGHTS[share(number, most, HEIGHTS.len() - 1)]).collect();
        format!("{:<12}  {}  at most {most}\n", metric.name(), palette.paint(palette::DRAWN, drawn))
    };
    Metric::ALL.iter().map(line).collect()
}

pub(crate) fn bars(hours: &[HourRow], metric: Metric, palette: Palette) -> String {
    let numbers: Vec<u64> = hours.iter().map(|row| metric.of(row.counts)).collect();
    let most = numbers.iter().copied().max().unwrap_or_default();
    let width = most.to_string().len();
    let line = |(row, &number): (&HourRow, &u64)| {
        let eighths = share(number, most, LONGEST_BAR * 8);
        let bar = "█".repeat(eighths / 8) + WIDTHS[eighths % 8];
        let text = format!("{}  {number:>width$}", row.hour);
        if bar.is_empty() { text + "\n" } else { format!("{text}  {}\n", palette.paint(palette::DRAWN, bar)) }
    };
    let lines: String = hours.iter().zip(&numbers).map(line).collect();
    format!("{}\n{lines}", palette.paint(palette::HEADER, format!("{} each hour", metric.name())))
}

/// The number's share of the largest one, in parts: 0 for 0, else at least 1.
fn share(number: u64, most: u64, parts: usize) -> usize {
    let parts = u128::try_from(parts).unwrap_or_default();
    let share = (u128::from(number) * parts).checked_div(u128::from(most)).unwrap_or_default();
    usize::try_from(share).unwrap_or_default().max(usize::from(number > 0))
}

#[cfg(test)]
mod tests {
    use model::{Hour, HourCounts, HourRow, Timestamp};

    use super::{bars, share, sparklines};
    use crate::output::{metric::Metric, palette::Palette};

    fn hours() -> Vec<HourRow> {
        let hour = |number: i64| Hour::containing(Timestamp::from_millis(number * 3_600_000).unwrap());
        let counts = |clicks, impressions| HourCounts { unique_users: clicks, clicks, impressions };
        [counts(0, 0), counts(1, 900), counts(4, 1_000), counts(8, 5)]
            .into_iter()
            .zip(0..)
            .map(|(counts, number)| HourRow { hour: hour(number), counts, settled: false })
            .collect()
    }

    #[test]
    fn a_sparkline_shows_each_metric_by_its_own_measure() {
        insta::assert_snapshot!(sparklines(&hours(), Palette::PLAIN), @"
        unique_users  ▁▂▄█  at most 8
        clicks        ▁▂▄█  at most 8
        impressions   ▁▇█▂  at most 1000
        ");
    }

    #[test]
    fn bars_stand_beside_their_hours_and_numbers() {
        insta::assert_snapshot!(bars(&hours(), Metric::Impressions, Palette::PLAIN), @"
        impressions each hour
        1970-01-01T00:00:00Z     0
        1970-01-01T01:00:00Z   900  ████████████████████████████████████
        1970-01-01T02:00:00Z  1000  ████████████████████████████████████████
        1970-01-01T03:00:00Z     5  ▏
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
