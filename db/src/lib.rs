//! Everything that speaks SQL, and nothing else does. What the product means by an event being stored, counted or settled is
//! decided by the functions in `functions/`; the Rust here calls them and turns what can go wrong into types.
//!
//! - [`Store`] holds the connections, and answers [`Store::counts`];
//! - [`Shards`] are the databases of one counter, each of which says of itself which one it is ([`Identity`]);
//! - [`Writer`] stores batches one at a time, [`Pipeline`] several under way; [`Undecided`] finds out what became of those whose
//!   connection died;
//! - [`Claim`] is what keeps events under an idempotency key from being stored twice, a [`model::SourceStep`] those of an ordered source;
//! - [`Settler`] moves quiet hours from their counters to the hourly aggregate, and keeps sets of who was seen;
//! - [`UniqueUsers`] of any range are told from those sets;
//! - [`Auditor`] compares every hour with its raw events, and rebuilds those that differ, and forgets visitors;
//! - [`Retention`] deletes old raw events, and says which events can no longer be accepted;
//! - [`AccessTokens`] is the table of those who may come in, [`Sites`] that of the counters that have a name;
//! - [`schema`] brings a database to the schema that this build knows, or says how it differs;
//! - [`pooler`] finds out whether connections are sessions of their own;
//! - [`roles`] say who may do what in it;
//! - [`Examination`] looks at a database for what may be wrong with it, [`objects`] are what its schema is made of;
//! - [`embedded`] runs a private database for trials and tests.

mod access_tokens;
mod attempt;
mod audit;
mod backfill;
mod claims;
mod columns;
mod connection;
mod depth;
mod diagnosis;
pub mod embedded;
mod error;
mod examination;
mod fate;
mod fence;
mod flavour;
mod forgetting;
mod identity;
mod ingest_call;
mod known_visitors;
mod losses;
mod moving;
pub mod objects;
mod pipeline;
pub mod pooler;
mod raw_events_examination;
mod read_only_logins;
mod refusals;
mod registration;
mod retention;
pub mod roles;
mod rollbacks;
pub mod schema;
mod service;
mod settler;
mod shards;
mod shared_settings;
mod sites;
mod sources;
mod store;
mod sums;
mod tls_faults;
mod unique_users;
mod visitor_set;
mod writer;

pub use access_tokens::{AccessTokenRow, AccessTokens, LiveAccessToken, LiveAccessTokens, NewAccessToken};
pub use audit::{AuditedHour, Auditor, Difference, Repaired, Tally};
pub use claims::Claim;
pub use connection::{
    Connected, DatabaseUrlError, PoolUse, StoreOptions, check_database_url, has_password, mask_password,
    mask_passwords_in, unproven_hosts,
};
pub use depth::{Depth, MAX_DEPTH};
pub use error::{StoreError, describe};
pub use examination::{Access, Clock, Examination, Platform, Settling, Timescale};
pub use fate::{Fate, Undecided};
pub use flavour::Flavour;
pub use forgetting::{Forgotten, Traces};
pub use identity::{Found, FoundAt, Identity, Misplaced};
pub use ingest_call::Ingested;
pub use losses::{Acknowledged, Loss, NotedLosses};
pub use moving::Left;
pub use pipeline::{Answered, Batch, Pipeline};
pub use raw_events_examination::{ClosedHours, ForeignJob};
pub use read_only_logins::ReadOnlyLogins;
pub use refusals::Refusals;
pub use retention::{Applied, Due, Retention};
pub use service::Service;
pub use settler::{Backlog, SettleOutcome, Settler};
pub use shards::{MisplacedAt, Place, Shards, ShardsError};
pub use sites::{CreatedSite, DeletedSite, LiveSite, LiveSites, RenamedSite, SiteRow, Sites};
pub use sources::{MAX_LISTED_SOURCES, Moved};
pub use store::Store;
pub use unique_users::{PeriodCounts, PeriodRow, RangeCounts, UniqueUsers};
pub use writer::{WriteError, Writer};
