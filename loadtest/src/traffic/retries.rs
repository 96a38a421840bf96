//! Retries requests as a careful client does: events have idempotency keys, so that they are counted once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use goose::prelude::*;
use reqwest::{Response, StatusCode, header::AUTHORIZATION};
use tokio::time::sleep;

use crate::{
    hosts::{Host, Hosts},
    workload::kind::Kind,
};

/// Doubled after each retry.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

#[derive(Debug)]
pub(crate) struct Retries {
    most: u32,
    /// A random number that makes this run's keys unique.
    run: u64,
    keys: AtomicU64,
    made: AtomicU64,
}

pub(crate) struct Asked<'a> {
    pub(crate) kind: Kind,
    pub(crate) method: GooseMethod,
    pub(crate) hosts: &'a Hosts,
    pub(crate) path: &'a str,
    pub(crate) body: Vec<u8>,
    /// The status of success, for goose's report.
    pub(crate) expected: u16,
    /// A host that is not to be asked, if there are others.
    pub(crate) other_than: Option<usize>,
}

pub(crate) struct Exchanged {
    /// To the last try.
    pub(crate) answer: Result<Response, reqwest::Error>,
    /// Whether an earlier try was sent and not answered, so that its events may be stored.
    pub(crate) may_be_stored: bool,
    /// Who was asked last.
    pub(crate) host: usize,
}

impl Retries {
    /// `most` is for each request.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, run: rand::random(), keys: AtomicU64::default(), made: AtomicU64::default() }
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// None if there are no retries.
    fn key(&self) -> Option<String> {
        (self.most > 0).then(|| format!("loadtest-{:016x}-{}", self.run, self.keys.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes a request, and retries it at the next host if there was no answer or the answer was 502, 503 or 504.
    pub(super) async fn exchange(
        &self,
        user: &mut GooseUser,
        asked: &Asked<'_>,
    ) -> Result<Exchanged, Box<TransactionError>> {
        let key = if asked.method == GooseMethod::Post { self.key() } else { None };
        let mut may_be_stored = false;
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.most).rev() {
            let (host, Host { url, authorization }) = asked.hosts.next(asked.other_than);
            let mut builder = user.get_request_builder(&asked.method, &format!("{url}{}", asked.path))?;
            if let Some(authorization) = authorization {
                builder = builder.header(AUTHORIZATION, authorization);
            }
            if let Some(key) = &key {
                builder = builder.header(IDEMPOTENCY_KEY, key);
            }
            if !asked.body.is_empty() {
                builder = builder.body(asked.body.clone());
            }
            let request = GooseRequest::builder()
                .method(asked.method)
                .path(asked.path)
                .name(asked.kind.goose_name())
                .expect_status_code(asked.expected)
                .set_request_builder(builder);
            let answer = user.request(request.build()).await?.response;
            if left == 0 || !is_worth_another_try(&answer) {
                return Ok(Exchanged { answer, may_be_stored, host });
            }
            // Without a connection, nothing was sent.
            may_be_stored |= answer.is_err_and(|error| !error.is_connect());
            self.made.fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try returns")
    }
}

fn is_worth_another_try(answer: &Result<Response, reqwest::Error>) -> bool {
    match answer {
        Ok(response) => matches!(
            response.status(),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ),
        Err(_) => true,
    }
}
