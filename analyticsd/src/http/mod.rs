//! HTTP: from an accepted connection to the handler of a route, and from the handler's result to the answer.

mod accept;
mod body_coding;
mod chunked_body;
mod connection_limit;
mod entity_tag;
mod error;
mod event_cutter;
mod extract;
mod framing;
mod handlers;
mod observer;
mod openapi;
mod overload;
mod public_path;
mod query_string;
mod request_id;
mod response;
mod router;
mod routes;
mod server;
mod service;
mod static_files;
mod watched_body;

pub(crate) use public_path::PublicPath;
pub(crate) use router::Router;
pub(crate) use routes::{Services, names as route_names};
pub(crate) use server::{Limits, bind, listen, serve};
pub(crate) use service::HttpService;
