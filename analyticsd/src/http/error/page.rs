//! Problems as pages, for people whose browser has opened an address.

use model::Problem;
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, Request,
        header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
    },
    reply::Response,
};

use crate::http::accept::{HTML, JSON, prefers};

/// Whether the client is a browser that opens an address, and so would show the answer to a person.
pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && names_html(request.headers())
        && prefers(request.headers(), HTML, JSON)
}

/// Programs seldom name it, so that few requests are looked at more closely.
fn names_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

/// Replaces the problem document of an answer, if it is one, with a page that says the same.
pub(crate) fn replace_problem(response: &mut Response) {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return };
    *response.body_mut() = page(&problem).into();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// It looks like the page of the daemon, and runs nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn page(problem: &Problem) -> String {
    let Problem { title, detail, accepted, .. } = problem;
    let accepted = accepted.as_ref().filter(|accepted| !detail.contains(*accepted));
    let accepted = accepted.map(|accepted| format!("<p>Accepted is {}.</p>", escaped(accepted))).unwrap_or_default();
    let (title, detail) = (escaped(title), escaped(detail));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>{title}</title>
  <link rel="icon" type="image/svg+xml" href="/assets/icon.svg">
  <link rel="stylesheet" href="/assets/page.css">
</head>
<body>
  <header class="top"><h1><img src="/assets/icon.svg" alt="" width="22" height="22"><span>{title}</span></h1></header>
  <main>
    <section class="banner">
      <div>
        <strong>{detail}</strong>
        {accepted}
      </div>
    </section>
    <p><a href="/">See the counts</a>, or <a href="/docs/">how programs ask for them</a>.</p>
  </main>
</body>
</html>
"#
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
