use std::{env, time::Duration};

use reliability::options::Options;

/// What every run begins with unless `RELIABILITY_SEED` says otherwise.
const SEED: u64 = 20_150_517;

pub(crate) fn options() -> Options {
    let seed =
        env::var("RELIABILITY_SEED").ok().map_or(SEED, |seed| seed.parse().expect("RELIABILITY_SEED is a number"));
    Options {
        seed,
        clients: 8,
        duration: Duration::from_secs(4),
        postgres_bin: None,
        daemon_log: "warn".to_owned(),
        shards: 3,
    }
}
