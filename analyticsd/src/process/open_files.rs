//! Every connection takes a file descriptor, and the system gives a process only so many.

/// Descriptors for everything that is no client's connection: the database's connections, the listeners, the admin listener's clients, the runtime, the
/// spool, the log. Fewer than a hundred are in use at a time.
const RESERVE: usize = 256;
/// The least that is kept for it. Where there are few, a quarter is.
const LEAST_RESERVE: usize = 96;

/// What clients get of the open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// How many connections are served at a time.
    pub(crate) connections: usize,
    /// How many more are refused at a time.
    pub(crate) refusals: usize,
}

/// Raises this process's limit of open files as far as clients need and the system lets it. Where the system's limit is too low, it is
/// shared out: fewer clients are refused at a time, then fewer are served, which the log says.
pub(crate) fn make_room_for(wanted: Share) -> Share {
    let needed = wanted.connections.saturating_add(RESERVE + wanted.refusals);
    let limit = match rlimit::increase_nofile_limit(needed as u64) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files this process may open; taking it for enough");
            return wanted;
        }
    };
    let share = share_out(wanted, usize::try_from(limit).unwrap_or(usize::MAX));
    if share.connections < wanted.connections {
        tracing::warn!(
            limit,
            "{} connections need {needed} open files, and this process may open {limit}: serving {} connections at a time. \
             To raise the limit, set LimitNOFILE={needed} in the service's unit, or run `ulimit -Hn {needed}` as root before the start",
            wanted.connections,
            share.connections
        );
    }
    share
}

/// What clients get where so many files may be open.
fn share_out(wanted: Share, limit: usize) -> Share {
    let for_clients = limit.saturating_sub((limit / 4).clamp(LEAST_RESERVE, RESERVE));
    // A client that is refused is served by another daemon, or later; one that is served is what this is for.
    let refusals = for_clients.saturating_sub(wanted.connections).max(for_clients / 8).min(wanted.refusals);
    // A process that may open next to nothing serves one client at a time rather than none.
    Share { connections: wanted.connections.min(for_clients - refusals).max(1), refusals: refusals.max(1) }
}

#[cfg(test)]
mod tests {
    use super::{Share, share_out};

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
            let wanted = Share { connections: 10_000, refusals: 4_096 };
            assert_eq!(share_out(wanted, limit), Share { connections, refusals }, "{limit}");
        }
        let few = Share { connections: 50, refusals: 4_096 };
        assert_eq!(share_out(few, 1_024), Share { connections: 50, refusals: 718 });
    }
}
