use clap::Args;
use model::{Event, EventKind, Hour, IdempotencyKey, InvalidInput, Timestamp, UserName};

use crate::{
    failure::{Failure, Verdict},
    output,
    server::{Delivery, Server},
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

    /// An idempotency key: sent again under the same key, the same event is counted once.
    #[arg(long, value_name = "KEY", value_parser = |key: &str| IdempotencyKey::new(key))]
    id: Option<IdempotencyKey>,
}

/// Sends one event, and says which hour counts it.
pub(crate) async fn run(args: SendArgs, server: &Server) -> Result<Verdict, Failure> {
    let at = args.at.resolve("--at", Timestamp::now())?;
    let event = Event { at, user: args.user, kind: args.event };
    match server.send(&event, args.id.as_ref()).await {
        Ok(Delivery::Stored) => {
            output::talk(&format!("stored; the hour {} counts it", Hour::containing(at)));
            Ok(Verdict::Yes)
        }
        Ok(Delivery::Spooled) => {
            let hour = Hour::containing(at);
            output::talk(&format!(
                "taken, but not stored yet: the database is away, and the hour {hour} counts it when it is back"
            ));
            Ok(Verdict::Yes)
        }
        Err(error) if error.leaves_fate_unknown() => Err(Failure::FateUnknown {
            error,
            advice: match args.id {
                Some(key) => format!(
                    "whether the event is stored is unknown: send it again with --id {key} --at {}, which counts it once",
                    at.millis()
                ),
                None => format!(
                    "whether the event is stored is unknown: look with `analytics-cli query --at {}` before you send it again",
                    at.millis()
                ),
            },
        }),
        Err(error) => Err(error.into()),
    }
}

fn parse_kind(word: &str) -> Result<EventKind, InvalidInput> {
    EventKind::parse(word)
}
