use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something fails, so that the log tells when that begins and when it ends, and not each time: whoever asks again and again could otherwise
/// fill a disk.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicBool);

impl Outage {
    /// It failed. Whether it did not the last time.
    pub(crate) fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// It did not fail. Whether it did the last time.
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
