//! Makes requests, and retries them as a careful client does: with idempotency keys, so that events count once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use goose::prelude::*;
use reqwest::header::AUTHORIZATION;
use tokio::time::sleep;

use super::{messages::Message, replies::Reply};
use crate::hosts::{Host, Hosts};

/// Doubled after each retry.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Retries {
    most: u32,
    made: AtomicU64,
}

pub(crate) struct Exchanged {
    /// To the last try.
    pub(crate) answer: Result<Reply, reqwest::Error>,
    /// Whether an earlier try was sent and not answered, or answered that a part is stored.
    pub(crate) may_be_stored: bool,
    /// Who was asked last.
    pub(crate) host: usize,
}

impl Retries {
    /// `most` is for each request.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, made: AtomicU64::default() }
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Makes a request, and retries it at the next host if there was no answer or the answer was 502, 503 or 504.
    /// `other_than` is a host that is not to be asked, if there are others.
    pub(crate) async fn exchange(
        &self,
        user: &mut GooseUser,
        hosts: &Hosts,
        message: &Message,
        other_than: Option<usize>,
    ) -> Result<Exchanged, Box<TransactionError>> {
        let mut may_be_stored = false;
        let mut other_than = other_than;
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.most).rev() {
            let (place, host) = hosts.next(other_than);
            let answer = match once(user, host, message).await? {
                Ok(response) => Reply::read(response).await,
                Err(error) => Err(error),
            };
            if left == 0 || answer.as_ref().is_ok_and(|reply| !reply.is_worth_another_try()) {
                return Ok(Exchanged { answer, may_be_stored, host: place });
            }
            // Without a connection, nothing was sent.
            may_be_stored |= answer.map_or_else(|error| !error.is_connect(), |reply| reply.may_be_stored());
            // The one that failed may be gone.
            other_than = Some(place);
            self.made.fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try returns")
    }
}

async fn once(
    user: &mut GooseUser,
    Host { url, authorization }: &Host,
    Message { kind, method, path, headers, body, is_anonymous, expected }: &Message,
) -> Result<Result<reqwest::Response, reqwest::Error>, Box<TransactionError>> {
    let mut builder = user.get_request_builder(method, &format!("{url}{path}"))?.headers(headers.clone());
    if let Some(authorization) = authorization.as_ref().filter(|_| !is_anonymous) {
        builder = builder.header(AUTHORIZATION, authorization);
    }
    if !body.is_empty() {
        builder = builder.body(body.clone());
    }
    let request = GooseRequest::builder()
        .method(*method)
        .path(path.as_str())
        .name(kind.goose_name())
        .expect_status_code(*expected)
        .set_request_builder(builder);
    Ok(user.request(request.build()).await?.response)
}
