//! The current hour as it changes, for all listeners of the stream: one read at a time for all of a site, and none
//! without listeners.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, future::join_all, stream};
use model::{Hour, HourCounts, SiteHour, SiteId, Timestamp};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    query::{counts::ReadError, lanes::CountLanes},
    telemetry::metrics::Metrics,
};

/// How often the hour is read.
const PERIOD: Duration = Duration::from_millis(500);
/// The most listeners at a time.
const MAX_LISTENERS: usize = 1_000;

/// An hour and its counts.
pub(crate) type Counted = (Hour, HourCounts);

/// The result of the last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// The database does not answer; of several, this shard.
    Away(Option<usize>),
    /// The current hour, and the final counts of the hour before, if it ended during this run.
    Counts { ended: Option<Counted>, current: Counted },
    /// The daemon stops.
    Over,
}

/// A message to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// New counts of an hour.
    Counts(Counted),
    /// The database does not answer; of several, this shard. Counts follow when it answers again.
    Unavailable(Option<usize>),
}

/// The current hour, for many listeners at a time.
pub(crate) struct Live {
    lanes: Arc<CountLanes>,
    views: Mutex<Views>,
    places: Arc<Semaphore>,
}

/// What the listeners of each site see.
#[derive(Default)]
struct Views {
    of_sites: HashMap<SiteId, watch::Sender<View>>,
    /// Whether the daemon stops.
    are_over: bool,
}

impl Views {
    /// The sites that have listeners, and what these saw last. Others are forgotten.
    fn watched(&mut self) -> Vec<(SiteId, View)> {
        self.of_sites.retain(|_, view| view.receiver_count() > 0);
        self.of_sites.iter().map(|(site, view)| (*site, *view.borrow())).collect()
    }
}

impl Live {
    /// Without listeners yet. [`Live::look`] must run for them.
    pub(crate) fn new(lanes: Arc<CountLanes>) -> Self {
        Self { lanes, views: Mutex::default(), places: Arc::new(Semaphore::new(MAX_LISTENERS)) }
    }

    /// Adds the number of listeners to the metrics.
    pub(crate) fn watch(&self, metrics: &Metrics) {
        let places = Arc::downgrade(&self.places);
        metrics.watched.used(
            ("analyticsd_stream_listeners", "Clients that listen to the stream"),
            ("analyticsd_stream_limit_listeners", "The most clients that may listen to the stream"),
            vec![],
            move || Some((MAX_LISTENERS - places.upgrade()?.available_permits(), MAX_LISTENERS)),
        );
    }

    /// Reads the current hour periodically, of each site that has listeners. Never returns.
    pub(crate) async fn look(&self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let watched = self.views().watched();
            // Asked for at once, so that the lane reads them together.
            let views = watched.into_iter().map(async |(site, before)| (site, self.view_after(site, before).await));
            let seen = join_all(views).await;
            let views = self.views();
            for (site, view) in seen.into_iter().filter(|_| !views.are_over) {
                if let Some(of_site) = views.of_sites.get(&site) {
                    // Sent even if nothing changed: each listener compares with its own last message, and one that came
                    // between two reads has another.
                    of_site.send_replace(view);
                }
            }
        }
    }

    async fn view_after(&self, site: SiteId, before: View) -> View {
        let current = match self.current(site).await {
            Ok(current) => current,
            Err(shard) => return View::Away(shard),
        };
        match before {
            View::Counts { current: (hour, _), .. } if hour != current.0 => {
                let ended = self.lanes.counts(SiteHour { hour, site }).await.ok().map(|it| (hour, it.counts));
                View::Counts { ended, current }
            }
            View::Counts { ended, .. } => View::Counts { ended, current },
            View::Away(_) | View::Over => View::Counts { ended: None, current },
        }
    }

    /// An error is the shard that does not answer, of several.
    async fn current(&self, site: SiteId) -> Result<Counted, Option<usize>> {
        let hour = Hour::containing(Timestamp::now());
        match self.lanes.counts(SiteHour { hour, site }).await {
            Ok(it) => Ok((hour, it.counts)),
            Err(ReadError::Unavailable(shard)) => Err(shard),
            Err(ReadError::QueueFull) => Err(None),
        }
    }

    /// Ends every listener's stream, so that the daemon can stop.
    pub(crate) fn end(&self) {
        let mut views = self.views();
        views.are_over = true;
        for view in views.of_sites.values() {
            view.send_replace(View::Over);
        }
    }

    /// The counts of a site's current hour, at once and then whenever they change, until the daemon stops. `None` if
    /// there are too many listeners.
    pub(crate) async fn listen(&self, site: SiteId) -> Option<impl Stream<Item = News> + Send + use<>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut view = {
            let mut views = self.views();
            let first = if views.are_over { View::Over } else { View::Away(None) };
            views.of_sites.entry(site).or_insert_with(|| watch::Sender::new(first)).subscribe()
        };
        // The view may be old, so a new listener starts with a read of its own.
        view.borrow_and_update();
        let first = self.current(site).await.map_or_else(News::Unavailable, News::Counts);
        let listener = Listener { view, last: first, waiting: vec![first], _place: place };
        Some(stream::unfold(listener, Listener::next))
    }

    fn views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Listener {
    view: watch::Receiver<View>,
    /// The last message that it got.
    last: News,
    /// Its next messages, in reverse order.
    waiting: Vec<News>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(mut self) -> Option<(News, Self)> {
        loop {
            if let Some(news) = self.waiting.pop() {
                self.last = news;
                return Some((news, self));
            }
            let over = |view: &View| *view == View::Over;
            if over(&self.view.borrow()) {
                return None;
            }
            self.view.changed().await.ok()?;
            let view = *self.view.borrow_and_update();
            self.waiting = news(self.last, view);
        }
    }
}

/// The messages that a view means for a listener with this last message, in reverse order.
fn news(last: News, view: View) -> Vec<News> {
    let News::Counts((last_hour, _)) = last else {
        return match view {
            View::Counts { current, .. } => vec![News::Counts(current)],
            View::Away(shard) if last != News::Unavailable(shard) => vec![News::Unavailable(shard)],
            View::Away(_) | View::Over => Vec::new(),
        };
    };
    match view {
        View::Over => Vec::new(),
        View::Away(shard) => vec![News::Unavailable(shard)],
        View::Counts { ended, current } => {
            let ended = ended.filter(|(hour, _)| *hour == last_hour && current.0 != last_hour);
            let all = [Some(current), ended].into_iter().flatten().map(News::Counts);
            all.filter(|news| *news != last).collect()
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
    fn only_changes_are_sent_and_the_ended_hour_comes_before_the_new_one() {
        let (old, last, new) = (counted(1, 1), counted(1, 2), counted(2, 0));
        let view = |ended, current| View::Counts { ended, current };
        let last_sent = News::Counts(old);
        let table = [
            (last_sent, view(None, old), vec![]),
            (last_sent, view(None, last), vec![News::Counts(last)]),
            (last_sent, view(Some(last), new), vec![News::Counts(new), News::Counts(last)]),
            (last_sent, view(Some(old), new), vec![News::Counts(new)]),
            (News::Counts(new), view(Some(last), new), vec![]),
            (last_sent, View::Away(None), vec![News::Unavailable(None)]),
            (News::Unavailable(None), View::Away(None), vec![]),
            (News::Unavailable(Some(1)), View::Away(Some(2)), vec![News::Unavailable(Some(2))]),
            (News::Unavailable(None), view(Some(last), new), vec![News::Counts(new)]),
        ];
        for (last_sent, view, expected) in table {
            assert_eq!(news(last_sent, view), expected, "{last_sent:?}, {view:?}");
        }
    }
}
