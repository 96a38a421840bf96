//! Pictures of a run, as SVG that follows the reader's light or dark scheme and can be read on a phone. `frame` is what
//! all share, `axis` and `label` their scales; every other file is one picture, of plain numbers.

mod axis;
pub(crate) mod by_percentile;
#[cfg_attr(not(test), expect(dead_code, reason = "nothing looks for the capacity yet"))]
pub(crate) mod capacity;
#[cfg_attr(not(test), expect(dead_code, reason = "nothing compares runs yet"))]
pub(crate) mod comparison;
mod frame;
pub(crate) mod heat_map;
mod label;
pub(crate) mod over_time;

#[cfg(test)]
mod tests;
