//! Writes each event of the log as one line, whatever text of a client or the database it contains.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::telemetry::line_writer::{LineWriter, Room};

/// The target of lines about dropped lines.
pub(crate) const DROPPED: &str = "analyticsd::log";

/// Formats events so that no text in them can begin a new line, move a terminal's cursor or set its title, and passes
/// them to the writer.
pub(crate) struct LogLines {
    /// The writer of the lines.
    pub(crate) writer: LineWriter,
    /// Whether colours are allowed, as on a terminal.
    pub(crate) has_colours: bool,
}

impl LogLines {
    fn writer(&self, room: Room) -> OneLine<Enqueue<'_>> {
        OneLine { has_colours: self.has_colours, inside: Enqueue { writer: &self.writer, room } }
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = OneLine<Enqueue<'a>>;

    fn make_writer(&'a self) -> Self::Writer {
        self.writer(Room::Normal)
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        self.writer(match event {
            event if event.target() == DROPPED => Room::Reserved,
            event if *event.level() > Level::INFO => Room::Verbose,
            _ => Room::Normal,
        })
    }
}

/// Passes one line to a [`LineWriter`]. This never fails.
pub(crate) struct Enqueue<'a> {
    writer: &'a LineWriter,
    room: Room,
}

impl Write for Enqueue<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.writer.enqueue(line, self.room);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes each event, which comes as one buffer that ends with a newline, as exactly one line. Other control characters
/// are escaped as in JSON, `\n` or `\u009b`, so that a line of JSON stays valid. The formatter itself does not escape
/// them in most fields.
pub(crate) struct OneLine<W> {
    /// Whether escape sequences for colours pass. A client can send them too, but they only colour a line.
    has_colours: bool,
    inside: W,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.inside.write_all(one_line(&String::from_utf8_lossy(event), self.has_colours).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inside.flush()
    }
}

fn one_line(event: &str, has_colours: bool) -> Cow<'_, str> {
    let (line, end) = event.strip_suffix('\n').map_or((event, ""), |line| (line, "\n"));
    if !line.contains(is_control) {
        return Cow::Borrowed(event);
    }
    let mut escaped = String::with_capacity(event.len() + 16);
    for (place, character) in line.char_indices() {
        if is_control(character) && !(has_colours && is_colour(&line[place..])) {
            match character {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                other => {
                    let _ = write!(escaped, "\\u{:04x}", u32::from(other));
                }
            }
        } else {
            escaped.push(character);
        }
    }
    escaped.push_str(end);
    Cow::Owned(escaped)
}

/// Includes characters that only some readers treat as the end of a line, and those that reverse the direction of text,
/// which would disguise a line.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether the text begins with an escape sequence that only sets colours.
fn is_colour(text: &str) -> bool {
    text.strip_prefix("\x1b[")
        .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::OneLine;

    #[test]
    fn an_event_is_one_line_whatever_it_contains() {
        for (event, plain, coloured) in [
            ("plain \u{e4}\n", "plain \u{e4}\n", "plain \u{e4}\n"),
            ("a\nERROR b\r\n", "a\\nERROR b\\r\n", "a\\nERROR b\\r\n"),
            (
                "\u{9b}2J\u{2028}\0\x7f\t\n",
                "\\u009b2J\\u2028\\u0000\\u007f\\t\n",
                "\\u009b2J\\u2028\\u0000\\u007f\\t\n",
            ),
            (
                "{\"path\":\"/\u{202e}a\u{2066}\u{200f}\u{61c}\u{5d0}\"}\n",
                "{\"path\":\"/\\u202ea\\u2066\\u200f\\u061c\u{5d0}\"}\n",
                "{\"path\":\"/\\u202ea\\u2066\\u200f\\u061c\u{5d0}\"}\n",
            ),
            ("\x1b[2;31mdim\x1b[0m\n", "\\u001b[2;31mdim\\u001b[0m\n", "\x1b[2;31mdim\x1b[0m\n"),
            (
                "\x1b[2J\x1b]0;title\x07\x1b",
                "\\u001b[2J\\u001b]0;title\\u0007\\u001b",
                "\\u001b[2J\\u001b]0;title\\u0007\\u001b",
            ),
        ] {
            for (has_colours, expected) in [(false, plain), (true, coloured)] {
                let mut written = Vec::new();
                OneLine { has_colours, inside: &mut written }.write_all(event.as_bytes()).unwrap();
                assert_eq!(String::from_utf8(written).unwrap(), expected);
            }
        }
    }
}
