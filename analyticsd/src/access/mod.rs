//! Who may come in, and how often: what [`front`](crate::front) asks before a request reaches its route.
//!
//! [`Gate`] decides. What a path needs is said in one table, `needed`; who shows what is told from the headers by `shown`, and
//! checked against [`Tokens`], the daemon's copy of the table of tokens, which `freshness` says how long to rely on. `buckets` counts requests, `proxies` tells from which address they came, `cors` says
//! what pages of other origins may see, `local` which of them may ask while there is no token yet, `page` which one asks, `denial` what is answered to those who may not, and `kept`
//! is where the copy outlives the process.

mod buckets;
mod config;
mod cors;
mod denial;
mod freshness;
mod gate;
mod kept;
mod local;
mod needed;
mod page;
mod proxies;
mod rate;
mod shown;
mod tokens;

pub use config::{AccessConfig, NobodyMayListen};
pub(crate) use gate::{Asked, Entry, Peer, StillAllowed};
pub use gate::{Gate, Service};
pub(crate) use needed::{Needed, by_public as needed_by_public};
pub use proxies::ForwardedHeader;
pub use rate::{InvalidRate, Rate};
pub use tokens::Tokens;
