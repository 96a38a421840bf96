//! Limits the lines that each place in the program writes in a second, so that a fault that repeats thousands of times
//! a second does not flood the log.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// How many lines one place in the program may write each second.
const MAX_LINES_PER_SECOND: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Leaves out lines that come too often. Lines of level debug and trace, which the operator enabled, are never left
/// out. Clones share their state.
///
/// The number of places in the program bounds the map.
#[derive(Clone, Default)]
pub(crate) struct RepeatedLines(Arc<Mutex<HashMap<Identifier, Second>>>);

struct Second {
    began: Instant,
    lines: u32,
    left_out: u64,
    /// The message of the first line that was left out.
    message: String,
}

impl RepeatedLines {
    /// Whether a place may write another line.
    fn has_room(&self, place: Identifier, event: &Event<'_>) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = places.entry(place).or_insert_with(Second::new);
        if second.began.elapsed() >= SECOND {
            (second.began, second.lines) = (Instant::now(), 0);
        }
        if second.lines < MAX_LINES_PER_SECOND {
            second.lines += 1;
            return true;
        }
        if second.left_out == 0 {
            event.record(&mut Message(&mut second.message));
        }
        second.left_out += 1;
        false
    }

    /// Logs once a second how many lines were left out.
    pub(crate) async fn report_left_out(self) {
        loop {
            tokio::time::sleep(SECOND).await;
            self.report_now();
        }
    }

    fn report_now(&self) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = places.values_mut().filter(|second| second.left_out > 0);
        let left_out: Vec<_> = left_out
            .map(|second| (std::mem::take(&mut second.left_out), std::mem::take(&mut second.message)))
            .collect();
        // The lines below need the lock themselves.
        drop(places);
        for (lines, message) in left_out {
            tracing::warn!(lines, "more lines of this kind were left out: {message}");
        }
    }
}

impl<S: Subscriber> Layer<S> for RepeatedLines {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        *metadata.level() > Level::INFO || self.has_room(metadata.callsite(), event)
    }
}

impl Second {
    fn new() -> Self {
        Self { began: Instant::now(), lines: 0, left_out: 0, message: String::new() }
    }
}

/// Takes the message of an event without its other fields.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::{MAX_LINES_PER_SECOND, RepeatedLines};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_lines_of_each_place_are_limited_separately() {
        let (repeated, written) = (RepeatedLines::default(), Written::default());
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(repeated.clone()).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1_000 {
                tracing::error!(number, "the same");
                tracing::debug!("asked for");
            }
            tracing::info!("another");
            repeated.report_now();
            repeated.report_now();
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let count = |text: &str| written.lines().filter(|line| line.contains(text)).count();
        // The machine may be so slow that a second or two pass meanwhile.
        let same = count("ERROR");
        assert!(same >= MAX_LINES_PER_SECOND as usize && same < 1_000, "{same}");
        assert_eq!((count("asked for"), count("another")), (1_000, 1));
        assert_eq!(count("WARN"), 1, "{written}");
        let report = format!("more lines of this kind were left out: the same lines={}", 1_000 - same);
        assert_eq!(count(&report), 1, "{written}");
    }
}
