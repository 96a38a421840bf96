//! The current hour as it changes, for all who listen: one read at a time for all of them, and none while nobody does.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use model::{Hour, HourCounts, Timestamp};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{query::lanes::CountLanes, telemetry::metrics::Metrics};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// The most who listen at a time.
const MAX_LISTENERS: usize = 1_000;

/// An hour and what it counts.
pub(crate) type Counted = (Hour, HourCounts);

/// What was seen at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// The database does not answer.
    Away,
    /// The current hour, and what the one that ended last had come to.
    Counts { ended: Option<Counted>, current: Counted },
    /// The daemon stops.
    Over,
}

/// What a listener is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// An hour counts this now.
    Counts(Counted),
    /// The database does not answer. Counts follow when it does again.
    Unavailable,
}

/// The current hour, for many at a time.
pub(crate) struct Live {
    lanes: Arc<CountLanes>,
    view: watch::Sender<View>,
    places: Arc<Semaphore>,
}

impl Live {
    /// Nobody listens yet. [`Live::look`] must run for those who will.
    pub(crate) fn new(lanes: Arc<CountLanes>) -> Self {
        Self { lanes, view: watch::Sender::new(View::Away), places: Arc::new(Semaphore::new(MAX_LISTENERS)) }
    }

    /// Lets it be read among the numbers of the daemon how many listen.
    pub(crate) fn watch(&self, metrics: &Metrics) {
        let places = Arc::downgrade(&self.places);
        metrics.watch_use(
            ("analyticsd_stream_listeners", "Clients that listen to the stream"),
            ("analyticsd_stream_limit_listeners", "The most clients that may listen to the stream"),
            vec![],
            move || Some((MAX_LISTENERS - places.upgrade()?.available_permits(), MAX_LISTENERS)),
        );
    }

    /// Looks at the current hour again and again, as long as anybody listens. Never ends by itself.
    pub(crate) async fn look(&self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.view.receiver_count() == 0 {
                continue;
            }
            let before = *self.view.borrow();
            let view = self.view_after(before).await;
            // Told even if nothing changed: each listener knows what it was told, and one that came between two looks was told something else.
            self.view.send_if_modified(|there| {
                let goes_on = *there != View::Over;
                if goes_on {
                    *there = view;
                }
                goes_on
            });
        }
    }

    async fn view_after(&self, before: View) -> View {
        let Some(current) = self.current().await else { return View::Away };
        match before {
            View::Counts { current: (hour, _), .. } if hour != current.0 => {
                let ended = self.lanes.counts(hour).await.ok().map(|counts| (hour, counts));
                View::Counts { ended, current }
            }
            View::Counts { ended, .. } => View::Counts { ended, current },
            View::Away | View::Over => View::Counts { ended: None, current },
        }
    }

    async fn current(&self) -> Option<Counted> {
        let hour = Hour::containing(Timestamp::now());
        self.lanes.counts(hour).await.ok().map(|counts| (hour, counts))
    }

    /// Ends every listener's stream, so that the daemon can stop.
    pub(crate) fn end(&self) {
        self.view.send_replace(View::Over);
    }

    /// What the current hour counts, at once and then whenever it changes, until the daemon stops. None if too many listen already.
    pub(crate) async fn listen(&self) -> Option<impl Stream<Item = News> + Send + use<>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut view = self.view.subscribe();
        // What others saw some time ago is not what is asked for.
        view.borrow_and_update();
        let first = self.current().await.map_or(News::Unavailable, News::Counts);
        let listener = Listener { view, told: first, waiting: vec![first], _place: place };
        Some(stream::unfold(listener, Listener::next))
    }
}

struct Listener {
    view: watch::Receiver<View>,
    /// The last that it was told.
    told: News,
    /// What it is to be told next, the last one first.
    waiting: Vec<News>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(mut self) -> Option<(News, Self)> {
        loop {
            if let Some(news) = self.waiting.pop() {
                self.told = news;
                return Some((news, self));
            }
            let over = |view: &View| *view == View::Over;
            if over(&self.view.borrow()) {
                return None;
            }
            self.view.changed().await.ok()?;
            let view = *self.view.borrow_and_update();
            self.waiting = news(self.told, view);
        }
    }
}

/// What is news in a view to one who was told that before; the last to be told comes first.
fn news(told: News, view: View) -> Vec<News> {
    let News::Counts((told_hour, _)) = told else {
        return match view {
            View::Counts { current, .. } => vec![News::Counts(current)],
            View::Away | View::Over => Vec::new(),
        };
    };
    match view {
        View::Over => Vec::new(),
        View::Away => vec![News::Unavailable],
        View::Counts { ended, current } => {
            let ended = ended.filter(|(hour, _)| *hour == told_hour && current.0 != told_hour);
            let all = [Some(current), ended].into_iter().flatten().map(News::Counts);
            all.filter(|news| *news != told).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Hour, HourCounts, Timestamp};

    use super::{Counted, News, View, news};

    fn counted(hour: i64, clicks: u64) -> Counted {
        let hour = Hour::containing(Timestamp::from_millis(hour * 3_600_000).unwrap());
        (hour, HourCounts { clicks, ..HourCounts::default() })
    }

    #[test]
    fn only_what_changed_is_told_and_an_hour_that_ended_before_the_one_that_began() {
        let (old, last, new) = (counted(1, 1), counted(1, 2), counted(2, 0));
        let view = |ended, current| View::Counts { ended, current };
        let told = News::Counts(old);
        let table = [
            (told, view(None, old), vec![]),
            (told, view(None, last), vec![News::Counts(last)]),
            (told, view(Some(last), new), vec![News::Counts(new), News::Counts(last)]),
            (told, view(Some(old), new), vec![News::Counts(new)]),
            (News::Counts(new), view(Some(last), new), vec![]),
            (told, View::Away, vec![News::Unavailable]),
            (News::Unavailable, View::Away, vec![]),
            (News::Unavailable, view(Some(last), new), vec![News::Counts(new)]),
        ];
        for (told, view, expected) in table {
            assert_eq!(news(told, view), expected, "{told:?}, {view:?}");
        }
    }
}
