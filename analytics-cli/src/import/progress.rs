use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Drawn on standard error if that is a terminal. Clones share the drawing.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
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

    pub(crate) fn watch<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.bar.wrap_read(reader)
    }

    pub(crate) fn stored(&self, events: u64) {
        let millis = u64::try_from(self.bar.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = events.saturating_mul(1000) / millis;
        self.bar.set_message(format!("{} events, {}/s", HumanCount(events), HumanCount(rate)));
    }

    /// Writes a message without disturbing the drawing.
    pub(crate) fn message(&self, line: &str) {
        self.bar.suspend(|| output::message(line));
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
