use crate::{Store, StoreError};

/// Ends the writer of that number, and returns the number of the last batch that it stored, 0 if it stored none. None if it has no row, without which
/// nothing of it can be stored.
pub(crate) async fn fence(store: &Store, writer: i64) -> Result<Option<i64>, StoreError> {
    Ok(store.row("select analytics.fence_writer($1)", &[&writer]).await?.try_get(0)?)
}
