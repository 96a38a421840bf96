use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use client::Client;
use event_files::{FormatChoice, Host, PageViewRules, PathPattern, Reading, VisitorOf};
use ipnet::IpNet;
use model::{TimeUnit, wire};

use crate::{
    failure::Failure,
    import::{self, Input, Options, SourceChoice},
    site::SiteOption,
};

const FORMATS: &str = "\
Formats:
  auto            what the first lines of a file fit; the one that was taken is
                  printed
  ndjson          one JSON object a line:
                  {\"timestamp\":1431857103000,\"user\":\"ann\",\"event\":\"click\"}
                  The event is click or impression.
  csv             a header that names the columns timestamp, user and event in
                  any order, between commas, semicolons or tabs, and perhaps
                  site and id; other columns are ignored.
  common, combined
                  the access logs of Apache and nginx, with or without a
                  virtual host in front; vhost-common and vhost-combined if one
                  always stands there.
  json            logs of Caddy and Traefik, and of nginx with members named
                  as its variables
  w3c             the W3C's extended format: IIS, CloudFront
  elb             Amazon's load balancers
  --log-format    the format string of your own server

A log's user is the client address, in one spelling. A page view is a GET
answered 2xx or 304 whose path has no asset ending. It is a click if its
referer's host is an --own-host, else an impression. What syslog, journald,
Docker, Compose and Kubernetes put before a line does not matter. Files may be
compressed by gzip or zstd.

A line that cannot be read is reported with its number and skipped, and
the exit code is 1.

A file is an ordered source: the server stores how far it is imported together
with its events. So an import that was interrupted, and is run again, counts
nothing twice, and of a log that has grown only the new lines, also if it was
renamed or compressed meanwhile. A file is told by its content, so that its
lines must not change. A last line without an end waits for the next import.
A line with an id of its own is stored once, whatever file it is in.";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch")]
#[command(after_long_help = FORMATS)]
pub(crate) struct ImportArgs {
    /// The files to import; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The format of the files.
    #[arg(long, value_name = "FORMAT", default_value = "auto",
          value_parser = PossibleValuesParser::new(FormatChoice::NAMES).try_map(|name| name.parse::<FormatChoice>()))]
    format: FormatChoice,

    /// The format string of your server, as the configuration of Apache or nginx has it.
    #[arg(long, value_name = "PATTERN", conflicts_with = "format", value_parser = FormatChoice::of_pattern)]
    log_format: Option<FormatChoice>,

    /// How timestamps of ndjson and csv are written: as milliseconds since 1970, as seconds, or as RFC 3339; auto is
    /// milliseconds or RFC 3339.
    #[arg(long, value_name = "UNIT", default_value = "auto",
          value_parser = PossibleValuesParser::new(TimeUnit::NAMES).try_map(|name| name.parse::<TimeUnit>()))]
    timestamps: TimeUnit,

    /// For logs: a host, without a leading www., whose pages lead to clicks. May be given several times.
    #[arg(long = "own-host", value_name = "HOST")]
    own_hosts: Vec<Host>,

    /// For logs: the networks of your proxies, whose lists of forwarded addresses are believed, separated by commas.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Vec<IpNet>,

    /// For logs: what makes one visitor. With address+agent the server makes a name of the two, which is the same for a
    /// day, as for the pixel; it stores neither.
    #[arg(long, value_enum, default_value = "address")]
    visitor: Visitor,

    /// For logs: leave out the requests of bots that say so in their user agent.
    #[arg(long)]
    exclude_bots: bool,

    /// For logs: leave out requests whose path is this, in which * is any text and ? one character. May be given several times.
    #[arg(long = "exclude", value_name = "PATTERN", value_parser = PathPattern::new)]
    excluded: Vec<PathPattern>,

    /// For logs: the endings of paths that are no page views, instead of the usual ones, separated by commas.
    #[arg(long, value_name = "ENDINGS", value_delimiter = ',')]
    asset_endings: Option<Vec<String>>,

    #[command(flatten)]
    site: SiteOption,

    /// The most events in one request. A request is stored as a whole or not at all.
    #[arg(long, value_name = "N", default_value_t = wire::MAX_BATCH_EVENTS as u64,
          value_parser = clap::value_parser!(u64).range(1..=wire::MAX_BATCH_EVENTS as u64))]
    batch_size: u64,

    /// Import the last line also if it has no end.
    #[arg(long)]
    complete: bool,

    /// A name for the files that tells them apart from files that were imported before: their lines are counted again.
    #[arg(long, value_name = "NAME")]
    id: Option<String>,

    /// Go on as the files grow, through rotation, until the program is interrupted. What a file was rotated to is
    /// finished, if a part of it was imported.
    #[arg(long, conflicts_with_all = ["complete", "without_source"])]
    follow: bool,

    /// With --follow: write every second how far behind the import is to this file, for Prometheus' node exporter.
    #[arg(long, value_name = "FILE", requires = "follow")]
    metrics: Option<PathBuf>,

    /// Do not note how far the files are imported: the lines are counted as often as they are sent, but for those with an
    /// id of their own.
    #[arg(long, conflicts_with = "id")]
    without_source: bool,

    /// With --without-source: begin at this line of the first file, counted from 1.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "without_source", value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,

    /// Write the place of every line that could not be read, and the reason, to this file.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(IpNet::V6(network)) if network.network().to_ipv4_mapped().is_some() => {
            Err("IPv4 addresses are compared as such; write it without ::ffff:, as 10.0.0.0/8".to_owned())
        }
        Ok(network) => Ok(network),
        Err(_) => Err("this is no network; accepted is an address, or a network as 10.0.0.0/8".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Visitor {
    Address,
    #[value(name = "address+agent")]
    AddressAndAgent,
}

pub(crate) async fn run(args: ImportArgs, client: Client) -> Result<ExitCode, Failure> {
    let mut rules = PageViewRules {
        own_hosts: args.own_hosts,
        trusted_proxies: args.trusted_proxies,
        excluded: args.excluded,
        exclude_bots: args.exclude_bots,
        visitor: match args.visitor {
            Visitor::Address => VisitorOf::Address,
            Visitor::AddressAndAgent => VisitorOf::AddressAndAgent,
        },
        ..PageViewRules::default()
    };
    if let Some(endings) = args.asset_endings {
        let ending = |text: String| text.trim().trim_start_matches(['*', '.']).to_ascii_lowercase();
        rules.asset_endings = endings.into_iter().map(ending).filter(|ending| !ending.is_empty()).collect();
    }
    let reading = Reading {
        format: args.log_format.unwrap_or(args.format),
        unit: args.timestamps,
        rules,
        leaves_unfinished: !args.complete && !args.without_source,
    };
    let find = if args.follow { Input::to_follow } else { Input::find };
    let inputs = args.files.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
    if inputs.contains(&Input::Stdin) && args.follow {
        let advice = "--follow reads files as they grow; what standard input brings is sent as it comes without it";
        return Err(Failure::CannotRun(advice.to_owned()));
    }
    let options = Options {
        reading,
        batch_size: usize::try_from(args.batch_size).unwrap_or(wire::MAX_BATCH_EVENTS),
        rejects: args.rejects,
        from_line: args.from_line,
        source: if args.without_source { SourceChoice::None } else { SourceChoice::Named(args.id) },
        metrics: args.metrics,
        follow: args.follow,
    };
    import::run(&client.at_site(args.site.site), &inputs, options).await
}
