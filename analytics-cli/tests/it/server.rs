use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use model::{Calendar, Hour, Period, PeriodsPage, StoredHours, Timestamp, query_string::Parameters};

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// 204.
    Stored,
    /// 202.
    Spooled,
    /// 200 with a body.
    Text(String),
    /// 200 with a body and this header Date.
    Dated(String, String),
    /// A problem document with this status and detail, a line if one is at fault, and Retry-After: 0.
    Problem(u16, &'static str, Option<u64>),
    /// An answer that analyticsd never gives.
    Foreign(u16),
    /// The connection is closed without an answer.
    Nothing,
}

impl Answer {
    /// The answer to `GET /analytics/periods`, a page of it. Each period and all of them have one unique user, and so
    /// many clicks as its first hour says. The first event is of May 17, 2015.
    pub(crate) fn of_periods(request: &Request, clicks: impl Fn(Hour) -> u64) -> Self {
        let Some(query) = request.head.strip_prefix("GET /analytics/periods?") else { return Self::Foreign(404) };
        let parameters = Parameters::of(query);
        let value = |name| parameters.optional(name, "").unwrap();
        let hour = |name| Hour::containing(Timestamp::parse_either(&value(name).unwrap()).unwrap());
        let (range, step) = (hour("from")..=hour("to"), value("step").unwrap().parse().unwrap());
        let calendar: Calendar = value("time_zone").unwrap().parse().unwrap();
        let hours = calendar.periods(step, &range, PeriodsPage::MAX_PERIODS).unwrap();
        let period = |hours: &std::ops::RangeInclusive<Hour>| Period {
            start: calendar.local(*hours.start()),
            from: *hours.start(),
            to: *hours.end(),
            unique_users: Some(1),
            clicks: clicks(*hours.start()),
            impressions: 0,
            settled: false,
        };
        let periods: Vec<Period> = hours.iter().map(period).collect();
        let (from, to) = (periods[0].from, periods[periods.len() - 1].to);
        let next = to.next().filter(|next| next <= range.end());
        let next = next.map(|next| query.replacen(&*value("from").unwrap(), &next.to_string(), 1));
        let stored = "2015-05-17T10:00:00Z".parse().unwrap();
        let page = PeriodsPage {
            from,
            to,
            step,
            time_zone: calendar.to_string(),
            totals: periods
                .iter()
                .map(|period| model::HourCounts { unique_users: 1, clicks: period.clicks, impressions: 0 })
                .collect(),
            periods,
            unique_users: Some(1),
            unique_users_unknown_in: Vec::new(),
            stored: Some(StoredHours { first: stored, last: stored }),
            next: next.map(|query| format!("/analytics/periods?{query}")),
        };
        Self::Text(serde_json::to_string(&page).unwrap())
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The method and the target, as in `GET /path?query`.
    pub(crate) head: String,
    /// The headers as they were sent, in lower case.
    pub(crate) headers: String,
    /// The body.
    pub(crate) body: String,
}

/// A server on a free port that gives prepared answers and keeps what it was asked. It takes one request a
/// connection, which is all that a test of a client needs.
pub(crate) struct TestServer {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl TestServer {
    /// Gives these answers one after the other, and the last one for ever.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        let answers = Mutex::new(VecDeque::from(answers.to_vec()));
        Self::with(move |_| {
            let mut answers = answers.lock().unwrap();
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
        })
    }

    /// Lets a function answer.
    pub(crate) fn with(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = read_request(&mut stream);
                    // It knows of no source, which is what an import asks first.
                    if request.head.starts_with("GET /analytics/sources?") {
                        let none = r#"{"sources":[],"whole":true}"#;
                        return write_answer(&mut stream, &Answer::Text(none.to_owned()));
                    }
                    seen.lock().unwrap().push(request.clone());
                    write_answer(&mut stream, &answer(&request));
                });
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let (first, headers) = head.split_once("\r\n").unwrap();
            let headers = headers.to_lowercase();
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() == end + 4 + length {
                let head = first.rsplit_once(' ').unwrap().0.to_owned();
                return Request { head, headers, body: String::from_utf8(bytes[end + 4..].to_vec()).unwrap() };
            }
        }
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the client closed the connection within a request");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn write_answer(stream: &mut TcpStream, answer: &Answer) {
    let (status, headers, body) = match answer {
        Answer::Nothing => {
            stream.shutdown(Shutdown::Both).unwrap();
            return;
        }
        Answer::Stored => (204, String::new(), String::new()),
        Answer::Spooled => (202, "Content-Length: 0\r\n".to_owned(), String::new()),
        Answer::Text(body) => (200, format!("Content-Length: {}\r\n", body.len()), body.clone()),
        Answer::Dated(body, date) => (200, format!("Date: {date}\r\nContent-Length: {}\r\n", body.len()), body.clone()),
        Answer::Foreign(status) => (*status, "Content-Length: 5\r\n".to_owned(), "hello".to_owned()),
        Answer::Problem(status, detail, line) => {
            let line = line.map(|line| format!(r#","line":{line}"#)).unwrap_or_default();
            let body = format!(r#"{{"status":{status},"title":"A problem","detail":"{detail}"{line}}}"#);
            let length = body.len();
            (
                *status,
                format!("Content-Type: application/problem+json\r\nRetry-After: 0\r\nContent-Length: {length}\r\n"),
                body,
            )
        }
    };
    write!(stream, "HTTP/1.1 {status} x\r\nConnection: close\r\n{headers}\r\n{body}").unwrap();
}
