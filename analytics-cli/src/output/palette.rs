//! Colours, for streams that are terminals. Without colours, a text stays as it is, byte for byte.

use std::{
    ffi::OsString,
    fmt::{self, Display},
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::{AnsiColor, Style};
use clap::{ValueEnum, builder::styling::Styles};

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const SKIPPED: Style = Style::new().dimmed();
pub(crate) const HEADER: Style = Style::new().bold();
pub(crate) const DRAWN: Style = AnsiColor::Cyan.on_default();

pub(crate) const HELP: Styles = Styles::styled()
    .header(HEADER)
    .usage(HEADER)
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(SKIPPED)
    .error(ERROR)
    .valid(GOOD)
    .invalid(WARNING);

/// Sets the colours of all streams, as `--color` says.
pub(crate) fn choose(choice: clap::ColorChoice) {
    match choice {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Finds `--color` in arguments that are not parsed yet: clap prints help, and errors of the arguments, while it
/// parses.
pub(crate) fn asked_for(arguments: impl IntoIterator<Item = OsString>) -> clap::ColorChoice {
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    let mut choice = clap::ColorChoice::Auto;
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        let word = match argument.strip_prefix("--color") {
            Some("") => arguments.next(),
            Some(behind) => behind.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        let understood = word.and_then(|word| clap::ColorChoice::from_str(&word, false).ok());
        choice = understood.unwrap_or(choice);
    }
    choice
}

/// Whether a stream shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette {
    is_colored: bool,
}

impl Palette {
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_colored: false };
    #[cfg(test)]
    pub(crate) const COLORED: Self = Self { is_colored: true };

    /// `--color` decides, else the variables `NO_COLOR` and `CLICOLOR_FORCE`, else whether the stream is a terminal.
    pub(crate) fn of<S: RawStream>(stream: &S) -> Self {
        Self { is_colored: AutoStream::choice(stream) != ColorChoice::Never }
    }

    pub(crate) fn paint<T: Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.is_colored { style } else { Style::new() }, text }
    }
}

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
    use clap::ColorChoice;

    use super::{ERROR, Palette, asked_for};

    #[test]
    fn without_colours_a_text_is_what_it_was() {
        assert_eq!(Palette::PLAIN.paint(ERROR, "error:").to_string(), "error:");
        assert_eq!(Palette::COLORED.paint(ERROR, "error:").to_string(), "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m");
    }

    #[test]
    fn the_choice_is_found_among_arguments_that_are_not_understood_yet() {
        for (arguments, choice) in [
            (&["query"][..], ColorChoice::Auto),
            (&["--color", "always", "--help"], ColorChoice::Always),
            (&["nonsense", "--color=never"], ColorChoice::Never),
            (&["--color=always", "--color", "never"], ColorChoice::Never),
            (&["--color", "red"], ColorChoice::Auto),
            (&["--color"], ColorChoice::Auto),
            (&["import", "--", "--color=always"], ColorChoice::Auto),
        ] {
            assert_eq!(asked_for(arguments.iter().map(Into::into)), choice, "{arguments:?}");
        }
    }
}
