//! Turns outcomes into answers. Every error answer is a problem document; nothing internal is in it.

use hyper::body::Bytes;
use model::{IdempotencyKey, InvalidInput, Problem};
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
    },
    reply::Response,
};

use crate::{
    http::chunked_body::in_pieces,
    ingest::job::{Accepted, NotAccepted},
    query::counts::Unanswered,
    telemetry::metrics::Reason,
};

/// How long to wait before trying again, in seconds. A full queue drains in less; a database that restarts takes a little longer.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// Marks an answer that must not be sent: the connection is closed instead, because any status would claim to know something
/// that nobody does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HangUp;

pub(crate) fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A text that is true only now, so no cache may keep it.
pub(crate) fn text(body: String) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A document that is part of the program.
pub(crate) fn json(body: Bytes) -> Response {
    let mut response = in_pieces(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn body_of(problem: &Problem) -> Vec<u8> {
    serde_json::to_vec(problem).expect("a problem holds only strings and numbers")
}

pub(crate) fn problem(problem: &Problem) -> Response {
    let mut response = Response::new(body_of(problem).into());
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    // What is refused to one may be served to another, or a moment later.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some of them repeat a path that was asked for.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

pub(crate) fn invalid(invalid: &InvalidInput) -> Response {
    problem(&Problem::invalid_parameter(invalid))
}

pub(crate) fn stored(outcome: Result<Accepted, NotAccepted>) -> Response {
    match outcome {
        Ok(Accepted::Committed) => no_content(),
        Ok(Accepted::Spooled) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
        Err(reason) => not_accepted(reason),
    }
}

fn not_accepted(reason: NotAccepted) -> Response {
    because(Reason::of_not_accepted(reason), told(reason))
}

/// Says to the front why this is no success.
pub(crate) fn because(reason: Reason, mut response: Response) -> Response {
    response.extensions_mut().insert(reason);
    response
}

fn told(reason: NotAccepted) -> Response {
    match reason {
        NotAccepted::TooBusy => problem(&busy("Nothing was stored.")),
        NotAccepted::Rebuilding => problem(&Problem::new(
            503,
            "Hour being rebuilt",
            "The hour was closed and is being opened again for late events, which takes longer than a request may wait. Nothing \
             was stored. Try again after a second.",
        )),
        NotAccepted::Unavailable => {
            problem(&unavailable("The database does not answer, or stores nothing now. Nothing was stored."))
        }
        NotAccepted::Refused => problem(&Problem::new(
            503,
            "Database refused",
            "The database answers, but did not accept this. The cause is in the server's log. Nothing was stored.",
        )),
        NotAccepted::Conflict => problem(&Problem {
            parameter: Some(IdempotencyKey::PARAMETER.to_owned()),
            ..Problem::new(
                409,
                "Idempotency key in use",
                "Another request was stored under this idempotency key, in an hour that this one touches too. Nothing was \
                 stored. To send the same request again, send the same events; for another one, take a new key.",
            )
        }),
        NotAccepted::Expired(expired) => problem(&expired.problem()),
        NotAccepted::Unknown => {
            let mut response = Response::default();
            response.extensions_mut().insert(HangUp);
            response
        }
    }
}

pub(crate) fn unanswered(reason: Unanswered) -> Response {
    match reason {
        Unanswered::QueueFull => problem(&busy("")),
        Unanswered::Unavailable => because(Reason::Unavailable, problem(&unavailable("The database does not answer."))),
    }
}

pub(crate) fn busy(consequence: &str) -> Problem {
    let detail = format!("More requests are waiting than this server holds. {consequence} Try again after a second.");
    Problem::new(503, "Too busy", detail.replace("  ", " "))
}

fn unavailable(what_is_wrong: &str) -> Problem {
    Problem::new(503, "Database unavailable", format!("{what_is_wrong} Try again after a second."))
}

pub(crate) fn not_found(path: &str) -> Response {
    nothing_at(path, "Events and counts are at /analytics.")
}

/// The same on the admin listener.
pub(crate) fn not_found_by_admin(path: &str) -> Response {
    nothing_at(path, "Here are only the numbers of the daemon, at /metrics; events and counts are on another listener.")
}

fn nothing_at(path: &str, what_is_there: &str) -> Response {
    let shown: String = path.chars().take(200).collect();
    problem(&Problem::new(404, "Not found", format!("There is nothing at {shown}. {what_is_there}")))
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Response {
    let mut response = problem(&Problem::new(405, "Method not allowed", format!("This path answers to {allow}.")));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

pub(crate) fn too_large(detail: String) -> Response {
    problem(&Problem::new(413, "Content too large", detail))
}

/// RFC 9110, section 15.5.16: the answer says which coding there is.
pub(crate) fn encoded() -> Response {
    let detail = "A batch is read as it is: send it without Content-Encoding, or with identity. Nothing was stored.";
    let mut response = problem(&Problem::new(415, "Content coding not supported", detail));
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    response
}

pub(crate) fn uri_too_long(limit: usize) -> Response {
    problem(&Problem::new(414, "URI too long", format!("The query string may have at most {limit} bytes.")))
}
