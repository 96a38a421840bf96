//! One connection of the pool, for as long as somebody works on it.

use std::ops::{Deref, DerefMut};

use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};

use super::pool::Object;
use crate::StoreError;

const OPEN: &str = "it is taken only by what consumes or drops the session";

/// A connection of the pool, and its place among those that may be open at a time.
///
/// Unless it is said that it may go back, it is given up when it is dropped, with the call that is under way. The server may go on with that for as long as
/// it likes, as with a commit that waits for a standby: until it is done with it, or the connection breaks, the connection keeps its place, so that those
/// who give up again and again do not take all of the server's connections.
pub(crate) struct Session(Option<Open>);

struct Open {
    client: Object,
    place: OwnedSemaphorePermit,
}

impl Session {
    pub(crate) fn new(client: Object, place: OwnedSemaphorePermit) -> Self {
        Self(Some(Open { client, place }))
    }

    /// Everything was answered: others may use it.
    pub(crate) fn go_back(mut self) {
        self.0 = None;
    }

    /// The same after an error, unless that makes it doubtful, which ends it.
    pub(crate) fn go_back_after(mut self, error: &StoreError) {
        if let Some(open) = self.0.take().filter(|_| error.is_of_session()) {
            drop(Object::take(open.client));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(Open { client, place }) = self.0.take() else { return };
        let client = Object::take(client);
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            // It is answered after everything that was asked before it.
            let _ = client.batch_execute("").await;
            drop(client);
            drop(place);
        });
    }
}

impl Deref for Session {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0.as_ref().expect(OPEN).client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.0.as_mut().expect(OPEN).client
    }
}
