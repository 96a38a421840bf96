//! Which requests are made, and when. Nothing here knows HTTP.

pub(crate) mod kind;
pub(crate) mod mix;
pub(crate) mod phases;
pub(crate) mod plan;
pub(crate) mod replay;
pub(crate) mod schedule;
pub(crate) mod search;
pub(crate) mod sites;
pub(crate) mod visitors;
