//! Two spans of hours beside each other.

use model::{HourRow, Totals};

use super::{
    palette::Palette,
    table::{self, Side},
};

/// The sums of both spans. Unique users are left out: those of several hours do not add up.
pub(crate) fn comparison(hours: &[HourRow], earlier: &[HourRow], palette: Palette) -> String {
    let sum = |hours: &[HourRow]| hours.iter().map(|row| row.counts).collect::<Totals>();
    let (now, before) = (sum(hours), sum(earlier));
    let row =
        |name: &str, now: u64, before: u64| [name.to_owned(), now.to_string(), before.to_string(), change(now, before)];
    let header =
        [("sum", Side::Left), ("these hours", Side::Right), ("as many before", Side::Right), ("change", Side::Right)];
    table::layout(
        header,
        &[row("clicks", now.clicks, before.clicks), row("impressions", now.impressions, before.impressions)],
        palette,
    )
}

/// In percent, with one digit after the point.
fn change(now: u64, before: u64) -> String {
    let tenths = (i128::from(now) - i128::from(before)) * 1_000;
    match tenths.checked_div(i128::from(before)) {
        Some(tenths) => {
            let sign = if tenths < 0 { "-" } else { "+" };
            format!("{sign}{}.{} %", tenths.abs() / 10, tenths.abs() % 10)
        }
        None if now == 0 => "+0.0 %".to_owned(),
        None => "from none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::{Hour, HourCounts, HourRow, Timestamp};

    use super::{change, comparison};
    use crate::output::palette::Palette;

    #[test]
    fn sums_stand_beside_those_of_as_many_hours_before() {
        let hour = Hour::containing(Timestamp::from_millis(0).unwrap());
        let row = |clicks, impressions| HourRow {
            hour,
            counts: HourCounts { unique_users: 1, clicks, impressions },
            settled: false,
        };
        insta::assert_snapshot!(comparison(&[row(1, 1_000), row(2, 200)], &[row(4, 1_000), row(0, 0)], Palette::PLAIN), @"
        sum          these hours  as many before   change
        clicks                 3               4  -25.0 %
        impressions         1200            1000  +20.0 %
        ");
    }

    #[test]
    fn a_change_has_a_sign_and_one_digit() {
        for (now, before, expected) in [
            (0, 0, "+0.0 %"),
            (5, 0, "from none"),
            (0, 5, "-100.0 %"),
            (1, 3, "-66.6 %"),
            (u64::MAX, u64::MAX, "+0.0 %"),
        ] {
            assert_eq!(change(now, before), expected, "{now} after {before}");
        }
    }
}
