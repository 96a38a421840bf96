//! Several servers of PostgreSQL that hold the same database.

mod network;
mod node;
mod owner;
mod pair;
mod patroni;
mod place;

pub(crate) use network::Network;
pub(crate) use node::{DATABASE, Node};
pub(crate) use pair::{Gone, Pair, store};
pub(crate) use patroni::Patroni;
pub(crate) use place::Place;

use owner::Owner;
