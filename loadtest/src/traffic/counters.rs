//! The counters that are loaded: one, or two that are compared.

use std::sync::Arc;

use crate::{
    checks::ledger::Ledger,
    hosts::{Host, Hosts},
    workload::plan::Side,
};

/// A counter, and what it must count.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) hosts: Hosts,
    /// Daemons of one database have one ledger.
    pub(crate) ledger: Arc<Ledger>,
}

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) new: Counter,
    /// The one that it is compared with, if there is one.
    pub(crate) old: Option<Counter>,
}

impl Counters {
    pub(crate) fn of(&self, side: Side) -> &Counter {
        match (side, &self.old) {
            (Side::Old, Some(old)) => old,
            _ => &self.new,
        }
    }

    /// Each with what it must count.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (&Host, &Ledger)> {
        let counters = std::iter::once(&self.new).chain(&self.old);
        counters.flat_map(|counter| counter.hosts.all().iter().map(|host| (host, &*counter.ledger)))
    }

    /// Each once, though several counters may have it.
    pub(crate) fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        let old = self.old.iter().filter(|old| !Arc::ptr_eq(&old.ledger, &self.new.ledger));
        std::iter::once(&self.new).chain(old).map(|counter| &*counter.ledger)
    }
}
