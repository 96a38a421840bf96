//! Observes every request of a listener from beginning to end: counts it, gives it its id, and logs failures.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Level, Span};
use warp::{http::Request, reply::Response};

use super::{
    error::NoAnswer,
    request_id::{self, RequestId},
    router::Target,
};
use crate::telemetry::metrics::{Listener, MethodName, Metrics, OfListener, Outcome, Reason};

/// The target of the access log, a line for each request. The log's filter enables it: `--log info,access=debug`.
const ACCESS: &str = "access";
/// How many lines about failed requests a listener may write each second. An outage of the database fails tens of
/// thousands.
const MAX_FAILURES_PER_SECOND: u64 = 10;

/// Observes the requests of one listener.
pub(crate) struct Observer {
    metrics: Arc<Metrics>,
    listener: Listener,
    failures: Mutex<Second>,
}

impl Observer {
    pub(crate) fn new(metrics: Arc<Metrics>, listener: Listener) -> Self {
        Self { metrics, listener, failures: Mutex::new(Second { began: Instant::now(), lines: 0, left_out: 0 }) }
    }

    pub(crate) fn connections(&self) -> &OfListener {
        self.metrics.connections.of(self.listener)
    }

    /// Begins to observe a request. It counts as abandoned if the returned value is dropped before it ends.
    pub(crate) fn begin<B>(self: Arc<Self>, target: Target, request: &Request<B>) -> Observed {
        let path = request.uri().path();
        self.metrics.requests.begin();
        Observed {
            id: RequestId::of(request.headers()),
            target,
            method: MethodName::of(request.method()),
            // Without the query string, which contains users' names and perhaps keys.
            access: tracing::enabled!(target: ACCESS, Level::DEBUG)
                .then(|| Access { client: OnceLock::new(), path: path.to_owned() }),
            began: Instant::now(),
            is_over: false,
            observer: self,
        }
    }
}

/// The fields that only the access log has.
struct Access {
    client: OnceLock<IpAddr>,
    path: String,
}

/// A request under way.
pub(crate) struct Observed {
    /// When it arrived.
    pub(crate) began: Instant,
    observer: Arc<Observer>,
    id: RequestId,
    target: Target,
    method: MethodName,
    access: Option<Access>,
    is_over: bool,
}

impl Observed {
    /// Adds the request's id to all log lines of its handler. On the busiest route only this observer writes lines, and
    /// a span for each request would cost more than all else here.
    pub(crate) fn span(&self) -> Span {
        if self.target.is_busiest() { Span::none() } else { tracing::error_span!("request", request_id = %self.id) }
    }

    /// Notes the client's address.
    pub(crate) fn came_from(&self, client: IpAddr) {
        if let Some(access) = &self.access {
            let _ = access.client.set(client);
        }
    }

    /// Ends the observation, and adds the request's id to the answer.
    pub(crate) fn end(mut self, answer: Result<Response, NoAnswer>) -> Result<Response, NoAnswer> {
        self.is_over = true;
        match answer {
            Ok(mut response) => {
                let reason = Reason::of(&response);
                if let Some(reason) = reason {
                    self.observer.metrics.refusals.count(reason);
                }
                self.record(Outcome::Answered(response.status()), reason);
                response.headers_mut().insert(request_id::HEADER, self.id.to_header());
                Ok(response)
            }
            Err(no_answer) => {
                self.observer.metrics.refusals.count(Reason::Unknown);
                self.record(Outcome::Closed, Some(Reason::Unknown));
                Err(no_answer)
            }
        }
    }

    fn record(&self, outcome: Outcome, reason: Option<Reason>) {
        let Self { observer, id, target, method, access, began, .. } = self;
        observer.metrics.requests.end(target.place, *method, outcome, *began);
        let (route, method) = (target.name, method.name());
        let reason = reason.map_or("none", Reason::name);
        let status = outcome.name();
        if outcome.is_failure()
            && let Some(left_out) = observer.failures.lock().unwrap_or_else(PoisonError::into_inner).line()
        {
            tracing::warn!(request_id = %id, method, route, status, reason, left_out, "a request failed");
        }
        if let Some(Access { client, path }) = access {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let client = client.get().map(tracing::field::display);
            tracing::debug!(target: ACCESS, request_id = %id, client, method, path, status, reason, micros, "request");
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(Outcome::Abandoned, None);
        }
    }
}

/// The lines about failed requests within the current second.
struct Second {
    began: Instant,
    lines: u64,
    /// How many lines were left out since the last line.
    left_out: u64,
}

impl Second {
    /// Returns `None` if no more lines are allowed in this second, otherwise how many were left out before this one.
    fn line(&mut self) -> Option<u64> {
        if self.began.elapsed() >= Duration::from_secs(1) {
            (self.began, self.lines) = (Instant::now(), 0);
        }
        if self.lines == MAX_FAILURES_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MAX_FAILURES_PER_SECOND, Second};

    #[test]
    fn the_lines_of_a_second_are_limited_and_the_next_one_counts_those_left_out() {
        let mut second = Second { began: Instant::now() + Duration::from_hours(1), lines: 0, left_out: 0 };
        for _ in 0..MAX_FAILURES_PER_SECOND {
            assert_eq!(second.line(), Some(0));
        }
        assert_eq!((second.line(), second.line()), (None, None));
        second.began = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!((second.line(), second.line()), (Some(2), Some(0)));
    }
}
