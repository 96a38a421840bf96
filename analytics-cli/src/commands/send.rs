use clap::Args;
use model::{Event, EventKind, Hour, InvalidInput, Timestamp, UserName};

use crate::{
    failure::{Failure, Verdict},
    output,
    server::Server,
    time::TimeArgument,
};

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Who did it: a name of 1 to 256 bytes.
    #[arg(long, value_name = "NAME", value_parser = |name: &str| UserName::new(name))]
    user: UserName,

    /// What was done: click or impression.
    #[arg(long, value_name = "EVENT", value_parser = parse_kind)]
    event: EventKind,

    /// When: RFC 3339, now, a time before now as in -2h, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    at: TimeArgument,
}

/// Sends one event, and says which hour counts it.
pub(crate) async fn run(args: SendArgs, server: &Server) -> Result<Verdict, Failure> {
    let at = args.at.resolve("--at", Timestamp::now())?;
    let event = Event { at, user: args.user, kind: args.event };
    match server.send(&event).await {
        Ok(()) => {
            output::talk(&format!("stored; the hour {} counts it", Hour::containing(at)));
            Ok(Verdict::Yes)
        }
        Err(error) if error.leaves_fate_unknown() => Err(Failure::FateUnknown {
            error,
            advice: format!(
                "whether the event is stored is unknown: look with `analytics-cli query --at {}` before you send it again",
                at.millis()
            ),
        }),
        Err(error) => Err(error.into()),
    }
}

fn parse_kind(word: &str) -> Result<EventKind, InvalidInput> {
    EventKind::parse(word)
}
