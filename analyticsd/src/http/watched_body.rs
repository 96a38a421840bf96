//! A request's body that remembers whether it was read to its end. HTTP/1.1 closes a connection when the rest of a body
//! is not read. Without a warning the client would send its next request on it and get no answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Frame, SizeHint};

/// Whether its [`WatchedBody`] was read to its end.
#[derive(Debug, Clone)]
pub(crate) struct ReadToEnd(Option<Arc<AtomicBool>>);

impl ReadToEnd {
    /// A request without a body has nothing left to read.
    pub(crate) fn get(&self) -> bool {
        self.0.as_ref().is_none_or(|read| read.load(Ordering::Relaxed))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WatchedBody<B> {
    inside: B,
    read: ReadToEnd,
}

impl<B: Body> WatchedBody<B> {
    /// Watches a body. A request without one, as nearly all are, costs no allocation.
    pub(crate) fn new(inside: B) -> Self {
        let read = ReadToEnd((!inside.is_end_stream()).then(Arc::default));
        Self { inside, read }
    }

    pub(crate) fn read_to_end(&self) -> ReadToEnd {
        self.read.clone()
    }
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inside).poll_frame(context));
        if (frame.is_none() || self.inside.is_end_stream())
            && let ReadToEnd(Some(read)) = &self.read
        {
            read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inside.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inside.size_hint()
    }
}
