//! The daemon, as a library: `main.rs` parses the command line and calls [`run()`], tests call the parts.
//!
//! How a request travels: [`server`] accepts the connection, [`front`] is what every request passes, [`access`] decides there who may come in, [`routes`] picks the handler, a file of `handlers` checks the input and
//! hands it to a lane, and the lane answers when the database has. An event goes through [`event_lane`], which stores all that
//! wait in one commit; a question goes through [`count_lane`], which answers all that wait with one read. [`lanes`] keeps the
//! present apart from the past, [`spool`] keeps events while the database is away. [`settling`] moves quiet hours to the hourly aggregate in the background.

pub mod access;
pub mod age_limits;
pub mod body_budget;
pub mod config;
pub mod count_lane;
mod digest;
mod entity_tag;
pub mod event_lane;
pub mod expired;
mod files;
pub mod front;
mod handlers;
pub mod healthcheck;
pub mod job;
pub mod lanes;
mod line_writer;
pub mod live;
mod log_lines;
pub mod losses;
pub mod metrics;
mod network;
mod observer;
mod open_files;
mod openapi;
mod outage;
pub mod output;
mod own_address;
mod parameters;
mod pieces;
mod places;
mod private_files;
pub mod readiness;
mod refusal;
mod repeated_lines;
mod reply;
pub mod reports;
mod request_id;
pub mod request_limits;
mod route;
pub mod routes;
mod run;
pub mod server;
mod service_manager;
mod setbacks;
pub mod settling;
mod signals;
pub mod spool;
pub mod storing;
pub mod visitor_names;
mod waiting;
mod watched_body;
mod well_formed;

pub use run::run;
