//! Requests that record events, as they are sent: paths, headers and bodies.

use std::{
    fmt::Write as _,
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use clap::ValueEnum;
use flate2::{Compression, write::GzEncoder};
use goose::prelude::GooseMethod;
use model::wire::{ANALYTICS_PATH, BATCH_PATH, NDJSON};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER};
use serde::Serialize;

use crate::{
    requests::Requests,
    settings::{PublicKey, Sending},
    workload::{
        kind::{Kind, Method},
        mix::PlannedEvent,
    },
};

const PIXEL_PATH: &str = "/analytics.gif";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How the bodies of batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    None,
    Gzip,
    Zstd,
}

/// A request but for the host that it goes to.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) method: GooseMethod,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether it is sent without a token, as from a page.
    pub(crate) is_anonymous: bool,
    /// The status of success.
    pub(crate) expected: u16,
}

#[derive(Debug)]
pub(crate) struct Messages {
    /// A random number that makes this run's keys unique.
    run: u64,
    keys: AtomicU64,
    /// Whether events are sent under keys, so that they count once however often they are sent.
    is_keyed: bool,
    encoding: Encoding,
    public_keys: Vec<PublicKey>,
    origin: Option<Page>,
}

/// The page that pixels and scripts are of.
#[derive(Debug)]
struct Page {
    origin: HeaderValue,
    /// Of an image.
    referer: HeaderValue,
}

impl Message {
    pub(crate) fn get(kind: Kind, path: String) -> Self {
        Self {
            kind,
            method: GooseMethod::Get,
            path,
            headers: HeaderMap::new(),
            body: Vec::new(),
            is_anonymous: false,
            expected: 200,
        }
    }

    fn post(kind: Kind, path: String) -> Self {
        Self { method: GooseMethod::Post, expected: 204, ..Self::get(kind, path) }
    }
}

impl Messages {
    /// What is retried has keys.
    pub(crate) fn new(sending: &Sending, are_retried: bool) -> Self {
        let is_keyed = sending.keys || are_retried;
        Self {
            run: rand::random(),
            keys: AtomicU64::default(),
            is_keyed,
            encoding: sending.batch_encoding,
            public_keys: sending.public_keys.clone(),
            origin: sending.origin.as_ref().map(|origin| Page::of(origin.as_str())),
        }
    }

    /// Sends these events, of which there are several only in a batch.
    pub(crate) fn of(&self, kind: Kind, events: &[PlannedEvent], requests: &Requests) -> Message {
        let mut message = match kind.method {
            Method::Batch | Method::Source => self.batch(kind, BATCH_PATH.to_owned(), events, requests),
            Method::Post | Method::Get => Message::post(kind, requests.event(&events[0])),
            Method::Pixel | Method::Script => return self.of_page(kind, &events[0], requests),
        };
        if self.is_keyed {
            message.headers.insert(IDEMPOTENCY_KEY, self.key());
        }
        message
    }

    /// As a browser sends it from a page. The script has a key for each event, whatever else has.
    fn of_page(&self, kind: Kind, event: &PlannedEvent, requests: &Requests) -> Message {
        let mut query = requests.query(event);
        if self.is_keyed || kind.method == Method::Script {
            let number = self.keys.fetch_add(1, Ordering::Relaxed);
            let _ = write!(query, "&id={:016x}{number:016x}", self.run);
        }
        let site = requests.sites.name(event.site);
        let key = self.public_keys.iter().find(|key| key.site.as_ref() == site && site.is_some());
        let key = key.or_else(|| self.public_keys.iter().find(|key| key.site.is_none()));
        if let Some(PublicKey { key, .. }) = key {
            let _ = write!(query, "&key={key}");
        }
        let mut message = if kind.method == Method::Script {
            Message::post(kind, format!("{ANALYTICS_PATH}?{query}"))
        } else {
            Message::get(kind, format!("{PIXEL_PATH}?{query}"))
        };
        message.is_anonymous = key.is_some();
        if let Some((name, origin)) = self.origin.as_ref().map(|origin| origin.header(kind.method)) {
            message.headers.insert(name, origin);
        }
        message
    }

    /// To this path.
    pub(super) fn batch(&self, kind: Kind, path: String, events: &[PlannedEvent], requests: &Requests) -> Message {
        let mut message = Message::post(kind, path);
        message.headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        message.body = self.encoding.encode(requests.batch(events));
        if let Some(name) = self.encoding.name() {
            message.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        message
    }

    fn key(&self) -> HeaderValue {
        let key = format!("loadtest-{:016x}-{}", self.run, self.keys.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(key).expect("it is ASCII")
    }
}

impl Page {
    fn of(origin: &str) -> Self {
        let value = |text: &str| HeaderValue::try_from(text).expect("an origin is ASCII");
        Self { origin: value(origin), referer: value(&format!("{origin}/")) }
    }

    /// A browser names the origin of a script's request, and the referer of an image's.
    fn header(&self, method: Method) -> (HeaderName, HeaderValue) {
        if method == Method::Script { (ORIGIN, self.origin.clone()) } else { (REFERER, self.referer.clone()) }
    }
}

impl Encoding {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// As fast as it goes: the generator shares its machine.
    fn encode(self, body: Vec<u8>) -> Vec<u8> {
        const WHY: &str = "memory takes every byte";
        match self {
            Self::None => body,
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
                encoder.write_all(&body).expect(WHY);
                encoder.finish().expect(WHY)
            }
            Self::Zstd => zstd::encode_all(&*body, 1).expect(WHY),
        }
    }
}
