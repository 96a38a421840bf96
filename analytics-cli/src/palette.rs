//! Colours, for streams that are terminals. Text that is not to be seen in colour is left as it is, byte for byte.

use std::fmt::{self, Display};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::{AnsiColor, Style};

/// The words that begin an error.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What deserves a look.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What was not done.
pub(crate) const SKIPPED: Style = Style::new().dimmed();
/// Whether a stream shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette {
    is_colored: bool,
}

impl Palette {
    /// No colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_colored: false };
    /// Colours.
    #[cfg(test)]
    pub(crate) const COLORED: Self = Self { is_colored: true };

    /// What suits a stream: what `--color` says, else the variables `NO_COLOR` and `CLICOLOR_FORCE`, else whether it is a terminal.
    pub(crate) fn of<S: RawStream>(stream: &S) -> Self {
        Self { is_colored: AutoStream::choice(stream) != ColorChoice::Never }
    }

    /// A text in a style.
    pub(crate) fn paint<T: Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.is_colored { style } else { Style::new() }, text }
    }
}

/// A text that is written in its style.
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:#}", self.style, self.text, self.style)
    }
}

#[cfg(test)]
mod tests {
    use super::{ERROR, Palette};

    #[test]
    fn without_colours_a_text_is_what_it_was() {
        assert_eq!(Palette::PLAIN.paint(ERROR, "error:").to_string(), "error:");
        assert_eq!(Palette::COLORED.paint(ERROR, "error:").to_string(), "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m");
    }
}
