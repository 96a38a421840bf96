//! Parses the values of settings. An error names the accepted range.

use std::{
    fmt::Display,
    fs,
    net::{IpAddr, SocketAddr},
    num::NonZero,
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use db::{Depth, MAX_DEPTH, embedded::EmbeddedKind};
use ipnet::IpNet;
use model::{InvalidInput, ShardCount, SiteName, TimeUnit, access::Origin};
use tracing_subscriber::EnvFilter;

use super::definition::Wrong;
use crate::auth::{ForwardedHeader, Rate};
use crate::http::PublicPath;
use crate::kafka::{ClientSettings, TopicAddress, check_topic};
use crate::telemetry::{metrics::OTHER, output::LogFormat};

pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            "is not an address and a port",
            "ADDRESS:PORT, where the address is in numbers, like 127.0.0.1:8080 or [::1]:8080",
        )
    })
}

pub(super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() {
        Err(Wrong::new("is empty", "a path"))
    } else if is_url(text) {
        Err(Wrong::new("is a URL", "a path, with ./ before one that looks like a URL"))
    } else if db::mask_passwords_in(text) != text {
        // It would be a valid path, but messages about the path would reveal the password.
        Err(Wrong::new("holds a password", "a path"))
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(super) fn public_path(text: &str) -> Result<PublicPath, Wrong> {
    PublicPath::new(text).map_err(|fault| Wrong::new(fault, PublicPath::ACCEPTED))
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && !scheme.contains(['/', '.']))
}

pub(super) fn switch(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(Wrong::new("is neither yes nor no", "true or false (or yes, no, on, off, 1, 0)")),
    }
}

pub(super) fn number<T: FromStr + PartialOrd + Display>(text: &str, range: RangeInclusive<T>) -> Result<T, Wrong> {
    let accepted = || format!("a whole number from {} to {}", range.start(), range.end());
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits {
        return Err(Wrong::new("is not a whole number", accepted()));
    }
    // Digits that overflow are a number out of range.
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| Wrong::new("is out of range", accepted()))
}

pub(super) fn number_or_none<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Wrong> {
    if text == "none" { Ok(None) } else { or_none(number(text, range)) }
}

/// A word for what is measured, or a number.
pub(super) fn commit_depth(text: &str) -> Result<Depth, Wrong> {
    if text == "measured" {
        return Ok(Depth::Measured);
    }
    number(text, 1..=MAX_DEPTH.get())
        .map(|depth| NonZero::new(depth).map_or(Depth::Measured, Depth::Fixed))
        .map_err(|wrong| wrong.or("measured"))
}

pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let accepted = || {
        let [least, most] = [*range.start(), *range.end()].map(bound);
        format!("a duration from {least} to {most}, like 90s, 10m or 1h 30m")
    };
    let duration = humantime::parse_duration(text).map_err(|_| Wrong::new("is not a duration", accepted()))?;
    if range.contains(&duration) { Ok(duration) } else { Err(Wrong::new("is out of range", accepted())) }
}

/// A bound for people: in days if humantime, whose months have 30.44 days, would split it into several units.
fn bound(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string();
    let days = duration.as_secs() / 86_400;
    if text.contains(' ') && duration == Duration::from_hours(24 * days) { format!("{days}days") } else { text }
}

pub(super) fn database_url(text: &str) -> Result<String, Wrong> {
    // The driver would treat further lines as part of the database's name, which messages contain.
    if text.contains(['\n', '\r']) {
        return Err(Wrong::new("has more than one line", db::DatabaseUrlError::EXPECTED));
    }
    db::check_database_url(text).map(|()| text.to_owned()).map_err(|error| Wrong::new(error.fault(), error.expected()))
}

pub(super) fn duration_or_none(text: &str, range: RangeInclusive<Duration>) -> Result<Option<Duration>, Wrong> {
    if text == "none" { Ok(None) } else { or_none(duration(text, range)) }
}

fn or_none<T>(value: Result<T, Wrong>) -> Result<Option<T>, Wrong> {
    value.map(Some).map_err(|wrong| wrong.or("none"))
}

/// Reads the URL from the file that the text names.
pub(super) fn database_url_file(text: &str) -> Result<String, Wrong> {
    const ACCEPTED: &str = "a readable file that contains only a database URL";
    if is_url(text) {
        return Err(Wrong::new("is a URL", format!("{ACCEPTED}; the URL itself is for --database-url")));
    }
    let path = path(text)?;
    let content =
        fs::read_to_string(&path).map_err(|error| Wrong::new(format!("cannot be read: {error}"), ACCEPTED))?;
    let url = content.trim_end();
    if url.is_empty() {
        return Err(Wrong::new("is empty", ACCEPTED));
    }
    database_url(url).map_err(|Wrong { fault, accepted }| {
        Wrong::new(format!("holds what is no database URL: {fault}"), format!("{ACCEPTED}: {accepted}"))
    })
}

/// The URLs of the shards of a counter, with blanks or line breaks between them.
pub(super) fn shards(text: &str) -> Result<Vec<String>, Wrong> {
    let urls: Vec<String> = text.split_whitespace().map(database_url).collect::<Result<_, _>>()?;
    match ShardCount::new(urls.len()) {
        Some(_) => Ok(urls),
        None => Err(Wrong::new(format!("names {} databases", urls.len()), format!("1 to {}", ShardCount::MAX))),
    }
}

/// Masks the passwords of several URLs.
pub(super) fn mask_urls(text: &str) -> String {
    text.split_whitespace().map(db::mask_password).collect::<Vec<_>>().join(" ")
}

pub(super) fn embedded_kind(text: &str) -> Result<EmbeddedKind, Wrong> {
    let kinds = [EmbeddedKind::Native, EmbeddedKind::Wasm];
    kinds.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        Wrong::new(
            "is unknown",
            "native (PostgreSQL as installed on this machine) or wasm (TimescaleDB in WebAssembly, which needs \
             Node.js)",
        )
    })
}

/// Several values with commas between. The fault names each wrong one, unless the text has a password, which may
/// contain commas.
pub(super) fn list<T>(text: &str, parse: fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let mut values = Vec::new();
    let mut wrong: Option<Wrong> = None;
    let holds_password = db::mask_passwords_in(text) != text;
    for text in text.split(',').map(str::trim) {
        match parse(text) {
            Ok(value) => values.push(value),
            Err(Wrong { fault, accepted }) => {
                if holds_password {
                    return Err(Wrong::new(
                        format!("has what {fault}"),
                        format!("{accepted}; several with commas between"),
                    ));
                }
                let before = wrong.map_or_else(|| "has".to_owned(), |wrong| format!("{}, and", wrong.fault));
                wrong = Some(Wrong::new(
                    format!("{before} {text:?}, which {fault}"),
                    format!("{accepted}; several with commas between"),
                ));
            }
        }
    }
    wrong.map_or(Ok(values), Err)
}

/// The most sites with a label of their own. Each is two series in every daemon.
const MAX_METRICS_SITES: usize = 50;

pub(super) fn sites(text: &str) -> Result<Vec<SiteName>, Wrong> {
    let mut sites = list(text, site)?;
    sites.sort_unstable();
    sites.dedup();
    if sites.iter().any(|site| site.as_str() == OTHER) {
        let accepted =
            "the names of sites with commas between, but not `other`, which is the label of all that are not named";
        return Err(Wrong::new("names a site `other`", accepted));
    }
    if sites.len() > MAX_METRICS_SITES {
        let given = format!("names {} sites", sites.len());
        return Err(Wrong::new(given, format!("at most {MAX_METRICS_SITES} names of sites with commas between")));
    }
    Ok(sites)
}

pub(super) fn site(text: &str) -> Result<SiteName, Wrong> {
    SiteName::new(text).map_err(|InvalidInput { fault, accepted, .. }| Wrong::new(fault, accepted))
}

pub(super) fn topic_address(text: &str) -> Result<TopicAddress, Wrong> {
    TopicAddress::new(text).map_err(|fault| Wrong::new(fault, TopicAddress::ACCEPTED))
}

pub(super) fn topic(text: &str) -> Result<String, Wrong> {
    const ACCEPTED: &str = "the name of a topic: 1 to 180 letters, digits, dots, underscores and hyphens";
    check_topic(text).map(|()| text.to_owned()).map_err(|fault| Wrong::new(fault, ACCEPTED))
}

pub(super) fn time_unit(text: &str) -> Result<TimeUnit, Wrong> {
    text.parse().map_err(|_| Wrong::new("is unknown", "ms, s, rfc3339 or auto"))
}

/// A name of 1 to `most` visible ASCII characters.
pub(super) fn visible(text: &str, most: usize) -> Result<String, Wrong> {
    if (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new("is no such name", format!("a name of 1 to {most} visible ASCII characters")))
    }
}

/// Reads the settings of Kafka's client from the file that the text names.
pub(super) fn kafka_config_file(text: &str) -> Result<ClientSettings, Wrong> {
    const ACCEPTED: &str = "a readable file with one name=value a line";
    let wrong = |fault: String| Wrong::new(fault, ACCEPTED);
    let path = path(text)?;
    let content = fs::read_to_string(&path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    ClientSettings::new(&content).map_err(wrong)
}

pub(super) fn origin(text: &str) -> Result<Origin, Wrong> {
    text.parse().map_err(|error: model::access::InvalidOrigin| Wrong::new(error.fault(), Origin::ACCEPTED))
}

pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address).ok_or_else(|| {
        Wrong::new(
            "is not a network",
            "an address, or one with the number of its leading bits, like 127.0.0.1, 10.0.0.0/8 or fd00::/8",
        )
    })
}

pub(super) fn rate(text: &str) -> Result<Option<Rate>, Wrong> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Wrong::new("is not a rate", format!("none, or {}", Rate::ACCEPTED)))
}

pub(super) fn forwarded_header(text: &str) -> Result<ForwardedHeader, Wrong> {
    match text {
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err(Wrong::new("is unknown", "x-forwarded-for or forwarded")),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| {
        Wrong::new(
            "is not a filter",
            "error, warn, info, debug or trace, for all or by module, like info,analyticsd::spool=debug",
        )
    })
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Wrong> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(Wrong::new("is unknown", "human or json")),
    }
}
