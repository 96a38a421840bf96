//! The events that this run sent, and their answers, by hour of a site: the least and the most that the
//! counts of each may be.
//!
//! An event is open from before it is sent until it is answered. An acknowledged event must be counted, a refused one
//! must not. An event without an answer stays open and may be counted or not. So at every moment `before +
//! acknowledged <= counted <= before + acknowledged + open`.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::HourCounts;

use super::{
    bounds::{Bounds, Events, Rules, Sent},
    sightings::{Sightings, When},
};
use crate::workload::{mix::PlannedEvent, sites::SiteHour, visitors::Visitor};

/// Takes some 30 bytes for each visitor of each hour.
#[derive(Debug)]
pub(crate) struct Ledger {
    rules: Rules,
    pages: Mutex<HashMap<SiteHour, Page>>,
    sightings: Mutex<Sightings>,
}

#[derive(Debug, Default)]
struct Page {
    before: HourCounts,
    acknowledged: Events,
    open: Events,
    visitors: HashMap<Visitor, Visits>,
    acknowledged_visitors: u64,
}

#[derive(Debug, Default)]
struct Visits {
    acknowledged: bool,
    open: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The events are stored.
    Acknowledged,
    /// The events are not stored.
    Refused,
    /// There was no answer.
    None,
}

impl Ledger {
    /// Begins with the counts of these hours. Other hours begin at zero.
    pub(crate) fn new(before: HashMap<SiteHour, HourCounts>, rules: Rules) -> Self {
        let pages = before.into_iter().map(|(hour, before)| (hour, Page { before, ..Page::default() })).collect();
        Self { rules, pages: Mutex::new(pages), sightings: Mutex::default() }
    }

    /// To be called before events are sent.
    pub(crate) fn open(&self, events: &[PlannedEvent]) {
        let mut pages = self.pages();
        for event in events {
            let page = pages.entry(event.hour()).or_default();
            *page.open.count_mut(event.kind) += 1;
            page.visitors.entry(event.visitor).or_default().open += 1;
        }
    }

    /// To be called when events were answered, or when it is clear that there will be no answer.
    pub(crate) fn close(&self, events: &[PlannedEvent], answer: Answer) {
        if answer == Answer::None {
            return;
        }
        let mut pages = self.pages();
        for event in events {
            let page = pages.entry(event.hour()).or_default();
            *page.open.count_mut(event.kind) -= 1;
            let visits = page.visitors.entry(event.visitor).or_default();
            visits.open -= 1;
            if answer == Answer::Acknowledged {
                *page.acknowledged.count_mut(event.kind) += 1;
                page.acknowledged_visitors += u64::from(!visits.acknowledged);
                visits.acknowledged = true;
            } else if visits.open == 0 && !visits.acknowledged {
                page.visitors.remove(&event.visitor);
            }
        }
    }

    pub(crate) fn bounds(&self, hour: SiteHour) -> Bounds {
        self.sent(hour).bounds(self.rules)
    }

    /// What was sent until now for every hour that is known, site by site, in ascending order: for hours without an event
    /// too, since nothing may be counted there.
    pub(crate) fn all_sent(&self) -> Vec<(SiteHour, Sent)> {
        let mut sent: Vec<_> = self.pages().iter().map(|(&hour, page)| (hour, page.sent())).collect();
        sent.sort_unstable_by_key(|(hour, _)| *hour);
        sent
    }

    /// Whether other parts of the run must be known to judge a read wholly.
    pub(crate) fn is_of_a_part(&self) -> bool {
        self.rules.part
    }

    /// Keeps what was read for when the other parts of the run are known.
    pub(crate) fn saw(&self, when: When, acknowledged: u64, counted: u64) {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).add(when, acknowledged, counted);
    }

    pub(crate) fn sightings(&self) -> Sightings {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn sent(&self, hour: SiteHour) -> Sent {
        self.pages().get(&hour).map(Page::sent).unwrap_or_default()
    }

    /// The number of acknowledged events, and of open ones.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.pages()
            .values()
            .fold((0, 0), |(acknowledged, open), page| (acknowledged + page.acknowledged.sum(), open + page.open.sum()))
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<SiteHour, Page>> {
        // No code that holds the lock panics halfway.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn sent(&self) -> Sent {
        Sent {
            before: self.before,
            acknowledged: self.acknowledged,
            acknowledged_visitors: self.acknowledged_visitors,
            open: self.open,
            visitors: self.visitors.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use model::{EventKind, HourCounts, Timestamp};

    use super::{Answer, Ledger};
    use crate::{
        checks::bounds::{Rules, Strangers},
        workload::{mix::PlannedEvent, sites::SiteHour},
    };

    fn event(visitor: u64, kind: EventKind) -> PlannedEvent {
        PlannedEvent { site: 0, at: Timestamp::from_millis(5).unwrap(), visitor, kind }
    }

    fn hour() -> SiteHour {
        event(0, EventKind::Click).hour()
    }

    fn counts(unique_users: u64, clicks: u64, impressions: u64) -> HourCounts {
        HourCounts { unique_users, clicks, impressions }
    }

    fn ledger(strangers: Strangers, shared: bool) -> Ledger {
        Ledger::new(HashMap::from([(hour(), counts(10, 2, 30))]), Rules { strangers, shared, part: false })
    }

    #[test]
    fn what_is_acknowledged_must_be_counted_what_is_refused_must_not_and_what_is_open_may() {
        let ledger = ledger(Strangers::All, false);
        let [stored, refused, lost] = [1, 2, 3].map(|visitor| [event(visitor, EventKind::Click)]);
        for (event, answer) in [(stored, Answer::Acknowledged), (refused, Answer::Refused), (lost, Answer::None)] {
            ledger.open(&event);
            ledger.close(&event, answer);
        }
        let bounds = ledger.bounds(hour());
        assert_eq!((bounds.least, bounds.most), (counts(11, 3, 30), Some(counts(12, 4, 30))));
        assert_eq!(ledger.totals(), (1, 1));
        assert!(bounds.faults(counts(11, 3, 30)).is_empty());
        assert!(bounds.faults(counts(12, 4, 30)).is_empty());
    }

    #[test]
    fn a_fault_names_what_is_missing_or_too_many() {
        let ledger = ledger(Strangers::All, false);
        ledger.open(&[event(1, EventKind::Impression)]);
        ledger.close(&[event(1, EventKind::Impression)], Answer::Acknowledged);
        let faults = |counts| ledger.bounds(hour()).faults(counts).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(faults(counts(11, 2, 30)), ["30 impressions, at least 31 were acknowledged: 1 missing"]);
        assert_eq!(faults(counts(11, 4, 31)), ["4 clicks, at most 2 were sent: 2 too many"]);
        assert_eq!(faults(counts(11, 2, 31)), Vec::<String>::new());
    }

    #[test]
    fn a_visitor_counts_once_and_one_who_was_refused_elsewhere_still_counts() {
        let ledger = ledger(Strangers::All, false);
        let twice = [event(1, EventKind::Click), event(1, EventKind::Impression)];
        ledger.open(&twice);
        ledger.close(&twice, Answer::Acknowledged);
        ledger.open(&twice);
        ledger.close(&twice, Answer::Refused);
        assert_eq!(ledger.bounds(hour()).least, counts(11, 3, 31));
        assert_eq!(ledger.bounds(hour()).most, Some(counts(11, 3, 31)));
    }

    #[test]
    fn each_site_counts_its_own_events_and_visitors() {
        let ledger = ledger(Strangers::All, false);
        let elsewhere = PlannedEvent { site: 1, ..event(1, EventKind::Click) };
        let both = [event(1, EventKind::Click), elsewhere];
        ledger.open(&both);
        ledger.close(&both, Answer::Acknowledged);
        assert_eq!(ledger.all_sent().into_iter().map(|(hour, _)| hour).collect::<Vec<_>>(), [hour(), elsewhere.hour()]);
        assert_eq!(ledger.bounds(hour()).least, counts(11, 3, 30));
        assert_eq!(ledger.bounds(elsewhere.hour()).least, counts(1, 1, 0));
    }

    #[test]
    fn visitors_who_may_have_been_there_before_are_between_bounds() {
        let ledger = ledger(Strangers::Perhaps, false);
        for visitor in 0..12 {
            ledger.open(&[event(visitor, EventKind::Click)]);
            ledger.close(&[event(visitor, EventKind::Click)], Answer::Acknowledged);
        }
        let bounds = ledger.bounds(hour());
        assert_eq!((bounds.least.unique_users, bounds.most.unwrap().unique_users), (12, 22));
    }

    #[test]
    fn where_others_write_too_there_is_no_upper_bound() {
        let bounds = ledger(Strangers::All, true).bounds(hour());
        assert!(bounds.faults(counts(1_000, 1_000, 1_000)).is_empty());
        assert_eq!(bounds.faults(counts(9, 2, 30)).len(), 1);
    }
}
