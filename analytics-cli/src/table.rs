use std::fmt::Write;

/// The side of its column that a text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// Lays out rows under a header in columns that are as wide as their longest text.
pub(crate) fn layout<const N: usize>(header: [(&str, Side); N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let texts = rows.iter().map(|row| row[column].as_str()).chain([header[column].0]);
        texts.map(|text| text.chars().count()).max().unwrap_or_default()
    });
    let mut table = String::new();
    let mut add = |texts: [&str; N]| {
        let mut line = String::new();
        for (column, text) in texts.iter().enumerate() {
            let width = widths[column];
            let written = match header[column].1 {
                Side::Left => write!(line, "{text:<width$}  "),
                Side::Right => write!(line, "{text:>width$}  "),
            };
            written.expect("writing into memory cannot fail");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    };
    add(header.map(|(title, _)| title));
    for row in rows {
        add(row.each_ref().map(String::as_str));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Side, layout};

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "1234567".to_owned()]];
        assert_eq!(
            layout([("name", Side::Left), ("number", Side::Right)], &rows),
            "name     number\na             1\nlonger  1234567\n"
        );
    }
}
