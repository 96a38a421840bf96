//! Thousands of clients at a time, each only a socket: as many HTTP clients would need more of the machine than the
//! daemon.

use std::{io, time::Duration};

use anyhow::Context;
use model::{Event, EventKind, Hour, SiteEvent, SiteHour, Timestamp, UserName, wire::ANALYTICS_PATH};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    answer::{Answer, Asked},
    operation::{Action, Operation, Outcome},
};

/// The longest that a client waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// After a refusal a client stays away for a random part of this, which is the daemon's `Retry-After`.
const LONGEST_ABSENCE: Duration = Duration::from_secs(1);
/// The share of requests that read counts.
const READS: f64 = 0.05;
/// After this many requests a client uses another name.
const REQUESTS_PER_NAME: u64 = 50;
/// In bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Clients that record their operations.
pub(crate) struct Crowd {
    clients: JoinSet<Vec<Operation>>,
    stop: watch::Sender<bool>,
}

impl Crowd {
    /// Clients are numbered from `first`. After `stay` requests, each closes its connection and opens a new one.
    pub(crate) fn start(seed: u64, first: u32, clients: u32, stay: Option<u32>, url: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").context("the daemon does not serve plain HTTP")?;
        let (stop, _) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for number in first..first + clients {
            let client = Client {
                number,
                rng: StdRng::seed_from_u64(seed ^ (u64::from(number) << 32)),
                address: address.to_owned(),
                stay,
                stop: stop.subscribe(),
                sent: 0,
                operations: Vec::new(),
            };
            tasks.spawn(client.run());
        }
        Ok(Self { clients: tasks, stop })
    }

    /// Waits for the answers to the last requests, and returns all operations.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Vec<Operation>> {
        self.stop.send_replace(true);
        let mut operations = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            operations.extend(client.context("a client failed")?);
        }
        Ok(operations)
    }
}

struct Client {
    number: u32,
    rng: StdRng,
    address: String,
    stay: Option<u32>,
    stop: watch::Receiver<bool>,
    sent: u64,
    operations: Vec<Operation>,
}

impl Client {
    async fn run(mut self) -> Vec<Operation> {
        while !*self.stop.borrow() {
            if !self.visit().await {
                let absence = LONGEST_ABSENCE.mul_f64(self.rng.random());
                let _ = timeout(absence, self.stop.wait_for(|stop| *stop)).await;
            }
        }
        self.operations
    }

    /// One connection. False if a request failed.
    async fn visit(&mut self) -> bool {
        // The wait includes the connection.
        let mut began = Instant::now();
        let mut stream = TcpStream::connect(&self.address).await.ok();
        for _ in 0..self.stay.unwrap_or(u32::MAX) {
            let served = self.ask(stream.as_mut(), began).await;
            if !served {
                return false;
            }
            if *self.stop.borrow() {
                break;
            }
            began = Instant::now();
        }
        true
    }

    async fn ask(&mut self, stream: Option<&mut TcpStream>, began: Instant) -> bool {
        let at = Timestamp::now();
        let event = (!self.rng.random_bool(READS)).then(|| self.choose_event(at));
        let request = match &event {
            Some(Event { at, user, kind }) => {
                format!("POST {ANALYTICS_PATH}?timestamp={}&user={user}&event={kind}", at.millis())
            }
            None => format!("GET {ANALYTICS_PATH}?timestamp={}", at.millis()),
        };
        let request = format!("{request} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let answer = match stream {
            Some(stream) => match timeout(REQUEST_TIMEOUT, exchange(stream, request.as_bytes())).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) | Err(_) => Err(Outcome::Unknown),
            },
            None => Err(Outcome::Unsent),
        };
        let asked = if event.is_some() { Asked::Store } else { Asked::Counts };
        if let Ok(answer) = &answer
            && let Some(why) = answer.objection(asked, false)
        {
            self.note(began, Action::Protest { why });
        }
        let served = answer.as_ref().is_ok_and(|answer| answer.status.is_success());
        let action = if let Some(event) = event {
            let outcome = answer.as_ref().map_or_else(|unanswered| *unanswered, Answer::outcome);
            Action::Send { events: vec![SiteEvent::nameless(event)], outcome }
        } else {
            let counts = answer.ok().and_then(|answer| answer.body.parse().ok());
            Action::Read { hour: SiteHour::nameless(Hour::containing(at)), counts }
        };
        self.note(began, action);
        served
    }

    fn note(&mut self, began: Instant, action: Action) {
        let (began, ended) = (began.into_std(), Instant::now().into_std());
        self.operations.push(Operation { client: self.number, began, ended, action });
    }

    fn choose_event(&mut self, at: Timestamp) -> Event {
        self.sent += 1;
        let name = format!("crowd-{}-{}", self.number, self.sent / REQUESTS_PER_NAME);
        Event {
            at,
            user: UserName::new(name).expect("the name is short and has no NUL"),
            kind: if self.rng.random_bool(0.5) { EventKind::Click } else { EventKind::Impression },
        }
    }
}

/// The request has no body.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Answer> {
    stream.write_all(request).await?;
    let mut bytes = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = parse(&bytes) {
            return Ok(answer);
        }
        if bytes.len() > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// None until the answer is complete.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let mut headers = lines.clone().filter_map(|line| line.split_once(':'));
        headers.find_map(|(given, value)| given.eq_ignore_ascii_case(name).then(|| value.trim()))
    };
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let retry_after = header("retry-after").map(str::to_owned);
    let body = body.get(..length)?.to_owned();
    Some(Answer { status, retry_after, body })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nretry-after: 1\r\n\r\nbusy";
        for end in 0..busy.len() {
            assert!(parse(&busy.as_bytes()[..end]).is_none());
        }
        let answer = parse(busy.as_bytes()).unwrap();
        assert_eq!((answer.status.as_u16(), answer.retry_after.as_deref(), &*answer.body), (503, Some("1"), "busy"));
        let stored = parse(b"HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n").unwrap();
        assert_eq!((stored.status.as_u16(), stored.retry_after, &*stored.body), (204, None, ""));
    }
}
