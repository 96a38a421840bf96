//! Where the log goes: to standard error, each event in one line, whatever a client or the database put into it.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Stderr, Write},
};

/// Standard error, in which no text can begin a line of its own or move a terminal's cursor.
pub fn stderr() -> OneLine<Stderr> {
    OneLine(io::stderr())
}

/// Writes each event, which comes as one piece that ends with a newline, as exactly one line: other control characters in it are written as Rust writes
/// them, `\n` or `\u{9b}`. The beginning of an escape sequence is left alone: colours are the formatter's own, and it lets nobody else's pass.
pub struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn one_line(event: &str) -> Cow<'_, str> {
    let (line, end) = event.strip_suffix('\n').map_or((event, ""), |line| (line, "\n"));
    if !line.contains(breaks_lines) {
        return Cow::Borrowed(event);
    }
    let mut escaped = String::with_capacity(event.len() + 16);
    for character in line.chars() {
        if breaks_lines(character) {
            let _ = write!(escaped, "{}", character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped.push_str(end);
    Cow::Owned(escaped)
}

/// Also what only some readers take for the end of a line.
fn breaks_lines(character: char) -> bool {
    (character.is_control() && character != '\x1b') || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::OneLine;

    #[test]
    fn an_event_is_one_line_whatever_stands_in_it() {
        for (event, line) in [
            ("plain \u{e4}\n", "plain \u{e4}\n"),
            ("a\nERROR b\r\n", "a\\nERROR b\\r\n"),
            ("\u{9b}2J\u{2028}\0\x7f\t\n", "\\u{9b}2J\\u{2028}\\u{0}\\u{7f}\\t\n"),
            ("\x1b[2mdim\x1b[0m\n", "\x1b[2mdim\x1b[0m\n"),
            ("no end", "no end"),
        ] {
            let mut written = Vec::new();
            OneLine(&mut written).write_all(event.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), line);
        }
    }
}
