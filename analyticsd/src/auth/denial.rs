use std::time::Duration;

use model::{InvalidInput, Problem, access::Scope};
use warp::{
    http::{
        HeaderValue,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    reply::Response,
};

use super::{Service, rate_limit::Standing};
use crate::{http::reply, telemetry::metrics::Reason};

/// Why a request may not come in.
#[derive(Debug)]
pub(super) enum Denial {
    /// It shows nothing to a listener that serves this.
    Missing(Service),
    /// It shows something that lets nobody in.
    Invalid,
    /// It shows a secret in its URL.
    SecretInUrl,
    /// It shows several things.
    Several,
    /// Its parameter cannot be read.
    Unreadable(InvalidInput),
    /// Its token does not allow this.
    Scope(Scope),
    /// Its public key is for pages of other origins.
    Origin,
    /// Its public key is for single events only.
    PublicBatch,
    /// Nobody knows yet which tokens there are.
    NotKnownYet,
    /// It shows nothing, and whether there is a first token by now cannot be read.
    NotKnownNow,
    /// Its token was valid when tokens were last read, which is longer ago than they stay in force.
    KnownTooLongAgo(Duration),
    /// A page of another origin asks whether it may ask.
    Preflight,
    /// There is no token yet, and a name is asked that is not this machine's own.
    ForeignHost,
    /// There is no token yet, and a page from elsewhere asks.
    ForeignPage,
    /// There is no token yet, and a proxy asks for somebody.
    Proxied,
}

impl Denial {
    /// Whether somebody may be guessing.
    pub(super) fn is_a_guess(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Invalid | Self::SecretInUrl | Self::Several | Self::Unreadable(_))
    }

    /// What is answered. Nothing of what was shown is in it.
    pub(super) fn answer(&self) -> Response {
        match self {
            Self::Missing(Service::Admin) => challenge(
                401,
                "Token missing",
                "This needs a token with the scope admin, in a header `Authorization: Bearer TOKEN`. Who runs this server makes one with \
                 `analytics-cli token create NAME --scope admin`.",
                "",
            ),
            Self::Missing(Service::Public) => challenge(
                401,
                "Token missing",
                "This needs a token, in a header `Authorization: Bearer TOKEN`; the pages of a web site have a public key instead, in the parameter \
                 `key`. Who runs this server makes either with `analytics-cli token create`.",
                "",
            ),
            Self::Invalid => challenge(
                401,
                "Token not valid",
                "What was shown is no token of this server, or has expired or was revoked. Accepted is a header `Authorization: Bearer TOKEN`, with a \
                 token as `analytics-cli token create` printed it.",
                r#", error="invalid_token""#,
            ),
            Self::SecretInUrl => challenge(
                400,
                "Secret in the URL",
                "Only public keys are accepted in the parameter `key`: URLs are kept in logs and histories, where a secret does not stay one. \
                 Revoke this token with `analytics-cli token revoke`, and send the next one in a header `Authorization: Bearer TOKEN`.",
                r#", error="invalid_request""#,
            ),
            Self::Several => challenge(
                400,
                "More than one token",
                "A request may show one token or public key, in one header `Authorization` or in the parameter `key`.",
                r#", error="invalid_request""#,
            ),
            Self::Unreadable(invalid) => reply::invalid(invalid),
            Self::Scope(scope) => challenge(
                403,
                "Not allowed",
                &format!("This needs a token with the scope {scope}, which the one that was shown does not have."),
                &format!(r#", error="insufficient_scope", scope="{scope}""#),
            ),
            Self::Origin => reply::problem(&Problem::new(
                403,
                "Other origin",
                "This public key is for pages of other origins. A browser says where a page is in the header Origin, or Referer; make a key for that \
                 origin with `analytics-cli token create NAME --public --origin ORIGIN`.",
            )),
            Self::PublicBatch => reply::problem(&Problem::new(
                403,
                "Not with a public key",
                "A public key records single events, at /analytics and /analytics.gif. A batch needs a token with the scope write, in a header \
                 `Authorization: Bearer TOKEN`.",
            )),
            Self::NotKnownYet => not_known(
                "Tokens not known yet",
                "The database has not answered since this server started, so it cannot tell who may come in.",
            ),
            Self::NotKnownNow => not_known(
                "Tokens not known now",
                "The database does not say which tokens there are, so this server does not let in who shows none, unless it is started with \
                 --allow-anonymous.",
            ),
            Self::KnownTooLongAgo(valid_for) => not_known(
                "Tokens not known now",
                &format!(
                    "The database has not said for {} which tokens there are, and for no longer those that it said last stay in force \
                     (--tokens-valid-for).",
                    humantime::format_duration(*valid_for)
                ),
            ),
            Self::Preflight => reply::problem(&Problem::new(
                403,
                "Other origin",
                "Pages of this origin may not ask this. The setting --cors-origins names origins that may; pages with a public key may write.",
            )),
            Self::ForeignHost => reply::problem(&Problem::new(
                403,
                "Open to this machine only",
                "There is no token yet, so this server is open to its own machine only, and answers to localhost and addresses like 127.0.0.1. To be reached by \
                 another name, as behind a proxy, make a token with `analytics-cli token create`, or start it with --allow-anonymous.",
            )),
            Self::ForeignPage => reply::problem(&Problem::new(
                403,
                "Open to this machine only",
                "There is no token yet, so this server is open to its own machine only, and pages from elsewhere may not ask. Make a public key for their origin \
                 with `analytics-cli token create NAME --public --origin ORIGIN`, or start the server with --allow-anonymous.",
            )),
            Self::Proxied => reply::problem(&Problem::new(
                403,
                "Open to this machine only",
                "There is no token yet, so this server is open to its own machine only, and this came through a proxy, which may ask for anybody. Make a token \
                 with `analytics-cli token create`, or start the server with --allow-anonymous.",
            )),
        }
    }
}

/// It may come in as soon as the database says so again.
fn not_known(title: &str, why: &str) -> Response {
    let detail = format!("{why} Nothing was stored. Try again after a second.");
    reply::because(Reason::Unavailable, reply::problem(&Problem::new(503, title, detail)))
}

fn challenge(status: u16, title: &str, detail: &str, parameters: &str) -> Response {
    let mut response = reply::problem(&Problem::new(status, title, detail));
    let value = format!(r#"Bearer realm="analytics"{parameters}"#);
    let value = HeaderValue::try_from(value).expect("words of ASCII are a value");
    response.headers_mut().insert(WWW_AUTHENTICATE, value);
    response
}

/// The answer to who asks too often. `by` says what is counted.
pub(super) fn too_many(by: &str, standing: Standing) -> Response {
    let seconds = standing.retry_after;
    let mut response = reply::problem(&Problem::new(
        429,
        "Too many requests",
        format!(
            "{by} than this server accepts. Nothing was stored. Try again after {seconds} {}.",
            if seconds == 1 { "second" } else { "seconds" }
        ),
    ));
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}
