//! Shares out the file descriptors: every connection takes one, and the system limits them for each process.

/// Descriptors for everything but clients' connections: the database's connections, the listeners, the admin listener's
/// clients, the runtime, the spool, the log. Fewer than a hundred are in use at a time.
const RESERVE: usize = 256;
/// The least reserve. With a low limit the reserve is a quarter of it.
const LEAST_RESERVE: usize = 96;

/// The clients' share of the open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// How many connections are served at a time.
    pub(crate) connections: usize,
    /// How many more are refused at a time.
    pub(crate) refusals: usize,
}

/// Raises this process's limit of open files as far as clients need and the system allows. If that is too low, fewer
/// clients are refused at a time, then fewer are served, which is logged.
pub(crate) fn make_room_for(wanted: Share) -> Share {
    let needed = wanted.connections.saturating_add(RESERVE + wanted.refusals);
    let limit = match rlimit::increase_nofile_limit(needed as u64) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot find out how many files this process may open; assuming enough");
            return wanted;
        }
    };
    let share = share_out(wanted, usize::try_from(limit).unwrap_or(usize::MAX));
    if share.connections < wanted.connections {
        tracing::warn!(
            limit,
            "{} connections need {needed} open files, and this process may open {limit}: serving {} connections at a \
             time. To raise the limit, set LimitNOFILE={needed} in the service's unit, or run `ulimit -Hn {needed}` as \
             root before the start",
            wanted.connections,
            share.connections
        );
    }
    share
}

/// The clients' share of so many open files.
fn share_out(wanted: Share, limit: usize) -> Share {
    let for_clients = limit.saturating_sub((limit / 4).clamp(LEAST_RESERVE, RESERVE));
    // Serving comes first: a refused client can go to another daemon, or come back later.
    let refusals = for_clients.saturating_sub(wanted.connections).max(for_clients / 8).min(wanted.refusals);
    // Even with almost no descriptors the daemon serves one client at a time.
    Share { connections: wanted.connections.min(for_clients - refusals).max(1), refusals: refusals.max(1) }
}

#[cfg(test)]
mod tests {
    use super::{Share, share_out};

    #[test]
    fn most_descriptors_go_to_clients_that_are_served() {
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
