//! Every connection takes a file descriptor, and the system gives a process only so many.

use crate::http::{overload::MAX_REFUSALS, server::Limits};

/// Descriptors for everything that is no client's connection: the database's connections, the listeners, the admin listener's clients, the runtime, the
/// spool, the log. Fewer than a hundred are in use at a time.
const RESERVE: usize = 256;
/// The least that is kept for it. Where there are few, a quarter is.
const LEAST_RESERVE: usize = 96;

/// Raises this process's limit of open files as far as these limits need and the system lets it. Where the system's limit is too low, it is shared out:
/// less is kept for clients that are refused, then fewer are served, which is said in the log.
pub(crate) fn make_room_for(wanted: Limits) -> Limits {
    let needed = wanted.connections.saturating_add(RESERVE + MAX_REFUSALS);
    let limit = match rlimit::increase_nofile_limit(needed as u64) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files this process may open; taking it for enough");
            return wanted;
        }
    };
    let (connections, refusals) = share_out(wanted.connections, usize::try_from(limit).unwrap_or(usize::MAX));
    if connections < wanted.connections {
        tracing::warn!(
            limit,
            "{} connections need {needed} open files, and this process may open {limit}: serving {connections} connections at a time. \
             To raise the limit, set LimitNOFILE={needed} in the service's unit, or run `ulimit -Hn {needed}` as root before the start",
            wanted.connections
        );
    }
    Limits { connections, refusals, ..wanted }
}

/// How many connections are served, of those that are wanted, and how many more are refused at a time, where so many files may be open.
fn share_out(wanted: usize, limit: usize) -> (usize, usize) {
    let for_clients = limit.saturating_sub((limit / 4).clamp(LEAST_RESERVE, RESERVE));
    // Who is refused is served by somebody else, or later; who is served is what this is for.
    let refusals = for_clients.saturating_sub(wanted).max(for_clients / 8).min(MAX_REFUSALS);
    // A process that may open next to nothing serves one client at a time rather than none.
    (wanted.min(for_clients - refusals).max(1), refusals.max(1))
}

#[cfg(test)]
mod tests {
    use super::share_out;

    #[test]
    fn what_may_be_open_is_shared_out_and_most_of_it_are_clients_that_are_served() {
        for (limit, connections, refusals) in [
            (usize::MAX, 10_000, 4_096),
            (14_352, 10_000, 4_096),
            (14_351, 10_000, 4_095),
            (12_000, 10_000, 1_744),
            (10_000, 8_526, 1_218),
            (4_352, 3_584, 512),
            (1_024, 672, 96),
            (256, 140, 20),
            (97, 1, 1),
            (0, 1, 1),
        ] {
            assert_eq!(share_out(10_000, limit), (connections, refusals), "{limit}");
        }
        assert_eq!(share_out(50, 1_024), (50, 718));
    }
}
