use std::fmt;

use super::batch::Batch;

/// What an import came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Events that the server acknowledged.
    pub(crate) events: u64,
    /// Those of them that are clicks.
    pub(crate) clicks: u64,
    /// Requests of an access log that are not page views.
    pub(crate) not_page_views: u64,
    /// Lines that could not be read.
    pub(crate) unreadable: u64,
}

impl Tally {
    /// Counts a batch that the server acknowledged.
    pub(crate) fn add(&mut self, batch: &Batch) {
        self.events += batch.lines().len() as u64;
        self.clicks += batch.clicks();
    }
}

impl fmt::Display for Tally {
    /// Lines of `name,number`, as the server answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, clicks, not_page_views, unreadable } = self;
        writeln!(f, "events,{events}\nclicks,{clicks}\nimpressions,{}", events - clicks)?;
        writeln!(f, "not_page_views,{not_page_views}\nunreadable,{unreadable}")
    }
}
