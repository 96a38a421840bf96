//! Numbers as people read them beside a picture.

pub(super) fn number(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", short(value / 1e6)),
        1e4.. => format!("{}k", short(value / 1e3)),
        _ => short(value),
    }
}

pub(super) fn millis(value: f64) -> String {
    match value {
        1e3.. => format!("{} s", short(value / 1e3)),
        1.0.. => format!("{} ms", short(value)),
        0.0 => "0".to_owned(),
        _ => format!("{} µs", short(value * 1e3)),
    }
}

/// A share from 0 to 1.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// With three digits, and no zeros at the end.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let decimals = if value >= 100.0 { 0 } else { 2 };
    // A share may be tiny.
    let decimals = if value > 0.0 && value < 0.1 { 4 } else { decimals };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub(super) fn float(number: usize) -> f64 {
    of_count(number as u64)
}

#[expect(clippy::cast_precision_loss, reason = "a place on a drawing has few digits")]
pub(super) fn of_count(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{millis, number, percent};

    #[test]
    fn a_label_has_few_digits_and_its_unit() {
        for (value, text) in [(0.0, "0"), (0.1 + 0.2, "0.3"), (9_999.0, "9999"), (12_340.0, "12.34k"), (2e6, "2M")] {
            assert_eq!(number(value), text);
        }
        for (value, text) in [(0.0, "0"), (0.05, "50 µs"), (1.5, "1.5 ms"), (250.0, "250 ms"), (90_000.0, "90 s")] {
            assert_eq!(millis(value), text);
        }
        for (share, text) in [(0.0, "0 %"), (0.000_05, "0.005 %"), (0.031_4, "3.14 %"), (1.0, "100 %")] {
            assert_eq!(percent(share), text);
        }
    }
}
