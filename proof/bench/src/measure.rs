//! The types of a measurement, which the parts, the report and the check share.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    numbers::{grouped, median},
    plan::Part,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contender {
    /// A bare warp server.
    Ceiling,
    /// An INSERT for each POST, an aggregate for each GET.
    Textbook,
    /// analyticsd over HTTP.
    Daemon,
    /// The same, with a token and rate limits per token and address.
    Guarded,
    /// `analytics-cli import`, into analyticsd, as a source.
    Import,
    /// The same, as no source.
    ImportWithoutSource,
    /// `COPY` by psql, without analyticsd.
    Copy,
    /// A `HyperLogLog` for each hour, by the extension `hll`.
    Sketches,
    /// analyticsd of an earlier commit.
    Earlier,
    /// `analytics-cli import` of that commit into its daemon, as a source.
    EarlierImport,
    /// The same, as no source.
    EarlierImportWithoutSource,
}

impl Contender {
    /// analyticsd over HTTP must count every event that it acknowledges.
    pub(crate) fn is_daemon(self) -> bool {
        matches!(self, Self::Daemon | Self::Guarded | Self::Earlier)
    }

    /// The same of the present commit, if this is of an earlier one.
    pub(crate) fn present(self) -> Option<Self> {
        match self {
            Self::Earlier => Some(Self::Daemon),
            Self::EarlierImport => Some(Self::Import),
            Self::EarlierImportWithoutSource => Some(Self::ImportWithoutSource),
            _ => None,
        }
    }

    /// Whether a program of the present commit makes it.
    pub(crate) fn is_present(self) -> bool {
        matches!(self, Self::Daemon | Self::Guarded | Self::Import | Self::ImportWithoutSource)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ceiling => "warp that does nothing",
            Self::Textbook => "textbook",
            Self::Daemon => "analyticsd",
            Self::Guarded => "analyticsd with a token and limits",
            Self::Import => "analytics-cli import",
            Self::ImportWithoutSource => "analytics-cli import --without-source",
            Self::Copy => "psql's COPY",
            Self::Sketches => "HyperLogLog",
            Self::Earlier => "earlier analyticsd",
            Self::EarlierImport => "earlier analytics-cli import",
            Self::EarlierImportWithoutSource => "earlier analytics-cli import --without-source",
        })
    }
}

/// What the size of a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Axis {
    /// Connections of clients.
    Connections,
    /// Events that the hour holds.
    Events,
    /// Distinct users that the hour holds, or that the rows are of.
    Users,
    /// Past hours that the load is spread over.
    Hours,
    /// Daemons on one database.
    Daemons,
    /// Sites that the load is spread over.
    Sites,
    /// Databases that hold the counter.
    Shards,
    /// Distinct users that each hour holds.
    Visitors,
}

impl Axis {
    /// The unit of a size.
    fn unit(self, number: u64) -> &'static str {
        match (self, number) {
            (Self::Connections, 1) => "connection",
            (Self::Connections, _) => "connections",
            (Self::Events, 1) => "event",
            (Self::Events, _) => "events",
            (Self::Users, 1) => "user",
            (Self::Users, _) => "users",
            (Self::Hours, 1) => "past hour",
            (Self::Hours, _) => "past hours",
            (Self::Daemons, 1) => "daemon",
            (Self::Daemons, _) => "daemons",
            (Self::Sites, 1) => "site",
            (Self::Sites, _) => "sites",
            (Self::Shards, 1) => "shard",
            (Self::Shards, _) => "shards",
            (Self::Visitors, 1) => "visitor an hour",
            (Self::Visitors, _) => "visitors an hour",
        }
    }
}

/// Several contenders get the same question, in several sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) part: Part,
    pub(crate) question: String,
    pub(crate) axis: Axis,
    pub(crate) size: u64,
}

impl Subject {
    pub(crate) fn new(part: Part, question: &str, axis: Axis, size: u32) -> Self {
        Self { part, question: question.to_owned(), axis, size: size.into() }
    }

    /// Whether the sizes are of data or of what holds it, rather than of clients.
    pub(crate) fn grows(&self) -> bool {
        matches!(self.part, Part::Growth | Part::Replicas | Part::Sites | Part::Shards)
            && self.axis != Axis::Connections
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.question, grouped(self.size), self.axis.unit(self.size))
    }
}

/// All rounds of one load on one contender.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) subject: Subject,
    pub(crate) contender: Contender,
    /// Connections of clients, whatever the axis.
    pub(crate) connections: u32,
    pub(crate) rounds: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Requests that were answered, or rows that were stored.
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    /// Of requests only.
    pub(crate) latency: Option<Latency>,
    /// If /proc has it.
    pub(crate) cpu: Option<Cpu>,
}

/// From the moment a request was written to the moment its answer was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

/// Processor time, user and system, for each request or row, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) server_us: f64,
    /// All processes of the database server, if it runs on this machine.
    pub(crate) database_us: Option<f64>,
    /// The load generator.
    pub(crate) generator_us: f64,
    /// The share of the machine's cores that was not idle, from 0 to 1, whoever used them.
    #[serde(default)]
    pub(crate) busy: Option<f64>,
}

impl Cpu {
    /// The generator's share of the time that it, the server and the database took, from 0 to 1.
    pub(crate) fn generator_share(&self) -> Option<f64> {
        Some(self.generator_us / (self.server_us + self.database_us? + self.generator_us))
    }
}

impl Measurement {
    /// The median of a figure over the rounds; none if a round does not have it, or there is no round.
    pub(crate) fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().map(figure).collect::<Option<Vec<_>>>()?)
    }

    pub(crate) fn rate(&self) -> Option<f64> {
        self.median(|sample| Some(sample.per_second))
    }

    pub(crate) fn latency(&self, percentile: impl Fn(&Latency) -> f64) -> Option<f64> {
        self.median(|sample| sample.latency.as_ref().map(&percentile))
    }
}

pub(crate) fn find<'a>(all: &'a [Measurement], subject: &Subject, contender: Contender) -> Option<&'a Measurement> {
    all.iter().find(|measurement| measurement.contender == contender && measurement.subject == *subject)
}
