use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// How far an import is, drawn on standard error if that is a terminal. Clones draw the same.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins with nothing read of so many bytes; none if nobody knows how many there are.
    pub(crate) fn begin(total_bytes: Option<u64>) -> Self {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = match total_bytes {
            Some(_) => "{bar:30} {binary_bytes} of {binary_total_bytes}, {msg}, {eta} to go",
            None => "{spinner} {binary_bytes}, {msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constant and valid");
        let bar = ProgressBar::with_draw_target(total_bytes, target).with_style(style).with_message("0 events");
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar }
    }

    /// Counts what is read from here on.
    pub(crate) fn watch(&self, reader: Box<dyn Read>) -> impl Read + use<> {
        self.bar.wrap_read(reader)
    }

    /// Shows how many events are stored.
    pub(crate) fn stored(&self, events: u64) {
        let millis = u64::try_from(self.bar.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = events.saturating_mul(1000) / millis;
        self.bar.set_message(format!("{} events, {}/s", HumanCount(events), HumanCount(rate)));
    }

    /// Says something without disturbing the drawing.
    pub(crate) fn tell(&self, line: &str) {
        self.bar.suspend(|| output::talk(line));
    }

    /// Takes the drawing away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
