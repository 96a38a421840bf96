//! The domain and the wire contract, without I/O: events, hours, counts, and how each of these is written in a
//! request or an answer. All other crates use these types.
//!
//! A value that exists is valid: the constructors check the limits of the contract. An [`InvalidInput`] names the
//! parameter, its fault and what is accepted.

pub mod access;
pub mod address;
mod bearer_token;
mod calendar;
mod counts;
mod event;
#[cfg(feature = "clap")]
mod given_token;
mod hour;
mod hours_page;
mod idempotency_key;
mod invalid;
mod periods_page;
mod problem;
pub mod query_string;
mod shard;
mod site;
mod site_list;
mod source;
mod source_list;
mod submission;
mod time_unit;
mod timestamp;
mod user_name;
pub mod wire;

pub use bearer_token::{BearerToken, InvalidBearerToken};
pub use calendar::{Calendar, Step};
pub use counts::{HourCounts, LiveCounts, MalformedCounts};
pub use event::{Event, EventKind};
#[cfg(feature = "clap")]
pub use given_token::{BearerTokenParser, GivenToken};
pub use hour::{Hour, NotAnHour};
pub use hours_page::{HourRow, HoursPage, Totals};
pub use idempotency_key::IdempotencyKey;
pub use invalid::InvalidInput;
pub use periods_page::{Period, PeriodsPage, StoredHours};
pub use problem::Problem;
pub use shard::ShardCount;
pub use site::{SiteEvent, SiteHour, SiteId, SiteName};
pub use site_list::{ListedSite, SiteList};
pub use source::{ContentCheck, SourceName, SourcePosition, SourceStanding, SourceStep};
pub use source_list::{ListedSource, SourceList};
pub use submission::{Keyed, Submission};
pub use time_unit::{TimeUnit, WrittenTime};
pub use timestamp::Timestamp;
pub use user_name::UserName;
