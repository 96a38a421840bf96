use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use client::Client;
use event_files::{Format, Host};
use model::wire;

use crate::{
    failure::Failure,
    import::{self, Keys, Options, Source},
    site::SiteOption,
};

const FORMATS: &str = "\
Formats:
  ndjson    one JSON object a line, with milliseconds since 1970:
            {\"timestamp\":1431857103000,\"user\":\"ann\",\"event\":\"click\"}
            The event is click or impression.
  csv       a header that names the columns timestamp, user and event in
            any order, and perhaps site; other columns are
            ignored.
  combined  the access log of Apache and nginx. The user is the client
            address. A page view is a GET answered 2xx or 304 whose path
            has no asset extension. It is a click if its referer's host
            is an --own-host, else an impression.

A line that cannot be read is reported with its number and skipped, and
the exit code is 1.

Each event is sent under an idempotency key: the line's own, if it has one,
else one made from the beginning of the file and the line number. So you
can repeat an interrupted import: nothing is counted twice. If a log has
grown, only its new lines are counted. This holds for as long as the server
keeps raw events. An import that stops early prints which lines are stored
and which are not.";

#[derive(Debug, Args)]
#[command(after_long_help = FORMATS)]
pub(crate) struct ImportArgs {
    /// The files to import; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The format of the files.
    #[arg(long, value_enum)]
    format: FormatName,

    /// For combined: a host, without a leading www., whose pages lead to clicks. May be given several times.
    #[arg(long = "own-host", value_name = "HOST")]
    own_hosts: Vec<Host>,

    #[command(flatten)]
    site: SiteOption,

    /// The most events in one request. A request is stored as a whole or not at all.
    #[arg(long, value_name = "N", default_value_t = wire::MAX_BATCH_EVENTS as u64,
          value_parser = clap::value_parser!(u64).range(1..=wire::MAX_BATCH_EVENTS as u64))]
    batch_size: u64,

    /// Begin at this line of the first file, counted from 1. Lines that are known to be stored need not be sent again.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,

    /// A name for the files that tells them apart from other files with the same first line.
    #[arg(long, value_name = "NAME")]
    id: Option<String>,

    /// Make no keys; lines that have one keep it. This is three to four times as fast and stores a quarter as much,
    /// but repeating the import counts the lines again.
    #[arg(long, conflicts_with = "id")]
    without_keys: bool,

    /// Write the place of every line that could not be read, and the reason, to this file.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Ndjson,
    Csv,
    Combined,
}

pub(crate) async fn run(args: ImportArgs, client: Client) -> Result<ExitCode, Failure> {
    let format = match args.format {
        FormatName::Ndjson => Format::Ndjson,
        FormatName::Csv => Format::Csv,
        FormatName::Combined => Format::Combined(args.own_hosts),
    };
    let sources = args.files.into_iter().map(Source::find).collect::<Result<Vec<_>, _>>()?;
    let batch_size = usize::try_from(args.batch_size).unwrap_or(wire::MAX_BATCH_EVENTS);
    let keys = if args.without_keys { Keys::None } else { Keys::OfLines(args.id) };
    let options = Options { format, batch_size, rejects: args.rejects, from_line: args.from_line, keys };
    import::run(&client.at_site(args.site.site), &sources, options).await
}
