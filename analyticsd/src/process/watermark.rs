//! Wakes the reader of a queue once so many wait in it. A channel by itself wakes its reader for the first.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::{Notify, mpsc};

/// Shared by the senders of one queue and its reader.
pub(crate) struct Watermark {
    /// `usize::MAX` while nobody waits.
    wanted: AtomicUsize,
    is_reached: Notify,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { wanted: AtomicUsize::new(usize::MAX), is_reached: Notify::new() }
    }
}

impl Watermark {
    /// For whoever has just put something into the queue.
    pub(crate) fn rises<T>(&self, queue: &mpsc::Sender<T>) {
        // Behind what was put in, so that either this sees what is wanted, or the reader sees that.
        fence(Ordering::SeqCst);
        let wanted = self.wanted.load(Ordering::SeqCst);
        if wanted < usize::MAX && queue.max_capacity() - queue.capacity() >= wanted {
            self.is_reached.notify_one();
        }
    }

    /// Resolves once so many wait in the queue. It may be dropped at any time.
    pub(crate) async fn reached<T>(&self, queue: &mpsc::Receiver<T>, wanted: usize) {
        let _forgets = Forgets(&self.wanted);
        self.wanted.store(wanted, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        while queue.len() < wanted {
            self.is_reached.notified().await;
        }
    }
}

struct Forgets<'a>(&'a AtomicUsize);

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.0.store(usize::MAX, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::mpsc;

    use super::Watermark;

    #[tokio::test]
    async fn the_reader_is_woken_once_so_many_wait_and_takes_none_of_them() {
        let (sender, queue) = mpsc::channel(8);
        let watermark = Watermark::default();
        let put = |number: u8| {
            sender.try_send(number).unwrap();
            watermark.rises(&sender);
        };
        put(1);
        let mut reached = Box::pin(watermark.reached(&queue, 3));
        assert!((&mut reached).now_or_never().is_none());
        put(2);
        assert!((&mut reached).now_or_never().is_none());
        put(3);
        assert!((&mut reached).now_or_never().is_some());
        assert!(watermark.reached(&queue, 3).now_or_never().is_some(), "they wait already");
        assert_eq!(queue.len(), 3);
    }

    #[tokio::test]
    async fn many_senders_wake_it_whatever_the_order() {
        let (sender, queue) = mpsc::channel(10_000);
        let watermark = std::sync::Arc::new(Watermark::default());
        for _ in 0..10 {
            let (sender, watermark) = (sender.clone(), std::sync::Arc::clone(&watermark));
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    sender.try_send(()).unwrap();
                    watermark.rises(&sender);
                }
            });
        }
        for wanted in 1..=10_000 {
            watermark.reached(&queue, wanted).await;
        }
    }
}
