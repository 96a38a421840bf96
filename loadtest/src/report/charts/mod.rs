//! Pictures of a run, as SVG that follows the reader's light or dark scheme and can be read on a phone. `frame` is what
//! all share, `axis` and `label` their scales; every other file is one picture, of plain numbers.

mod axis;
pub(crate) mod by_percentile;
pub(crate) mod capacity;
pub(crate) mod comparison;
mod frame;
pub(crate) mod heat_map;
mod label;
pub(crate) mod over_time;

#[cfg(test)]
mod tests;
