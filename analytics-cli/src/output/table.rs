use std::fmt::Write;

use super::palette::{self, Palette};

/// How the texts of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Lays out rows under a header in columns that are as wide as their longest text.
pub(crate) fn layout<const N: usize>(header: [(&str, Side); N], rows: &[[String; N]], palette: Palette) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let texts = rows.iter().map(|row| row[column].as_str()).chain([header[column].0]);
        texts.map(|text| text.chars().count()).max().unwrap_or_default()
    });
    let line = |texts: [&str; N]| {
        let mut line = String::new();
        for (column, text) in texts.iter().enumerate() {
            let width = widths[column];
            let written = match header[column].1 {
                Side::Left => write!(line, "{text:<width$}  "),
                Side::Right => write!(line, "{text:>width$}  "),
            };
            written.expect("writing into memory cannot fail");
        }
        line.trim_end().to_owned()
    };
    let titles = line(header.map(|(title, _)| title));
    let mut table = format!("{}\n", palette.paint(palette::HEADER, titles));
    for row in rows {
        table.push_str(&line(row.each_ref().map(String::as_str)));
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Side, layout};
    use crate::output::palette::Palette;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "1234567".to_owned()]];
        let table = |palette| layout([("name", Side::Left), ("number", Side::Right)], &rows, palette);
        assert_eq!(table(Palette::PLAIN), "name     number\na             1\nlonger  1234567\n");
        assert_eq!(
            table(Palette::COLORED),
            "\u{1b}[1mname     number\u{1b}[0m\na             1\nlonger  1234567\n",
            "only the header is set off"
        );
    }
}
