use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::access_log::{InvalidPattern, Pattern};

/// How a file writes its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The lines of a batch.
    Ndjson,
    /// Columns with a header.
    Csv,
    Log(LogFormat),
}

/// How an access log writes its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// `CLIENT IDENT USER [TIME] "REQUEST" STATUS SIZE`, with or without a virtual host in front.
    Common {
        has_host: bool,
    },
    /// The same with referer and agent.
    Combined {
        has_host: bool,
    },
    /// An object a line with names that say what they are, as nginx, Caddy and Traefik write them.
    Json,
    /// The W3C's extended format, whose `#Fields` name the columns: IIS, and Amazon's CloudFront.
    W3c,
    /// Amazon's load balancers.
    Elb,
    Pattern(Pattern),
}

/// The format of files, if it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FormatChoice {
    /// The first lines of each file tell.
    #[default]
    Auto,
    Known(Format),
}

#[derive(Debug, Error)]
#[error("there is no such format; accepted is one of {}", FormatChoice::NAMES.join(", "))]
pub struct UnknownFormat;

impl FormatChoice {
    /// The names of all formats but a pattern, and other names of some.
    pub const NAMES: [&str; 14] = [
        "auto",
        "ndjson",
        "csv",
        "common",
        "combined",
        "vhost-common",
        "vhost-combined",
        "json",
        "nginx-json",
        "caddy",
        "traefik",
        "w3c",
        "cloudfront",
        "elb",
    ];

    /// A log that is written by a pattern of Apache or nginx.
    pub fn of_pattern(text: &str) -> Result<Self, InvalidPattern> {
        Ok(Self::Known(Format::Log(LogFormat::Pattern(text.parse()?))))
    }
}

impl FromStr for FormatChoice {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let log = match name {
            "auto" => return Ok(Self::Auto),
            "ndjson" => return Ok(Self::Known(Format::Ndjson)),
            "csv" => return Ok(Self::Known(Format::Csv)),
            "common" => LogFormat::Common { has_host: false },
            "combined" => LogFormat::Combined { has_host: false },
            "vhost-common" => LogFormat::Common { has_host: true },
            "vhost-combined" => LogFormat::Combined { has_host: true },
            "json" | "nginx-json" | "caddy" | "traefik" => LogFormat::Json,
            "w3c" | "cloudfront" => LogFormat::W3c,
            "elb" => LogFormat::Elb,
            _ => return Err(UnknownFormat),
        };
        Ok(Self::Known(Format::Log(log)))
    }
}

impl fmt::Display for Format {
    /// The name with which it is chosen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Log(LogFormat::Common { has_host: false }) => "common",
            Self::Log(LogFormat::Common { has_host: true }) => "vhost-common",
            Self::Log(LogFormat::Combined { has_host: false }) => "combined",
            Self::Log(LogFormat::Combined { has_host: true }) => "vhost-combined",
            Self::Log(LogFormat::Json) => "json",
            Self::Log(LogFormat::W3c) => "w3c",
            Self::Log(LogFormat::Elb) => "elb",
            Self::Log(LogFormat::Pattern(_)) => "the given pattern",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::FormatChoice;

    #[test]
    fn every_name_is_a_format_that_can_be_chosen_by_what_it_is_called() {
        for name in FormatChoice::NAMES {
            let FormatChoice::Known(format) = name.parse().unwrap() else { continue };
            assert_eq!(format.to_string().parse::<FormatChoice>().unwrap(), FormatChoice::Known(format));
        }
        assert!("Combined".parse::<FormatChoice>().is_err());
    }
}
