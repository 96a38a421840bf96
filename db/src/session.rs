//! One connection of the pool, for as long as somebody works on it.

use std::ops::{Deref, DerefMut};

use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;

use crate::StoreError;

/// A connection of the pool, and its place among those that may be open at a time. It goes back to the pool when it is dropped.
pub(crate) struct Session {
    client: Object,
    place: OwnedSemaphorePermit,
}

impl Session {
    pub(crate) fn new(client: Object, place: OwnedSemaphorePermit) -> Self {
        Self { client, place }
    }

    /// Gives up a call that is under way. The server may go on with it for as long as it likes, as with a commit that waits for a standby: until it
    /// is done with it, or the connection breaks, the connection keeps its place, so that those who give up again and again do not take all of the
    /// server's connections.
    pub(crate) fn give_up(self) {
        let Self { client, place } = self;
        let client = Object::take(client);
        tokio::spawn(async move {
            // It is answered after everything that was asked before it.
            let _ = client.batch_execute("").await;
            drop(client);
            drop(place);
        });
    }

    /// Ends the connection, which is not to be used again.
    pub(crate) fn end(self) {
        drop(Object::take(self.client));
    }

    /// Ends the connection after an error that makes it doubtful. It goes back to the pool after one that our own functions raised.
    pub(crate) fn end_after(self, error: &StoreError) {
        if error.is_of_session() {
            self.end();
        }
    }
}

impl Deref for Session {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.client
    }
}
