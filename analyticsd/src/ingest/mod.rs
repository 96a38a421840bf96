//! Events on their way into the database: lanes, their batchers, and the spool for outages of the database.

pub(crate) mod backoff;
pub(crate) mod batcher;
mod commit;
pub(crate) mod expired;
pub(crate) mod job;
pub(crate) mod lanes;
pub(crate) mod limits;
pub(crate) mod losses;
mod pending;
pub(crate) mod shard_lanes;
pub(crate) mod spool;
pub(crate) mod storing;
