use std::{collections::VecDeque, time::Duration};

use model::LiveCounts;
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    ClientError, ServerUrl,
    server_events::{ServerEvent, ServerEvents},
};

/// analyticsd sends something every 2 seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    Counts(LiveCounts),
    /// The server's database does not answer; counts follow when it does.
    Unavailable,
}

/// Why a stream ended.
#[derive(Debug, Error)]
pub enum StreamEnd {
    #[error("the server sent nothing for {} seconds", LONGEST_SILENCE.as_secs())]
    Silent,
    #[error(transparent)]
    Broken(ClientError),
    #[error("the server ended the stream")]
    Closed,
    #[error("the server sent something other than server-sent events")]
    Foreign,
}

/// The counts of the current hour, as server-sent events.
pub struct LiveStream {
    url: ServerUrl,
    response: reqwest::Response,
    events: ServerEvents,
    ready: VecDeque<Update>,
}

impl LiveStream {
    pub(crate) fn new(url: ServerUrl, response: reqwest::Response) -> Self {
        Self { url, response, events: ServerEvents::default(), ready: VecDeque::new() }
    }

    pub async fn next(&mut self) -> Result<Update, StreamEnd> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(update);
            }
            let piece = match timeout(LONGEST_SILENCE, self.response.chunk()).await {
                Err(_) => return Err(StreamEnd::Silent),
                Ok(Err(error)) => return Err(StreamEnd::Broken(ClientError::no_answer(&self.url, error))),
                Ok(Ok(None)) => return Err(StreamEnd::Closed),
                Ok(Ok(Some(piece))) => piece,
            };
            let events = self.events.take(&piece).map_err(|_| StreamEnd::Foreign)?;
            self.ready.extend(events.iter().filter_map(update));
        }
    }
}

fn update(event: &ServerEvent) -> Option<Update> {
    if event.name == "unavailable" {
        return Some(Update::Unavailable);
    }
    serde_json::from_str(&event.data).ok().map(Update::Counts)
}
