//! Who may come in, and how often: what [`front`](crate::front) asks before a request reaches its route.
//!
//! [`Gate`] decides. What a path needs is said in one table, `needed`; who shows what is told from the headers by `shown`, and
//! checked against [`Tokens`], the daemon's copy of the table of tokens, which `freshness` says how long to rely on. `buckets` counts requests, `proxies` tells from which address they came, `cors` says
//! what pages of other origins may see, `local` which of them may ask while there is no token yet, `page` which one asks, `denial` what is answered to those who may not, and `kept`
//! is where the copy outlives the process.

mod config;
mod cors;
mod credentials;
mod denial;
mod freshness;
mod gate;
mod local;
pub(crate) mod network;
mod origin;
mod policy;
mod proxies;
mod rate;
mod rate_limit;
mod token_cache;
mod tokens;

pub(crate) use config::AccessConfig;
pub use config::NobodyMayListen;
pub(crate) use gate::{Asked, Entry, Peer, StillAllowed};
pub(crate) use gate::{Gate, Service};
pub(crate) use policy::{Needed, by_public as needed_by_public};
pub(crate) use proxies::ForwardedHeader;
pub(crate) use rate::Rate;
pub(crate) use tokens::Tokens;
