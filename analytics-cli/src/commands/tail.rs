use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use client::{Client, LiveStream, StreamEnd, Update};
use model::{HourCounts, LiveCounts};
use tokio::time::sleep;

use crate::{
    failure::Failure,
    output::{self, Unwritten},
    site::SiteOption,
};

const PAUSE_BEFORE_RECONNECTING: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    site: SiteOption,

    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for people, which a terminal shows in place until the hour ends.
    Text,
    /// A JSON object a line, for programs.
    Ndjson,
}

/// Prints until it is interrupted. A server that cannot be reached at the beginning is an error; one that goes away
/// later is waited for.
pub(crate) async fn run(args: TailArgs, client: Client) -> Result<ExitCode, Failure> {
    let client = &client.at_site(args.site.site.clone());
    let mut screen = Screen { format: args.format, is_terminal: io::stdout().is_terminal(), shown: None };
    let mut stream = client.live().await?;
    loop {
        let end = follow(stream, &mut screen).await?;
        screen.leave_line()?;
        output::message(&format!("{end}; reconnecting every {} seconds", PAUSE_BEFORE_RECONNECTING.as_secs()));
        stream = loop {
            sleep(PAUSE_BEFORE_RECONNECTING).await;
            if let Ok(stream) = client.live().await {
                break stream;
            }
        };
        output::message("reconnected");
    }
}

async fn follow(mut stream: LiveStream, screen: &mut Screen) -> Result<StreamEnd, Unwritten> {
    loop {
        match stream.next().await {
            Ok(update) => screen.show(update)?,
            Err(end) => return Ok(end),
        }
    }
}

struct Screen {
    format: Format,
    is_terminal: bool,
    /// The counts in the line that the next ones replace.
    shown: Option<LiveCounts>,
}

impl Screen {
    fn show(&mut self, update: Update) -> Result<(), Unwritten> {
        let Update::Counts(counts) = update else {
            self.leave_line()?;
            output::message("the server's database does not answer; counts follow when it does");
            return Ok(());
        };
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
        // The replaced line may have been longer.
        format!("{start}{line}\x1b[K")
    }

    /// Ends the line that the next counts would replace, so that a message can follow.
    fn leave_line(&mut self) -> Result<(), Unwritten> {
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
    use model::{Hour, HourCounts, LiveCounts, Timestamp};

    use super::{Format, Screen};

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
