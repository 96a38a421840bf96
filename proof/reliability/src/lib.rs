//! Injects every fault that can be made here, and proves from records that the daemon keeps its promises.
//!
//! - `scenarios` has one fault a file, `options` how they are run;
//! - `report` audits at the end of a scenario, `table` shows the reports of a run;
//! - `traffic` are the clients, many at a time, that record their operations, `parts` what each sent of its source;
//!   `crowd` are thousands of them;
//! - `topic_traffic` are messages of a topic, which daemons read (with the feature `kafka`);
//! - `ledger` compares the answers with what is stored, event by event; `history` finds reads that no exact counter
//!   could give;
//! - `answer` knows which answers are promised, `operation` is one request of a client;
//! - `proxy` stands in front of the database and cuts, delays or stalls the stream at chosen points; `sabotage` has
//!   all SQL of this crate;
//! - `cluster` are several servers that hold the same database, on one machine or on machines in network namespaces;
//!   `backup` is a copy of one; `small_disk` is soon full, `forgetful_disk` can lose its power, `failing_disk` fails to write; `tracer` makes syncs
//!   slow or fail;
//! - `pgpool` is a pooler, `earlier` builds the daemon of an earlier commit, to upgrade from.
//!
//! The tests run every scenario for seconds, the program `reliability` for as long as its command line says.

mod answer;
mod backup;
mod cluster;
mod crowd;
pub mod earlier;
mod failing_disk;
mod forgetful_disk;
mod history;
mod ledger;
pub mod operation;
pub mod options;
mod parts;
mod pgpool;
mod proxy;
pub mod report;
pub mod sabotage;
pub mod scenarios;
mod small_disk;
pub mod table;
#[cfg(feature = "kafka")]
mod topic_traffic;
mod tracer;
pub mod traffic;
