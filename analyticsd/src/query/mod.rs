//! Queries: the counts of an hour, ranges of hours, the current hour live, and whether the daemon is ready.

pub(crate) mod counts;
pub(crate) mod lanes;
pub(crate) mod live;
pub(crate) mod readiness;
pub(crate) mod reports;
