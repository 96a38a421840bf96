//! Where analyticsd listens: one host, or several replicas that requests go to in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::HeaderValue;
use serde::{Serialize, Serializer};

#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Without a slash at the end, and without name and password.
    pub(crate) url: String,
    /// The value of the header.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.url)
    }
}

#[derive(Debug)]
pub(crate) struct Hosts {
    all: Vec<Host>,
    next: AtomicUsize,
}

impl Hosts {
    /// At least one.
    pub(crate) fn new(all: Vec<Host>) -> Self {
        Self { all, next: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> &[Host] {
        &self.all
    }

    /// The next one in turn and its place, if there are several not the one at a place that was asked before.
    pub(crate) fn next(&self, other_than: Option<usize>) -> (usize, &Host) {
        let mut place = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len();
        if other_than == Some(place) {
            place = (place + 1) % self.all.len();
        }
        (place, &self.all[place])
    }

    /// Which one it was, behind a fault; nothing if there is only one.
    pub(crate) fn told(&self, place: usize) -> String {
        if self.all.len() == 1 { String::new() } else { format!(" at {}", self.all[place].url) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, Hosts};

    fn hosts(count: usize) -> Hosts {
        Hosts::new((0..count).map(|host| Host { url: host.to_string(), authorization: None }).collect())
    }

    #[test]
    fn hosts_take_turns_and_what_was_written_to_one_is_read_from_another() {
        let three = hosts(3);
        let asked: Vec<usize> = (0..4).map(|_| three.next(None).0).collect();
        assert_eq!(asked, [0, 1, 2, 0]);
        for written in [0, 1, 2, 0, 0, 0] {
            assert_ne!(three.next(Some(written)).0, written);
        }
        assert_eq!(hosts(1).next(Some(0)).0, 0, "there is no other");
    }
}
