use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::{Args, ValueEnum};
use model::{Hour, HourCounts};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::{
    failure::{Failure, Verdict},
    output,
    server::Server,
    server_events::{ServerEvent, ServerEvents},
};

/// How long the server may say nothing; it sends something every 2 seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// How long to wait before listening anew after the stream broke.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// How to write what changes.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for people, which on a terminal is written over until the hour ends.
    Text,
    /// A JSON object a line, for programs.
    Ndjson,
}

/// An hour and what it counts, as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LiveCounts {
    hour: Hour,
    #[serde(flatten)]
    counts: HourCounts,
}

/// Prints the counts of the current hour whenever they change, until it is interrupted. A server that is not there at the beginning is an
/// error; one that goes away later is waited for.
pub(crate) async fn run(args: TailArgs, server: &Server) -> Result<Verdict, Failure> {
    let mut screen = Screen { format: args.format, is_terminal: io::stdout().is_terminal(), shown: None };
    let mut response = server.listen().await?;
    loop {
        let why = follow(server, response, &mut screen).await?;
        screen.leave_line()?;
        output::talk(&format!("{why}; trying again every {} seconds", PAUSE.as_secs()));
        response = loop {
            sleep(PAUSE).await;
            if let Ok(response) = server.listen().await {
                break response;
            }
        };
        output::talk("listening again");
    }
}

/// Shows what comes until the stream ends, and says why it did.
async fn follow(server: &Server, mut response: reqwest::Response, screen: &mut Screen) -> Result<String, Failure> {
    let mut events = ServerEvents::default();
    loop {
        let piece = match timeout(LONGEST_SILENCE, response.chunk()).await {
            Err(_) => return Ok(format!("the server said nothing for {} seconds", LONGEST_SILENCE.as_secs())),
            Ok(Err(error)) => return Ok(server.no_answer(error).to_string()),
            Ok(Ok(None)) => return Ok("the server ended the stream".to_owned()),
            Ok(Ok(Some(piece))) => piece,
        };
        let Ok(events) = events.take(&piece) else { return Ok("the server sent what is no stream".to_owned()) };
        for event in events {
            screen.show(&event)?;
        }
    }
}

/// Where the counts are shown.
struct Screen {
    format: Format,
    is_terminal: bool,
    /// What stands in the line that can be written over.
    shown: Option<LiveCounts>,
}

impl Screen {
    fn show(&mut self, event: &ServerEvent) -> Result<(), Failure> {
        if event.name == "unavailable" {
            self.leave_line()?;
            output::talk("the server's database does not answer; counts follow when it does");
            return Ok(());
        }
        let Ok(counts) = serde_json::from_str::<LiveCounts>(&event.data) else { return Ok(()) };
        let text = match self.format {
            Format::Ndjson => serde_json::to_string(&counts).expect("texts and numbers can be written as JSON") + "\n",
            Format::Text => self.line(&counts),
        };
        self.shown = Some(counts);
        output::print(&text)
    }

    fn line(&self, counts: &LiveCounts) -> String {
        let line = words(counts);
        if !self.is_terminal {
            return line + "\n";
        }
        // An hour that has ended keeps its last line.
        let is_new_hour = self.shown.as_ref().is_some_and(|shown| shown.hour != counts.hour);
        let start = if is_new_hour { "\n" } else { "\r" };
        // What was there before may have been longer.
        format!("{start}{line}\x1b[K")
    }

    /// Ends the line that was to be written over, so that something else can be said.
    fn leave_line(&mut self) -> Result<(), Failure> {
        let is_open = self.format == Format::Text && self.is_terminal && self.shown.take().is_some();
        if is_open { output::print("\n") } else { Ok(()) }
    }
}

fn words(LiveCounts { hour, counts }: &LiveCounts) -> String {
    let HourCounts { unique_users, clicks, impressions } = counts;
    format!("{hour}  unique_users {unique_users}  clicks {clicks}  impressions {impressions}")
}

#[cfg(test)]
mod tests {
    use model::{Hour, HourCounts, Timestamp};

    use super::{Format, LiveCounts, Screen};

    fn counts(hour: i64, clicks: u64) -> LiveCounts {
        let hour = Hour::containing(Timestamp::from_millis(hour * 3_600_000).unwrap());
        LiveCounts { hour, counts: HourCounts { unique_users: 1, clicks, impressions: 0 } }
    }

    #[test]
    fn a_terminal_shows_one_line_an_hour_and_a_pipe_one_for_each_change() {
        let line = "1970-01-01T00:00:00Z  unique_users 1  clicks 2  impressions 0";
        let mut screen = Screen { format: Format::Text, is_terminal: true, shown: Some(counts(0, 1)) };
        assert_eq!(screen.line(&counts(0, 2)), format!("\r{line}\x1b[K"));
        assert!(screen.line(&counts(1, 0)).starts_with("\n1970-01-01T01:00:00Z"));
        screen.is_terminal = false;
        assert_eq!(screen.line(&counts(0, 2)), format!("{line}\n"));
    }
}
