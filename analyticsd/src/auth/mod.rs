//! Who may come in, and how often. The HTTP service asks the [`Gate`] before a request reaches its handler.
//!
//! The table of routes says which [`Policy`] an endpoint has. `credentials` reads what a request shows, and the gate looks it up in
//! [`Tokens`], the daemon's copy of the table of tokens; `freshness` says for how long that copy holds, and `token_cache` keeps it
//! on disk. `rate_limit` counts requests, `proxies` finds the address that a request comes from, `origin` the page, `cors` says
//! which pages may read answers, and `local` which requests come from this machine, as long as there is no token.

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
pub(crate) use cors::preflight;
pub(crate) use denial::{Denial, Limit, RateLimited, Refusal};
pub(crate) use gate::{Asked, Entry, Gate, Peer, StillAllowed};
pub(crate) use policy::Policy;
pub(crate) use proxies::ForwardedHeader;
pub(crate) use rate::Rate;
pub(crate) use tokens::Tokens;
