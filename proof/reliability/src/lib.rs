//! Tries to break what the daemon promises, by every fault that can be made here, and proves from records that it holds.
//!
//! - `operation` is what a client did and was told; `traffic` are the clients, many at a time, that write operations down;
//!   `crowd` are thousands of them;
//! - `answer` knows which answers are promised;
//! - `ledger` compares what was told with what is stored, event by event; `history` finds reads that no exact counter could have
//!   answered; both are pure;
//! - `postgres` is a private server that can be crashed; `proxy` stands in front of it and cuts, delays or stalls the stream at
//!   chosen points; `sabotage` does harm from within, and holds all SQL of this crate;
//! - `earlier` builds the daemon of an earlier commit, to upgrade from;
//! - `scenarios` puts these together, one fault a file; `report` audits, and says what came of it.
//!
//! The tests run every scenario for seconds, the program `reliability` for as long as it is told.

pub mod answer;
pub mod crowd;
pub mod earlier;
pub mod history;
pub mod ledger;
pub mod operation;
pub mod options;
pub mod pgpool;
pub mod postgres;
pub mod proxy;
pub mod report;
pub mod sabotage;
pub mod scenarios;
pub mod traffic;
