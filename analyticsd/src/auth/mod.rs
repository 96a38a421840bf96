//! Access control and rate limits. The HTTP service asks the [`Gate`] before a request reaches its handler.
//!
//! The table of routes gives each endpoint a [`Policy`]. `credentials` reads the token of a request, and the gate looks
//! it up in [`AccessTables`], the daemon's copy of the tables of tokens and of sites. `freshness` limits how long that
//! copy is valid, and `access_cache` keeps it on disk. `rate_limit` counts requests, `proxies` finds the client's
//! address, `origin` the page's origin. `cors` decides which pages may read answers. As long as there is no token,
//! `local` decides which requests come from this machine.
//!
//! The handler asks [`RequestSites`] for the site that the request is for, since the site may stand in the body.

mod access_cache;
mod access_tables;
mod batch_sites;
mod config;
mod cors;
mod credentials;
mod denial;
mod freshness;
mod gate;
mod known_sites;
mod known_tokens;
mod local;
pub(crate) mod network;
mod origin;
mod policy;
mod proxies;
mod rate;
mod rate_limit;
mod sites;

pub(crate) use access_tables::AccessTables;
pub(crate) use batch_sites::BatchSites;
pub(crate) use config::AccessConfig;
pub(crate) use config::OpenWithoutTokens;
pub(crate) use cors::preflight;
pub(crate) use denial::{Denial, Limit, RateLimited, Refusal};
pub(crate) use gate::{Asked, Entry, Gate, Peer, StillAllowed};
pub(crate) use policy::Policy;
pub(crate) use proxies::ForwardedHeader;
pub(crate) use rate::Rate;
pub(crate) use sites::{RequestSites, SiteRefusal, Sites};
