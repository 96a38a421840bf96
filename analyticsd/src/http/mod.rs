//! HTTP: from an accepted connection to the handler of a route, and from what the handler returns to an answer.

mod chunked_body;
mod connection_limit;
mod digest;
mod entity_tag;
mod framing;
mod handlers;
mod observer;
mod openapi;
pub(crate) mod overload;
pub(crate) mod query_string;
pub(crate) mod reply;
mod request_id;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod server;
pub(crate) mod service;
mod static_files;
mod visitor_names;
mod watched_body;
