//! Requests that are made again, as a careful client makes them: what records events under an idempotency key, so that it is counted once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use goose::prelude::*;
use reqwest::{RequestBuilder, Response, StatusCode, header::AUTHORIZATION};
use tokio::time::sleep;

use crate::{kind::Kind, traffic::Traffic};

/// The pause before the second try. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// How often a request is made again, and the names of those that may be.
#[derive(Debug)]
pub(crate) struct Retries {
    most: u32,
    /// Of the run, so that its keys are no other's.
    run: u64,
    named: AtomicU64,
    made: AtomicU64,
}

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) kind: Kind,
    pub(crate) method: GooseMethod,
    pub(crate) path: &'a str,
    pub(crate) body: Vec<u8>,
    /// The status of a request that went well.
    pub(crate) expected: u16,
}

/// What became of it.
pub(crate) struct Exchanged {
    /// The answer to the last try.
    pub(crate) answer: Result<Response, reqwest::Error>,
    /// Whether a try before it went out and was not answered, so that what it brought may be stored.
    pub(crate) may_be_stored: bool,
}

impl Retries {
    /// So many for a request at most.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, run: rand::random(), named: AtomicU64::default(), made: AtomicU64::default() }
    }

    /// How many were made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// A key for a request that may be made again; none where none is.
    fn key(&self) -> Option<String> {
        (self.most > 0).then(|| format!("loadtest-{:016x}-{}", self.run, self.named.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Traffic {
    /// Makes a request and, if it was not answered or by somebody who could not have it answered, makes it again, as often as it may.
    pub(crate) async fn exchange(
        &self,
        user: &mut GooseUser,
        asked: &Asked<'_>,
    ) -> Result<Exchanged, Box<TransactionError>> {
        let key = if asked.method == GooseMethod::Post { self.retries.key() } else { None };
        let mut may_be_stored = false;
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.retries.most).rev() {
            let builder = self.builder(user, asked, key.as_deref())?;
            let request = GooseRequest::builder()
                .method(asked.method)
                .path(asked.path)
                .name(asked.kind.goose_name())
                .expect_status_code(asked.expected)
                .set_request_builder(builder);
            let answer = user.request(request.build()).await?.response;
            if left == 0 || !is_worth_another_try(&answer) {
                return Ok(Exchanged { answer, may_be_stored });
            }
            // Nothing was sent on a connection that was not made.
            may_be_stored |= answer.is_err_and(|error| !error.is_connect());
            self.retries.made.fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try returns")
    }

    fn builder(
        &self,
        user: &GooseUser,
        asked: &Asked<'_>,
        key: Option<&str>,
    ) -> Result<RequestBuilder, Box<TransactionError>> {
        let mut builder = user.get_request_builder(&asked.method, asked.path)?;
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if let Some(key) = key {
            builder = builder.header(IDEMPOTENCY_KEY, key);
        }
        Ok(if asked.body.is_empty() { builder } else { builder.body(asked.body.clone()) })
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
