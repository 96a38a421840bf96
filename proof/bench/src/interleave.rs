//! Runs every load in every round, so that a disturbance of the machine affects all contenders alike.

use std::collections::BTreeSet;

use anyhow::Context;
use futures_util::future::try_join_all;

use crate::{
    cpu::Meter,
    database::Database,
    ledger::{Audited, Ledger},
    measure::{Contender, Latency, Measurement, Sample, Subject},
    servers::Server,
    wrk::{Load, Outcome, Posts, Traffic, Wrk},
};

pub(crate) struct Instruments<'a> {
    pub(crate) wrk: &'a Wrk,
    pub(crate) database: &'a Database,
    /// The main process of the database server, if it runs on this machine.
    pub(crate) postmaster: Option<u32>,
    pub(crate) rounds: u32,
}

/// One load on one contender.
pub(crate) struct Planned<'a> {
    pub(crate) subject: Subject,
    /// Of one contender. The connections are spread over them evenly.
    pub(crate) servers: Vec<&'a Server>,
    pub(crate) traffic: Traffic,
    /// For all servers together.
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    /// Which of the counters that are measured together the servers are of, if they are daemons.
    pub(crate) counter: usize,
}

impl Planned<'_> {
    fn contender(&self) -> Contender {
        self.servers[0].name
    }

    fn posts_to_daemon(&self) -> bool {
        self.contender().is_daemon() && self.traffic.has_posts()
    }
}

impl Instruments<'_> {
    /// Runs every load once in every round. `counters` has one daemon of each counter. Each counter must count every
    /// event that it acknowledges.
    pub(crate) async fn measure(
        &self,
        planned: &[Planned<'_>],
        counters: &[&Server],
    ) -> anyhow::Result<(Vec<Measurement>, Audited)> {
        let mut ledgers = Vec::with_capacity(counters.len());
        for (counter, daemon) in counters.iter().enumerate() {
            let own = || planned.iter().filter(|load| load.posts_to_daemon() && load.counter == counter);
            let hours: BTreeSet<_> = own().flat_map(|load| load.traffic.hours()).collect();
            let sites = own().map(|load| load.traffic.sites()).max().unwrap_or_default();
            ledgers.push(Ledger::open(daemon, hours, sites).await?);
        }

        let mut measurements: Vec<Measurement> = planned.iter().map(Measurement::of).collect();
        for round in 1..=self.rounds {
            for place in order(planned.len(), round, self.rounds) {
                let (load, measurement) = (&planned[place], &mut measurements[place]);
                let what = format!("{}, {}", load.subject, load.contender());
                eprintln!("round {round} of {}: {what}", self.rounds);
                let outcome = self.run(load, round).await.context(what)?;
                if load.posts_to_daemon() {
                    ledgers[load.counter].add(outcome.posts);
                }
                measurement.rounds.push(outcome.sample);
                self.database.wait_until_idle().await?;
            }
        }
        let mut audited = Audited::default();
        for ledger in ledgers {
            audited += ledger.close().await?;
        }
        Ok((measurements, audited))
    }

    /// One generator for each server, at the same time.
    async fn run(&self, planned: &Planned<'_>, seed: u32) -> anyhow::Result<Outcome> {
        let servers = u32::try_from(planned.servers.len())?;
        let Planned { traffic, connections, seconds, .. } = *planned;
        let load = Load { traffic, connections: connections / servers, seconds, seed };
        let processes = planned.servers.iter().filter_map(|server| server.pid()).collect();
        let meter = Meter::new(processes, self.postmaster);

        let before = meter.read();
        let loads = planned.servers.iter().zip(seed * 10..);
        let outcomes = try_join_all(
            loads.map(async |(server, seed)| self.wrk.run(server.url(), server.token(), &Load { seed, ..load }).await),
        )
        .await?;
        let mut outcome = together(&outcomes);
        let after = meter.read();
        outcome.sample.cpu = after.zip(before).map(|(after, before)| after.since(before, outcome.sample.count));
        Ok(outcome)
    }
}

/// The order of the loads in a round. Each round begins with another load, so that no contender always follows the
/// same one, whose dirty pages are still being written.
fn order(loads: usize, round: u32, rounds: u32) -> impl Iterator<Item = usize> {
    let first = loads * (round as usize - 1) / rounds as usize;
    (first..loads).chain(0..first)
}

impl Measurement {
    fn of(planned: &Planned<'_>) -> Self {
        Self {
            subject: planned.subject.clone(),
            contender: planned.contender(),
            connections: planned.connections,
            rounds: Vec::new(),
        }
    }
}

/// Sums loads that ran at the same time, with the largest of their percentiles: percentiles cannot be summed.
fn together(outcomes: &[Outcome]) -> Outcome {
    let largest = |percentile: fn(&Latency) -> f64| {
        outcomes.iter().filter_map(|outcome| outcome.sample.latency.as_ref().map(percentile)).reduce(f64::max)
    };
    let latency = || {
        Some(Latency {
            p50_ms: largest(|latency| latency.p50_ms)?,
            p99_ms: largest(|latency| latency.p99_ms)?,
            p999_ms: largest(|latency| latency.p999_ms)?,
        })
    };
    Outcome {
        sample: Sample {
            count: outcomes.iter().map(|outcome| outcome.sample.count).sum(),
            per_second: outcomes.iter().map(|outcome| outcome.sample.per_second).sum(),
            latency: latency(),
            cpu: None,
        },
        posts: Posts {
            acknowledged: outcomes.iter().map(|outcome| outcome.posts.acknowledged).sum(),
            sent: outcomes.iter().map(|outcome| outcome.posts.sent).sum(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{order, together};
    use crate::{
        measure::{Latency, Sample},
        wrk::{Outcome, Posts},
    };

    #[test]
    fn every_load_has_its_turn_in_every_round_and_each_round_begins_elsewhere() {
        let rounds: Vec<Vec<usize>> = (1..=3).map(|round| order(7, round, 3).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 0, 1], [4, 5, 6, 0, 1, 2, 3]]);
        assert_eq!(order(1, 9, 9).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn loads_that_ran_together_are_summed_and_the_slower_one_gives_the_time() {
        let outcome = |count, per_second, p50_ms, p99_ms| Outcome {
            sample: Sample { count, per_second, latency: Some(Latency { p50_ms, p99_ms, p999_ms: 9.0 }), cpu: None },
            posts: Posts { acknowledged: count, sent: count + 1 },
        };
        let both = together(&[outcome(10, 100.0, 1.0, 6.0), outcome(20, 300.0, 2.0, 5.0)]);
        let expected = Outcome { posts: Posts { acknowledged: 30, sent: 32 }, ..outcome(30, 400.0, 2.0, 6.0) };
        assert_eq!(both, expected);
    }
}
