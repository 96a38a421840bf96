//! The operating system (signals, the service manager, open files, and whether the daemon of this machine is healthy), and
//! what the daemon's tasks need.

pub mod healthcheck;
pub(crate) mod open_files;
mod own_address;
pub(crate) mod private_files;
pub(crate) mod service_manager;
pub(crate) mod signals;
pub(crate) mod tasks;
pub(crate) mod watermark;
