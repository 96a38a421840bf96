use std::collections::BTreeMap;

use client::Repeated;
use event_files::LeftOut;
use model::{EventKind, Hour};

use super::batch::{Batch, Kinds};
use crate::output::{
    counted,
    palette::Palette,
    table::{self, Side},
};

/// The most hours that are listed: more would push the totals off the screen.
const MAX_HOURS: usize = 24;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Events that the server stored.
    pub(crate) new: Kinds,
    /// Events that were stored before.
    pub(crate) repeated: Kinds,
    /// New events by hour, up to one more hour than are shown.
    hours: BTreeMap<Hour, Kinds>,
    /// The first and the last hour of all that the server acknowledged.
    range: Option<(Hour, Hour)>,
    /// Lines of logs that are no page views.
    left_out: BTreeMap<LeftOut, u64>,
    pub(crate) unreadable: u64,
    /// Files whose last line waits for its end.
    pub(crate) unfinished: u64,
    /// Of the hours: events that were stored before under their own key, whose hours the server does not tell.
    repeated_in_hours: u64,
}

impl Tally {
    /// Adds a batch that the server acknowledged.
    pub(crate) fn add(&mut self, batch: &Batch, repeated: Repeated) {
        self.leave_out(batch);
        let all = batch.kinds();
        let repeated = Kinds { clicks: repeated.clicks, impressions: repeated.impressions };
        self.repeated += repeated;
        for &hour in batch.hours().keys() {
            self.widen((hour, hour));
        }
        if repeated == all {
            return;
        }
        self.new += Kinds {
            clicks: all.clicks.saturating_sub(repeated.clicks),
            impressions: all.impressions.saturating_sub(repeated.impressions),
        };
        self.repeated_in_hours += repeated.events();
        for (&hour, &kinds) in batch.hours() {
            self.add_hour(hour, kinds);
        }
    }

    /// Events that the server acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.new.events() + self.repeated.events()
    }

    /// Adds what another tally has.
    pub(crate) fn join(&mut self, other: Self) {
        self.new += other.new;
        self.repeated += other.repeated;
        self.unreadable += other.unreadable;
        self.unfinished += other.unfinished;
        self.repeated_in_hours += other.repeated_in_hours;
        for (reason, lines) in other.left_out {
            *self.left_out.entry(reason).or_default() += lines;
        }
        for (hour, kinds) in other.hours {
            self.add_hour(hour, kinds);
        }
        if let Some(range) = other.range {
            self.widen(range);
        }
    }

    /// Adds an event that an earlier import stored.
    pub(crate) fn add_stored(&mut self, hour: Hour, kind: EventKind) {
        self.repeated.count(kind);
        self.widen((hour, hour));
    }

    fn widen(&mut self, (first, last): (Hour, Hour)) {
        let (own_first, own_last) = self.range.unwrap_or((first, last));
        self.range = Some((own_first.min(first), own_last.max(last)));
    }

    fn add_hour(&mut self, hour: Hour, kinds: Kinds) {
        if self.hours.len() <= MAX_HOURS || self.hours.contains_key(&hour) {
            *self.hours.entry(hour).or_default() += kinds;
        }
    }

    /// Adds what a batch left out.
    pub(crate) fn leave_out(&mut self, batch: &Batch) {
        for (&reason, lines) in batch.left_out() {
            *self.left_out.entry(reason).or_default() += lines;
        }
    }

    /// The first and the last hour of all that the server acknowledged.
    pub(crate) fn range(&self) -> Option<(Hour, Hour)> {
        self.range
    }

    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let (new, refused) = (counted(self.new.events(), "new event"), counted(self.unreadable, "refused line"));
        format!("{new}, {} repeated, {refused}", self.repeated.events())
    }

    /// Lines of `name,number`, as in the server's answers, and a table of the hours.
    pub(crate) fn summary(&self, palette: Palette) -> String {
        let Self { new, repeated, hours, range, left_out, unreadable, unfinished, repeated_in_hours } = self;
        let Kinds { clicks, impressions } = new;
        let line = |(reason, lines): (&LeftOut, &u64)| format!("left_out_{},{lines}\n", reason.name());
        let reasons = left_out.iter().map(line).collect::<Vec<_>>().concat();
        let totals = format!(
            "events,{}\nclicks,{clicks}\nimpressions,{impressions}\nrepeated,{}\nleft_out,{}\n{reasons}\
             unreadable,{unreadable}\nunfinished,{unfinished}\n",
            new.events(),
            repeated.events(),
            left_out.values().sum::<u64>()
        );
        let Some((first, last)) = range.filter(|_| !hours.is_empty()) else { return totals };
        if hours.len() > MAX_HOURS {
            return format!(
                "{totals}\nmore than {MAX_HOURS} hours, the first {first}, the last {last}; see `analytics-cli query --from {first} --to {last}`\n"
            );
        }
        let header = [("hour", Side::Left), ("clicks", Side::Right), ("impressions", Side::Right)];
        let row = |(hour, Kinds { clicks, impressions }): (&Hour, &Kinds)| {
            [hour.to_string(), clicks.to_string(), impressions.to_string()]
        };
        let note = match repeated_in_hours {
            0 => String::new(),
            events => format!("\n{events} of them were stored before, under their own key\n"),
        };
        format!("{totals}\n{}{note}", table::layout(header, &hours.iter().map(row).collect::<Vec<_>>(), palette))
    }
}

#[cfg(test)]
mod tests {
    use model::{Event, EventKind, Timestamp, UserName};

    use super::{Batch, MAX_HOURS, Palette, Repeated, Tally};

    fn tally(hours: usize) -> String {
        let mut tally = Tally::default();
        for number in 0..hours {
            let at = Timestamp::from_millis(i64::try_from(number).unwrap() * 3_600_000).unwrap();
            let mut batch = Batch::default();
            for kind in [EventKind::Click, EventKind::Impression, EventKind::Impression] {
                let event = Event { at, user: UserName::new("a").unwrap(), kind };
                assert!(batch.push(1, &event.into(), 9));
            }
            tally.add(&batch, Repeated::default());
            tally.add(&batch, Repeated::default());
        }
        tally.summary(Palette::PLAIN)
    }

    #[test]
    fn events_are_summed_in_all_and_by_hour() {
        insta::assert_snapshot!(tally(2), @"
        events,12
        clicks,4
        impressions,8
        repeated,0
        left_out,0
        unreadable,0
        unfinished,0

        hour                  clicks  impressions
        1970-01-01T00:00:00Z       2            4
        1970-01-01T01:00:00Z       2            4
        ");
        assert_eq!(tally(0).lines().count(), 7, "without an hour there is no table");
    }

    #[test]
    fn the_hours_of_a_day_are_listed_and_of_more_only_the_first_and_the_last() {
        assert_eq!(tally(MAX_HOURS).lines().count(), 7 + 2 + MAX_HOURS);
        let many = tally(MAX_HOURS + 9);
        assert_eq!(many.lines().count(), 9);
        assert!(many.starts_with("events,198\n") && many.contains("the last 1970-01-02T08:00:00Z;"), "{many}");
    }
}
