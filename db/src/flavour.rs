use std::{fmt, str::FromStr};

/// How raw events are partitioned and who computes the hourly aggregate. Chosen once, when a schema is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// A TimescaleDB hypertable with a continuous aggregate.
    Timescale,
    /// Declarative partitions with a table that the settler fills, for servers without the extension.
    Postgres,
}

impl Flavour {
    /// The name in `analytics.settings`, in flags and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timescale => "timescale",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Flavour {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "timescale" => Ok(Self::Timescale),
            "postgres" => Ok(Self::Postgres),
            other => Err(format!("{other} is no flavour; accepted is timescale or postgres")),
        }
    }
}
