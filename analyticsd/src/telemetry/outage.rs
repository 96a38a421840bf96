use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers whether an operation fails, so that the log has a line when failures begin and when they end, and not one
/// for each: a client that repeats its request could otherwise fill a disk.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicBool);

impl Outage {
    /// Notes a failure. Returns whether it is the first.
    pub(crate) fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Notes a success. Returns whether it ends an outage.
    pub(crate) fn ends(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::Outage;

    #[test]
    fn it_begins_and_ends_once() {
        let outage = Outage::default();
        assert!(!outage.ends());
        for _ in 0..2 {
            assert_eq!([outage.begins(), outage.begins()], [true, false]);
            assert_eq!([outage.ends(), outage.ends()], [true, false]);
        }
    }
}
