use std::path::PathBuf;

use clap::{Args, ValueEnum};
use event_files::{Format, Site};
use model::wire;

use crate::{
    failure::{Failure, Verdict},
    import::{self, Keys, Options, Source},
    server::Server,
};

const FORMATS: &str = "\
Formats:
  ndjson    one JSON object a line, with milliseconds since 1970:
            {\"timestamp\":1431857103000,\"user\":\"ann\",\"event\":\"click\"}
            The event is click or impression.
  csv       a header that names the columns timestamp, user and event in
            any order; other columns are ignored.
  combined  the access log of Apache and nginx. The user is the client
            address. A page view is a GET answered 2xx or 304 whose path
            has no asset extension. It is a click if its referer's host
            is a --site, else an impression.

A line that cannot be read is reported with its number and left out, and
the exit code is 1.

Each event is sent under an idempotency key: that of its line, if it has
one, else one made of how the file begins and the number of the line. So
an import that was interrupted is given again and counts nothing twice, and
of a log that has grown only what is new is counted, for as long as the
server keeps raw events. An import that has to stop says which lines are
stored and which are not.";

#[derive(Debug, Args)]
#[command(after_long_help = FORMATS)]
pub(crate) struct ImportArgs {
    /// The files to import, one after the other; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How the files are written.
    #[arg(long, value_enum)]
    format: FormatName,

    /// A host whose pages lead to clicks, without a leading www.; may be given many times. For combined.
    #[arg(long = "site", value_name = "HOST")]
    sites: Vec<Site>,

    /// The most events of one request, which are stored together or not at all.
    #[arg(long, value_name = "N", default_value_t = wire::MAX_BATCH_EVENTS as u64,
          value_parser = clap::value_parser!(u64).range(1..=wire::MAX_BATCH_EVENTS as u64))]
    batch_size: u64,

    /// Begin at this line of the first file, counted from 1: what is known to be stored need not be sent again.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,

    /// Name the files, so that they are told apart from others that begin with the same line.
    #[arg(long, value_name = "NAME")]
    id: Option<String>,

    /// Send lines without keys, unless they have their own: three to four times as fast and a quarter as much to store, but giving the command again counts them again.
    #[arg(long, conflicts_with = "id")]
    without_keys: bool,

    /// Write where and why every line could not be read to this file.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Ndjson,
    Csv,
    Combined,
}

/// Imports the files one after the other.
pub(crate) async fn run(args: ImportArgs, server: &Server) -> Result<Verdict, Failure> {
    let format = match args.format {
        FormatName::Ndjson => Format::Ndjson,
        FormatName::Csv => Format::Csv,
        FormatName::Combined => Format::Combined(args.sites),
    };
    let sources = args.files.into_iter().map(Source::find).collect::<Result<Vec<_>, _>>()?;
    let batch_size = usize::try_from(args.batch_size).unwrap_or(wire::MAX_BATCH_EVENTS);
    let keys = if args.without_keys { Keys::None } else { Keys::OfLines(args.id) };
    let options = Options { format, batch_size, rejects: args.rejects, from_line: args.from_line, keys };
    import::run(server, &sources, options).await
}
