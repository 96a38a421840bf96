//! Every connection takes a file descriptor, and the system gives a process only so many.

use crate::refusal::MAX_REFUSALS;

/// Descriptors for everything that is no client's connection: the database's connections, the listener, the runtime, logs.
const RESERVE: usize = 256;

/// Raises this process's limit of open files as far as these connections need and the system lets it. Returns how many connections
/// there is room for, which is fewer than `wanted`, and said in the log, where the system's limit is too low.
pub(crate) fn make_room_for(wanted: usize) -> usize {
    let others = RESERVE + MAX_REFUSALS;
    let needed = (wanted + others) as u64;
    let limit = match rlimit::increase_nofile_limit(needed) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files this process may open; taking it for enough");
            return wanted;
        }
    };
    if limit >= needed {
        return wanted;
    }
    // A process that may open next to nothing serves one client at a time rather than none.
    let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(others).max(1);
    tracing::warn!(
        limit,
        "{wanted} connections need {needed} open files, and this process may open {limit}: serving {room} connections at a time. \
         To raise the limit, set LimitNOFILE={needed} in the service's unit, or run `ulimit -Hn {needed}` as root before the start"
    );
    room
}
