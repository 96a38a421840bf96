//! The HTTP client of analyticsd.
//!
//! - [`Client`] makes the requests: events, batches, the counts of an hour or of a range, and [`Periods`];
//! - [`LiveStream`] reads the stream of the current hour;
//! - [`ServerUrl`] is where analyticsd listens;
//! - [`ClientError`] tells apart what a caller must know: that nothing was sent, that nothing is stored, or neither.

mod client;
mod error;
mod live_stream;
mod periods;
mod server_events;
mod server_url;

pub use reqwest::StatusCode;

pub use self::{
    client::{Client, Delivery, Probe, Repeated, Step},
    error::{ClientError, is_of_tls},
    live_stream::{LiveStream, StreamEnd, Update},
    periods::{Periods, UniqueUsers},
    server_url::{InvalidServerUrl, ServerUrl},
};
