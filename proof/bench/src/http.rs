//! A warp server with only the contract's two routes: no limits, no graceful shutdown, no problem documents.

use anyhow::Context;
use model::{Event, EventKind, Hour, HourCounts, InvalidInput, Timestamp, UserName};
use serde::Deserialize;
use tokio::net::TcpListener;
use warp::{
    Filter, Reply,
    http::StatusCode,
    reply::{Response, with_status},
};

/// What a server does with a valid request.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// Stores an event before it returns.
    fn store(&self, event: Event) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Counts the events of an hour.
    fn counts(&self, hour: Hour) -> impl Future<Output = anyhow::Result<HourCounts>> + Send;
}

#[derive(Deserialize)]
struct EventParameters {
    timestamp: String,
    user: String,
    event: String,
}

#[derive(Deserialize)]
struct HourParameters {
    timestamp: String,
}

impl EventParameters {
    fn event(self) -> Result<Event, InvalidInput> {
        Ok(Event {
            at: Timestamp::parse(&self.timestamp)?,
            user: UserName::new(self.user)?,
            kind: EventKind::parse(&self.event)?,
        })
    }
}

/// Serves on a free port, which it prints, until the process is killed.
pub(crate) async fn serve(answers: impl Answers) -> anyhow::Result<()> {
    let answers = warp::any().map(move || answers.clone());
    let get = warp::path!("analytics").and(warp::get()).and(warp::query()).and(answers.clone()).then(get_counts);
    let post = warp::path!("analytics").and(warp::post()).and(warp::query()).and(answers).then(post_event);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on 127.0.0.1")?;
    println!("listening on http://{}", listener.local_addr()?);
    warp::serve(get.or(post)).incoming(listener).run().await;
    Ok(())
}

async fn post_event(parameters: EventParameters, answers: impl Answers) -> Response {
    match parameters.event() {
        Ok(event) => match answers.store(event).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => failed(&error),
        },
        Err(invalid) => refused(&invalid),
    }
}

async fn get_counts(parameters: HourParameters, answers: impl Answers) -> Response {
    match Timestamp::parse(&parameters.timestamp) {
        Ok(at) => match answers.counts(Hour::containing(at)).await {
            Ok(counts) => counts.to_string().into_response(),
            Err(error) => failed(&error),
        },
        Err(invalid) => refused(&invalid),
    }
}

fn refused(invalid: &InvalidInput) -> Response {
    with_status(invalid.to_string(), StatusCode::BAD_REQUEST).into_response()
}

fn failed(error: &anyhow::Error) -> Response {
    eprintln!("a request failed: {error:#}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
