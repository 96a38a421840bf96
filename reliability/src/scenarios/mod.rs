//! The faults, one file each. Every scenario puts clients to work, injects its faults, lets everything come to rest and audits.

pub mod clock_jumps;
pub mod commit_fates;
pub mod connections_killed;
pub mod daemon_killed;
pub mod daemon_stopped;
pub mod database_crashed;
pub mod database_hangs;
pub mod disk_full;
pub mod replicas;
