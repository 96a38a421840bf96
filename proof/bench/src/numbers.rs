//! Medians, and numbers written for people.

/// The middle value, or the mean of the two middle ones; none without values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => None,
        odd if !odd.is_multiple_of(2) => Some(values[odd / 2]),
        even => Some(f64::midpoint(values[even / 2 - 1], values[even / 2])),
    }
}

/// A number with about three significant digits, and commas between thousands.
pub(crate) fn figure(number: f64) -> String {
    let decimals = match number {
        0.0 => 0,
        large if large >= 99.95 => 0,
        middle if middle >= 9.995 => 1,
        small if small >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.find('.').map_or((text.as_str(), ""), |point| text.split_at(point));
    with_commas(whole) + fraction
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    with_commas(&number.to_string())
}

fn with_commas(digits: &str) -> String {
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{figure, grouped, median};

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![30.0, 10.0, 20.0]), Some(20.0));
        assert_eq!(median(vec![40.0, 10.0, 30.0, 20.0]), Some(25.0));
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn figures_keep_about_three_digits() {
        let table = [
            (0.0, "0"),
            (0.002_34, "0.002"),
            (0.254, "0.25"),
            (1.0, "1.00"),
            (9.999, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (1_000.0, "1,000"),
            (48_600.4, "48,600"),
            (1_234_567.0, "1,234,567"),
        ];
        for (number, expected) in table {
            assert_eq!(figure(number), expected);
        }
        assert_eq!(grouped(10_000_000), "10,000,000");
    }
}
