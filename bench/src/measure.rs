//! Which loads are measured, on which server, in which order.

use std::{num::NonZero, thread};

use anyhow::Context;
use db::Flavour;
use serde::Serialize;

use crate::{
    cli::Plan,
    database::Database,
    fill::{FilledHour, Hours},
    ledger::Ledger,
    servers::{Contender, Server, Servers},
    wrk::{Load, Sample, Wrk},
};

/// The textbook reads every event of a large hour for each answer, which takes about a second. So it gets only as many connections as
/// keep the machine busy, and time for some answers.
const FEW_CONNECTIONS: usize = 4;
const ENOUGH_SECONDS: u32 = 10;

/// One load on one server, all rounds of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    pub(crate) what: &'static str,
    pub(crate) server: Contender,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    pub(crate) rounds: Vec<Sample>,
}

/// Everything that a measurement needs.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) wrk: &'a Wrk,
    pub(crate) database: &'a Database,
    pub(crate) servers: &'a Servers,
    pub(crate) flavour: Flavour,
}

struct Question {
    what: &'static str,
    /// The hour to read; none to send events for the current one.
    reads: Option<FilledHour>,
    slow_for_textbook: bool,
}

impl Bench<'_> {
    /// Asks every server the same question in turn, every question in every round, so that what disturbs the machine for a while
    /// disturbs all alike.
    pub(crate) async fn measure(&self, hours: &Hours, ledger: &mut Ledger) -> anyhow::Result<Vec<Measurement>> {
        let reads = |what, hour, slow_for_textbook| Question { what, reads: Some(hour), slow_for_textbook };
        let questions = [
            Question { what: "POST", reads: None, slow_for_textbook: false },
            reads("GET, open hour of 1,000 events", hours.small, false),
            reads("GET, open hour of 1,000,000 events", hours.large, true),
            // Where there is an aggregate, it has this hour materialized.
            reads("GET, settled hour of 1,000,000 events", hours.settled, self.flavour == Flavour::Postgres),
        ];
        let servers = [&self.servers.ceiling, &self.servers.textbook, &self.servers.daemon];
        let mut measurements: Vec<(&Question, &Server, Measurement)> = questions
            .iter()
            .flat_map(|question| servers.map(|server| (question, server, self.planned(question, server))))
            .collect();

        for round in 1..=self.plan.rounds {
            for (question, server, measurement) in &mut measurements {
                eprintln!("round {round} of {}: {}, {}", self.plan.rounds, question.what, server.name);
                let load = Load {
                    url: question.reads.map_or_else(|| server.events_url(), |filled| server.counts_url(filled.hour)),
                    posts: question.reads.is_none(),
                    connections: measurement.connections,
                    seconds: measurement.seconds,
                };
                let sample =
                    self.wrk.run(&load).await.with_context(|| format!("{}, {}", question.what, server.name))?;
                if load.posts && server.name == Contender::Daemon {
                    ledger.add(&sample);
                }
                measurement.rounds.push(sample);
                self.database.wait_until_idle().await?;
            }
        }
        Ok(measurements.into_iter().map(|(_, _, measurement)| measurement).collect())
    }

    fn planned(&self, question: &Question, server: &Server) -> Measurement {
        let Plan { connections, seconds, .. } = *self.plan;
        let (connections, seconds) = if question.slow_for_textbook && server.name == Contender::Textbook {
            let few = thread::available_parallelism().map_or(FEW_CONNECTIONS, NonZero::get).max(FEW_CONNECTIONS);
            (connections.min(u32::try_from(few).unwrap_or(u32::MAX)), seconds.max(ENOUGH_SECONDS))
        } else {
            (connections, seconds)
        };
        Measurement { what: question.what, server: server.name, connections, seconds, rounds: Vec::new() }
    }
}
