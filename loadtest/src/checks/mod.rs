//! Whether the run was right: `before` looks what there is, `daemon` asks for it, `ledger` knows what must be counted,
//! within `bounds`, `sightings` what the parts of a run saw of it, `verdict` compares it with the daemon, `gates` compares the measurements with the command line,
//! `outlook` while the run goes on, and `comparison` compares them with those of another run.

pub(crate) mod before;
pub(crate) mod bounds;
pub(crate) mod comparison;
pub(crate) mod daemon;
pub(crate) mod gates;
pub(crate) mod ledger;
pub(crate) mod outlook;
pub(crate) mod sightings;
pub(crate) mod verdict;
