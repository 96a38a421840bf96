use warp::http::{HeaderValue, header::WWW_AUTHENTICATE};

use super::Answer;
use crate::{
    auth::{Denial, Policy},
    telemetry::metrics::Reason,
};

/// The answer to a request that the gate refused. It never repeats the credentials.
#[expect(clippy::too_many_lines, reason = "one exhaustive match maps every refusal")]
pub(super) fn answer(denial: Denial) -> Answer {
    match denial {
        Denial::Missing(Policy::Token(scope)) => challenge(
            401,
            "Token missing",
            &format!(
                "This needs a token with the scope {scope}, in a header `Authorization: Bearer TOKEN`. The operator of \
                 this server makes one with `analytics-cli token create NAME --scope {scope}`."
            ),
            "",
        ),
        Denial::Missing(_) => challenge(
            401,
            "Token missing",
            "This needs a token, in a header `Authorization: Bearer TOKEN`. The pages of a web site send a public key \
             instead, in the parameter `key`. The operator of this server makes both with `analytics-cli token \
             create`.",
            "",
        ),
        Denial::Invalid => challenge(
            401,
            "Token not valid",
            "This is no token of this server, or it has expired or was revoked. Send a header `Authorization: Bearer \
             TOKEN`, with a token as `analytics-cli token create` printed it.",
            r#", error="invalid_token""#,
        ),
        Denial::ShareLinksOff => challenge(
            401,
            "Share links are off",
            "This server accepts no share links. Its operator can accept them with --share-links.",
            r#", error="invalid_token""#,
        ),
        Denial::SecretInUrl => challenge(
            400,
            "Secret in the URL",
            "Only public keys are accepted in the parameter `key`: URLs end up in logs and histories, where a secret \
             leaks. Revoke this token with `analytics-cli token revoke`, and send a new one in a header \
             `Authorization: Bearer TOKEN`.",
            r#", error="invalid_request""#,
        ),
        Denial::Several => challenge(
            400,
            "More than one token",
            "A request may contain one token or public key, in one header `Authorization` or in the parameter `key`.",
            r#", error="invalid_request""#,
        ),
        Denial::Unreadable(invalid) => Answer::invalid(&invalid),
        Denial::Scope(scope) => challenge(
            403,
            "Not allowed",
            &format!("This needs a token with the scope {scope}; the token of this request does not have it."),
            &format!(r#", error="insufficient_scope", scope="{scope}""#),
        ),
        Denial::Origin => forbidden(
            "Other origin",
            "This public key is for pages of other origins. A browser sends the page's origin in the header Origin, or \
             Referer. Make a key for that origin with `analytics-cli token create NAME --public --origin ORIGIN`.",
        ),
        Denial::PublicBatch => forbidden(
            "Not with a public key",
            "A public key records single events, at /analytics and /analytics.gif. A batch needs a token with the \
             scope write, in a header `Authorization: Bearer TOKEN`.",
        ),
        Denial::NotKnownYet => not_known(
            "Tokens not known yet",
            "The database has not answered since this server started, so the server does not know its tokens yet.",
        ),
        Denial::NotKnownNow => not_known(
            "Tokens not known now",
            "The server cannot read the tokens from the database, so it refuses requests without one, unless it is \
             started with --allow-anonymous.",
        ),
        Denial::KnownTooLongAgo(valid_for) => not_known(
            "Tokens not known now",
            &format!(
                "The server has not been able to read the tokens from the database for {}. The tokens that it knew are \
                 valid no longer than that (--tokens-valid-for).",
                humantime::format_duration(valid_for)
            ),
        ),
        Denial::Preflight => forbidden(
            "Other origin",
            "Pages of this origin may not send this request. The setting --cors-origins names origins that may; pages \
             with a public key in the parameter `key` may write.",
        ),
        Denial::ForeignHost => forbidden(
            LOCAL_ONLY,
            "There is no token yet, so this server is open to its own machine only, and accepts only hosts such as \
             localhost and 127.0.0.1. For another name, as behind a proxy, make a token with `analytics-cli token \
             create`, or start the server with --allow-anonymous.",
        ),
        Denial::ForeignPage => forbidden(
            LOCAL_ONLY,
            "There is no token yet, so this server is open to its own machine only, and refuses requests from pages of \
             other sites. Make a public key for their origin with `analytics-cli token create NAME --public --origin \
             ORIGIN`, or start the server with --allow-anonymous.",
        ),
        Denial::Proxied => forbidden(
            LOCAL_ONLY,
            "There is no token yet, so this server is open to its own machine only, and this request came through a \
             proxy, so its client may be anywhere. Make a token with `analytics-cli token create`, or start the server \
             with --allow-anonymous.",
        ),
    }
}

const LOCAL_ONLY: &str = "Open to this machine only";

fn forbidden(title: &str, detail: &str) -> Answer {
    Answer::new(Reason::Forbidden, 403, title, detail)
}

/// The client may try again: the tokens are known as soon as the database answers.
fn not_known(title: &str, why: &str) -> Answer {
    Answer::new(Reason::Unavailable, 503, title, format!("{why} Nothing was stored. Try again after a second."))
}

/// With a challenge as in RFC 6750.
fn challenge(status: u16, title: &str, detail: &str, parameters: &str) -> Answer {
    let reason = match status {
        400 => Reason::Invalid,
        401 => Reason::Unauthenticated,
        _ => Reason::Forbidden,
    };
    let value = format!(r#"Bearer realm="analytics"{parameters}"#);
    let value = HeaderValue::try_from(value).expect("words of ASCII are a value");
    Answer::new(reason, status, title, detail).with(WWW_AUTHENTICATE, value)
}

#[cfg(test)]
mod tests {
    use model::access::Scope;

    use super::answer;
    use crate::auth::{Denial, Policy};

    #[test]
    fn a_missing_token_is_told_with_its_scope_and_only_who_sends_an_event_hears_of_public_keys() {
        let told = |policy| answer(Denial::Missing(policy)).problem.detail;
        for scope in [Scope::Read, Scope::Admin] {
            let detail = told(Policy::Token(scope));
            assert!(detail.contains(&format!("--scope {scope}`")) && !detail.contains("public key"), "{detail}");
        }
        let event = told(Policy::TokenOrPublicKey(Scope::Write));
        assert!(event.contains("public key"), "{event}");
    }
}
