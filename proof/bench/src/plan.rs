//! The validated form of the command line.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// In the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// GET of the current hour, by connections.
    Reads,
    /// Half POST and half GET, 95 % for a current hour of 1,000,000 events.
    Mix,
    /// POST for the current hour, by connections.
    Writes,
    /// POST on a database that commits 2 ms later, as with a slow disk.
    #[serde(rename = "slow-disk")]
    SlowDisk,
    /// GET and POST by events, users and hours.
    Growth,
    /// Stored rows: POST /analytics/batch and import beside psql's COPY.
    Rows,
    /// GET and POST by the number of daemons.
    Replicas,
    /// GET and POST with a token and rate limits, beside a daemon without.
    Access,
    /// GET and POST by the number of sites.
    Sites,
    /// POST, GET, batches and import by the number of databases that hold the counter.
    Shards,
    /// Unique users of ranges, what they need, and what settling costs.
    Ranges,
    /// POST and batches by the settings of PostgreSQL that are recommended.
    Settings,
}

impl Part {
    /// The heading in a report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Reads => "GET, the current hour",
            Self::Mix => "The 95/5 mix",
            Self::Writes => "POST, the current hour",
            Self::SlowDisk => "POST with a slow disk",
            Self::Growth => "How the cost grows",
            Self::Rows => "Stored rows",
            Self::Replicas => "Several daemons",
            Self::Access => "With a token and limits of rates",
            Self::Sites => "Several sites",
            Self::Shards => "Several shards",
            Self::Ranges => "Unique users of ranges",
            Self::Settings => "Settings of PostgreSQL",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: u32,
    /// Of each load.
    pub(crate) seconds: u32,
    /// To the database.
    pub(crate) textbook_connections: usize,
    pub(crate) sizes: Sizes,
    /// The earlier commit whose programs are measured beside the present ones.
    #[serde(default)]
    pub(crate) against: Option<String>,
}

/// In ascending order in each list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Connections of clients, for reads and writes.
    pub(crate) connections: Vec<u32>,
    /// In an hour.
    pub(crate) events: Vec<u32>,
    /// In an hour.
    pub(crate) users: Vec<u32>,
    /// Past hours in a load.
    pub(crate) hours: Vec<u32>,
    /// Users in a bulk load.
    pub(crate) row_users: Vec<u32>,
    /// Daemons on one database.
    pub(crate) daemons: Vec<u32>,
    /// Sites in a load.
    pub(crate) sites: Vec<u32>,
    /// Databases of a counter. A run that was stored before there were shards has none.
    #[serde(default)]
    pub(crate) shards: Vec<u32>,
    /// Visitors of each hour of a month. A run that was stored before there were sets of visitors has none.
    #[serde(default)]
    pub(crate) visitors: Vec<u32>,
}

impl Part {
    /// Whether the programs of an earlier commit are measured too, if one is given.
    pub(crate) fn compares_commits(self) -> bool {
        matches!(self, Self::Reads | Self::Mix | Self::Writes | Self::SlowDisk | Self::Growth | Self::Rows)
    }

    /// Whether it needs other settings, which a given server keeps.
    pub(crate) fn needs_private_server(self) -> bool {
        matches!(self, Self::SlowDisk | Self::Settings)
    }
}

impl Plan {
    /// How many databases the run makes beside its own.
    pub(crate) fn databases_beside(&self) -> u32 {
        let of = |part, databases: u32| if self.parts.contains(&part) { databases } else { 0 };
        let months = self.sizes.visitors.iter().map(|_| 1).sum();
        let commits = 1 + u32::from(self.against.is_some());
        (commits - 1)
            + of(Part::SlowDisk, commits)
            + of(Part::Shards, self.sizes.shards.iter().sum())
            + of(Part::Ranges, months)
    }
}

impl Sizes {
    pub(crate) fn full() -> Self {
        Self {
            connections: vec![16, 64, 256],
            events: vec![1_000, 10_000, 100_000, 1_000_000, 10_000_000],
            users: vec![1_000, 10_000, 100_000, 1_000_000],
            hours: vec![1, 10, 100, 1_000],
            row_users: vec![10_000, 100_000],
            daemons: vec![1, 2, 3],
            sites: vec![1, 100, 10_000],
            shards: vec![1, 2, 4, 8],
            visitors: vec![10_000, 100_000],
        }
    }

    /// A subset, so that a quick run can be compared with a full one.
    pub(crate) fn quick() -> Self {
        Self {
            connections: vec![64, 256],
            events: vec![1_000, 1_000_000],
            users: vec![1_000, 100_000],
            hours: vec![1, 1_000],
            row_users: vec![10_000],
            daemons: vec![1, 2],
            sites: vec![1, 10_000],
            shards: vec![1, 4],
            visitors: vec![10_000],
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Part, Plan, Sizes};
    use crate::cli::Args;

    fn plan(arguments: &[&str]) -> Plan {
        Plan::from(&Args::parse_from(["bench"].iter().chain(arguments)))
    }

    #[test]
    fn parts_are_measured_once_and_in_their_order_whatever_the_command_line() {
        assert_eq!(plan(&["rows", "reads", "rows"]).parts, [Part::Reads, Part::Rows]);
        assert_eq!(plan(&[]).parts.len(), 12);
    }

    #[test]
    fn only_what_can_be_measured_is_measured_by_default() {
        let of_both_commits = [Part::Reads, Part::Mix, Part::Writes, Part::SlowDisk, Part::Growth, Part::Rows];
        assert_eq!(plan(&["--against", "HEAD"]).parts, of_both_commits);
        assert_eq!(plan(&["--against", "HEAD", "rows"]).parts, [Part::Rows]);
        assert!(!plan(&["--database-url", "postgres:///db"]).parts.contains(&Part::SlowDisk));
        assert!(!plan(&["--database-url", "postgres:///db"]).parts.contains(&Part::Settings));
    }

    #[test]
    fn a_quick_run_measures_sizes_that_the_full_one_measures_too() {
        let lists =
            |Sizes { connections, events, users, hours, row_users, daemons, sites, shards, visitors }: Sizes| {
                [connections, events, users, hours, row_users, daemons, sites, shards, visitors]
            };
        for (quick, full) in lists(Sizes::quick()).iter().zip(lists(Sizes::full())) {
            assert!(quick.iter().all(|size| full.contains(size)) && quick.is_sorted() && full.is_sorted());
            assert_eq!(quick.first(), if quick[0] == 64 { Some(&64) } else { full.first() });
        }
    }

    #[test]
    fn each_number_of_shards_and_each_month_has_databases_of_its_own() {
        assert_eq!(plan(&[]).databases_beside(), 18);
        assert_eq!(plan(&["ranges", "shards"]).databases_beside(), 17);
        assert_eq!(plan(&["--quick", "shards"]).databases_beside(), 5);
        assert_eq!(plan(&["sites"]).databases_beside(), 0);
        assert_eq!(plan(&["--against", "HEAD", "reads"]).databases_beside(), 1);
        assert_eq!(plan(&["--against", "HEAD", "slow-disk"]).databases_beside(), 3);
    }

    #[test]
    fn loads_are_shorter_in_a_quick_run_by_default() {
        assert_eq!(plan(&[]).seconds, 4);
        assert_eq!(plan(&["--quick"]).seconds, 2);
        assert_eq!(plan(&["--quick", "--seconds", "9"]).seconds, 9);
    }
}
