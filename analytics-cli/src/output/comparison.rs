//! Two spans of time beside each other.

use client::{Periods, UniqueUsers};
use model::Step;

use super::{
    palette::Palette,
    table::{self, Side},
};

/// What both spans have in all.
pub(crate) fn comparison(step: Step, periods: &Periods, earlier: &Periods, palette: Palette) -> String {
    let row = |name: &str, now: Option<u64>, before: Option<u64>| {
        let shown = |number: Option<u64>| number.map_or("unknown".to_owned(), |number| number.to_string());
        let change = now.zip(before).map(|(now, before)| change(now, before)).unwrap_or_default();
        [name.to_owned(), shown(now), shown(before), change]
    };
    let users = |periods: &Periods| match periods.unique_users {
        UniqueUsers::Exactly(users) => Some(users),
        UniqueUsers::Unknown => None,
    };
    let [now, before] = [periods, earlier].map(Periods::totals);
    let these = if periods.periods.len() == 1 { format!("this {step}") } else { format!("these {step}s") };
    let header =
        [(these.as_str(), Side::Left), ("in all", Side::Right), ("before", Side::Right), ("change", Side::Right)];
    let rows = [
        row("unique_users", users(periods), users(earlier)),
        row("clicks", Some(now.clicks), Some(before.clicks)),
        row("impressions", Some(now.impressions), Some(before.impressions)),
    ];
    table::layout(header, &rows, palette)
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
    use client::{Periods, UniqueUsers};
    use model::{Hour, Period, Step, Timestamp};

    use super::{change, comparison};
    use crate::output::palette::Palette;

    #[test]
    fn sums_stand_beside_those_of_as_many_periods_before() {
        let hour = Hour::containing(Timestamp::from_millis(0).unwrap());
        let period = |(clicks, impressions)| Period {
            start: String::new(),
            from: hour,
            to: hour,
            unique_users: Some(1),
            clicks,
            impressions,
            settled: false,
        };
        let of = |counts: [(u64, u64); 2], unique_users| Periods {
            periods: counts.map(period).to_vec(),
            unique_users,
            unknown_in: Vec::new(),
        };
        let now = of([(1, 1_000), (2, 200)], UniqueUsers::Exactly(2));
        let before = |users| of([(4, 1_000), (0, 0)], users);
        insta::assert_snapshot!(comparison(Step::Hour, &now, &before(UniqueUsers::Exactly(1)), Palette::PLAIN), @"
        these hours   in all  before    change
        unique_users       2       1  +100.0 %
        clicks             3       4   -25.0 %
        impressions     1200    1000   +20.0 %
        ");
        let unknown = comparison(Step::Day, &now, &before(UniqueUsers::Unknown), Palette::PLAIN);
        assert!(unknown.contains("these days") && unknown.contains("unknown"), "{unknown}");
        let day = Periods { periods: now.periods[..1].to_vec(), ..now.clone() };
        let day = comparison(Step::Day, &day, &before(UniqueUsers::Exactly(1)), Palette::PLAIN);
        assert!(day.starts_with("this day "), "{day}");
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
