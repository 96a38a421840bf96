//! A server that answers as analyticsd does, and breaks a promise.

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use model::{
    EventKind, TimeUnit, Timestamp,
    wire::{self, SentVisitor},
};
use warp::{
    Filter,
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    hyper::body::Bytes,
};

/// What a liar does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing: the test of the tests.
    None,
    /// Acknowledges one event in ten without counting it.
    Loses,
    /// Counts one event in ten twice.
    CountsTwice,
    /// Forgets one new user in ten.
    MissesUsers,
    /// Answers reads from what it counted a while ago.
    ReadsLate,
    /// Refuses one event in ten, and counts it all the same.
    KeepsWhatItRefuses,
    /// Refuses one event in three: no lie, as long as it says so.
    RefusesSome,
    /// Refuses every event.
    RefusesAll,
    /// Answers some reads 200, but with other words, of which a terminal would obey some.
    Babbles,
    /// Takes so many milliseconds for each answer.
    Takes(u64),
    /// Acknowledges the event of this number without counting it.
    LosesOne(u64),
    /// Counts the event of this number twice.
    CountsOneTwice(u64),
    /// With the event of this number, counts one of a stranger two hours before it.
    InventsOne(u64),
    /// After so many events, counts one for the current hour a while after it acknowledged it: once it was asked often
    /// enough while no other event of its kind was on its way.
    DelaysOne(u64),
    /// Does not count the event of this number in its first answers after it.
    ShowsOneLate(u64),
    /// Stores the batch of a source that has the event of this number, answers as if it had not, and stores it again.
    StoresAgain(u64),
    /// The same, but it knows the batch again: no lie.
    LosesAnswer(u64),
    /// Stores the first half of the batch that has the event of this number, and says that a part is stored. Under the
    /// same key it stores the rest: no lie.
    StoresInPart(u64),
}

/// How many answers lack an event that is shown late.
const LATE: u32 = 20;
/// How many tenths of a second have such a question, until one that is delayed is counted.
const CLEAR: usize = 8;
/// After so long a silence the answers have come to whoever sent the events.
const SILENCE: Duration = Duration::from_millis(30);
/// How long an event takes until it is answered, during which it is counted already.
const TAKES: Duration = Duration::from_millis(10);

#[derive(Debug, Default, Clone)]
struct Counted {
    users: HashSet<String>,
    clicks: u64,
    impressions: u64,
}

/// A site, which is empty if it has no name, and an hour since 1970.
type SiteHour = (String, i64);

#[derive(Debug, Clone)]
struct Event {
    hour: SiteHour,
    user: String,
    is_click: bool,
}

#[derive(Debug)]
struct Delayed {
    event: Event,
    /// Tenths of a second since 1970 in which it could be missed for certain.
    clear: HashSet<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Those that came.
    pub(crate) events: u64,
    reads: u64,
    /// The number of the event that one of the replicas shows late.
    late_one: Option<u64>,
    hours: HashMap<SiteHour, Counted>,
    /// What late reads are answered from.
    old: HashMap<SiteHour, Counted>,
    /// Where the sources stand.
    sources: HashMap<String, u64>,
    /// How many events of the batch under this key are stored.
    parts: HashMap<String, usize>,
    /// The event that is shown late, and how many answers will lack it.
    late: Option<(Event, u32)>,
    delayed: Option<Delayed>,
    /// When the last impression is answered, and the last click.
    answered: [Option<Instant>; 2],
}

/// Listens until the test ends.
pub(crate) struct Liar {
    pub(crate) url: String,
    memory: Arc<Mutex<Memory>>,
}

impl Liar {
    pub(crate) async fn start(lie: Lie) -> Self {
        Self::with(lie, Arc::default()).await
    }

    /// Another one that has counted the same.
    pub(crate) async fn replica(&self, lie: Lie) -> Self {
        Self::with(lie, Arc::clone(&self.memory)).await
    }

    async fn with(lie: Lie, memory: Arc<Mutex<Memory>>) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        if let Lie::ShowsOneLate(event) = lie {
            memory.lock().unwrap().late_one = Some(event);
        }
        let shared = Arc::clone(&memory);
        let route = warp::method()
            .and(warp::path::full())
            .and(warp::query::<HashMap<String, String>>())
            .and(warp::header::headers_cloned())
            .and(warp::body::bytes())
            .then(move |method: Method, path: warp::path::FullPath, query, headers: HeaderMap, body: Bytes| {
                let memory = Arc::clone(&shared);
                async move {
                    if let Lie::Takes(millis) = lie {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                    }
                    let (status, text) =
                        memory.lock().unwrap().answer(&method, path.as_str(), &query, &headers, &body, lie);
                    let sends = method != Method::GET || path.as_str() != "/analytics";
                    if matches!(lie, Lie::DelaysOne(_)) && sends {
                        tokio::time::sleep(TAKES).await;
                    }
                    warp::reply::with_status(text, status)
                }
            });
        tokio::spawn(warp::serve(route).incoming(listener).run());
        Self { url, memory }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

impl Memory {
    /// Whether an event was delayed, and is counted now.
    pub(crate) fn is_counted_late(&self) -> bool {
        self.delayed.as_ref().is_some_and(|delayed| delayed.clear.len() >= CLEAR)
    }

    /// Whether there are answers to come that lack an event.
    pub(crate) fn shows_one_late(&self) -> bool {
        self.late.as_ref().is_some_and(|(_, answers)| *answers > 0)
    }

    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
        body: &[u8],
        lie: Lie,
    ) -> (StatusCode, String) {
        match (method, path) {
            (&Method::GET, "/analytics") => (StatusCode::OK, self.get(&hour_of(query), lie)),
            (&Method::GET, "/analytics.gif") => match self.store(vec![event_of(query)], lie) {
                StatusCode::NO_CONTENT => (StatusCode::OK, String::new()),
                refused => (refused, String::new()),
            },
            (&Method::POST, "/analytics") => (self.store(vec![event_of(query)], lie), String::new()),
            (&Method::POST, "/analytics/batch") => {
                let events = events_of(&decoded(headers, body));
                self.store_batch(events, query, headers.get("idempotency-key"), lie)
            }
            _ => (StatusCode::NOT_FOUND, String::new()),
        }
    }

    fn store_batch(
        &mut self,
        mut events: Vec<Event>,
        query: &HashMap<String, String>,
        key: Option<&HeaderValue>,
        lie: Lie,
    ) -> (StatusCode, String) {
        let count = events.len() as u64;
        let has = |number: u64| (self.events..self.events + count).contains(&number);
        if let (Some(key), Lie::StoresInPart(number)) = (key, lie) {
            let key = key.to_str().unwrap().to_owned();
            if has(number) && self.parts.is_empty() {
                let half = events.len() / 2;
                events.truncate(half);
                self.parts.insert(key, half);
                self.store(events, lie);
                return (StatusCode::SERVICE_UNAVAILABLE, problem(503, "Stored in part", ""));
            }
            events.drain(..self.parts.get(&key).copied().unwrap_or_default());
        }
        let Some(source) = query.get("source") else { return (self.store(events, lie), String::new()) };
        let [from, to] = ["from", "to"].map(|name| query[name].parse::<u64>().unwrap());
        let site = query.get("site").cloned().unwrap_or_default();
        let stands = self.sources.entry(format!("{site}/{source}")).or_default();
        if *stands >= to {
            return (StatusCode::NO_CONTENT, String::new());
        }
        if *stands != from {
            return (StatusCode::CONFLICT, problem(409, "Elsewhere", &format!(r#","position":{stands}"#)));
        }
        let again = matches!(lie, Lie::StoresAgain(number) if has(number));
        let lost = matches!(lie, Lie::LosesAnswer(number) if has(number));
        if !again {
            *stands = to;
        }
        let status = self.store(events, lie);
        if again || lost { (StatusCode::SERVICE_UNAVAILABLE, String::new()) } else { (status, String::new()) }
    }

    fn store(&mut self, events: Vec<Event>, lie: Lie) -> StatusCode {
        if lie == Lie::RefusesAll {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let mut status = StatusCode::NO_CONTENT;
        for event in events {
            self.events += 1;
            if lie == Lie::RefusesSome && self.events.is_multiple_of(3) {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let is_tenth = self.events.is_multiple_of(10);
            if (is_tenth && lie == Lie::Loses) || lie == Lie::LosesOne(self.events) {
                continue;
            }
            if lie == Lie::InventsOne(self.events) {
                let (site, hour) = &event.hour;
                self.hours.entry((site.clone(), hour - 2)).or_default().clicks += 1;
            }
            let is_of_now = event.hour.1 == Timestamp::now().millis().div_euclid(3_600_000);
            if matches!(lie, Lie::DelaysOne(after) if self.events > after) && is_of_now && self.delayed.is_none() {
                self.delayed = Some(Delayed { event: event.clone(), clear: HashSet::new() });
            }
            self.answered[usize::from(event.is_click)] = Some(Instant::now() + TAKES);
            if self.late_one == Some(self.events) {
                self.late = Some((event.clone(), LATE));
            }
            let counted = self.hours.entry(event.hour).or_default();
            let is_twice = (is_tenth && lie == Lie::CountsTwice) || lie == Lie::CountsOneTwice(self.events);
            let weight = if is_twice { 2 } else { 1 };
            *(if event.is_click { &mut counted.clicks } else { &mut counted.impressions }) += weight;
            if !(is_tenth && lie == Lie::MissesUsers) {
                counted.users.insert(event.user);
            }
            if is_tenth && lie == Lie::KeepsWhatItRefuses {
                status = StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        status
    }

    fn get(&mut self, hour: &SiteHour, lie: Lie) -> String {
        self.reads += 1;
        // Only while the load goes on, since there is no run where the first reads are not answered.
        if lie == Lie::Babbles && self.events > 0 && self.reads.is_multiple_of(50) {
            return "moment,\r\n\u{1b}[31mplease".to_owned();
        }
        // Only while the load goes on: at the end all is counted, so that the verdict on the hours alone would find
        // nothing.
        let late = lie == Lie::ReadsLate && self.reads % 50 == 49;
        if self.reads.is_multiple_of(50) {
            self.old = self.hours.clone();
        }
        let mut counted = if late { &self.old } else { &self.hours }.get(hour).cloned().unwrap_or_default();
        if let (Lie::ShowsOneLate(_), Some((event, answers))) = (lie, &mut self.late)
            && event.hour == *hour
            && *answers > 0
        {
            *answers -= 1;
            *(if event.is_click { &mut counted.clicks } else { &mut counted.impressions }) -= 1;
        }
        if let Some(Delayed { event, clear }) = &mut self.delayed
            && event.hour == *hour
            && clear.len() < CLEAR
        {
            *(if event.is_click { &mut counted.clicks } else { &mut counted.impressions }) -= 1;
            if self.answered[usize::from(event.is_click)].is_none_or(|answered| answered.elapsed() >= SILENCE) {
                clear.insert(Timestamp::now().millis() / 100);
            }
        }
        let Counted { users, clicks, impressions } = counted;
        format!("unique_users,{}\nclicks,{clicks}\nimpressions,{impressions}\n", users.len())
    }
}

fn hour_of(query: &HashMap<String, String>) -> SiteHour {
    let millis: i64 = query["timestamp"].parse().unwrap();
    (query.get("site").cloned().unwrap_or_default(), millis.div_euclid(3_600_000))
}

fn event_of(query: &HashMap<String, String>) -> Event {
    Event { hour: hour_of(query), user: query["user"].clone(), is_click: query["event"] == "click" }
}

fn problem(status: u16, title: &str, more: &str) -> String {
    format!(r#"{{"status":{status},"title":"{title}","detail":"A liar says so."{more}}}"#)
}

fn decoded(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match headers.get("content-encoding").map(HeaderValue::as_bytes) {
        None => decoded.extend_from_slice(body),
        Some(b"gzip") => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut decoded).unwrap()),
        Some(b"zstd") => decoded = zstd::decode_all(body).unwrap(),
        Some(other) => panic!("{other:?} is not known"),
    }
    decoded
}

fn events_of(body: &[u8]) -> Vec<Event> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let event = |line| {
        let event = wire::parse_line(line, TimeUnit::default()).unwrap();
        let SentVisitor::Named(user) = &event.visitor else { panic!("a visitor has a name") };
        let site = event.site.as_ref().map(ToString::to_string).unwrap_or_default();
        Event {
            hour: (site, event.at.millis().div_euclid(3_600_000)),
            user: user.as_str().to_owned(),
            is_click: event.kind == EventKind::Click,
        }
    };
    lines.map(event).collect()
}
