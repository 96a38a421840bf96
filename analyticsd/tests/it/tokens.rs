//! Helpers of the tests of access: tokens, and requests with them.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use db::{AccessTokens, NewAccessToken, Sites};
use harness::{Daemon, TestDatabase};
use model::{
    SiteName,
    access::{Credential, IssuedToken, Scope, Scopes},
};
use reqwest::{Method, Response, StatusCode};

/// Bytes that no other token of this process has.
fn bytes() -> [u8; IssuedToken::RANDOM_BYTES] {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [NEXT.fetch_add(1, Ordering::Relaxed); IssuedToken::RANDOM_BYTES]
}

async fn create(database: &TestDatabase, issued: &IssuedToken, scopes: &[Scope], origins: &[&str], sites: &[&str]) {
    let mut numbers = Vec::new();
    for site in sites {
        numbers.push(Sites(database.store()).find(&SiteName::new(*site).unwrap()).await.unwrap().unwrap());
    }
    let token = NewAccessToken {
        id: issued.id.clone(),
        name: format!("token {}", issued.id).parse().unwrap(),
        scopes: scopes.iter().copied().collect::<Scopes>(),
        digest: issued.digest,
        origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        sites: (!numbers.is_empty()).then_some(numbers),
        is_share: issued.text.starts_with(Credential::SHARE_PREFIX),
        expires_at: None,
    };
    assert!(AccessTokens(database.store()).create(&token).await.unwrap());
}

/// A new token with scopes.
pub(crate) async fn token(database: &TestDatabase, scopes: &[Scope]) -> String {
    let issued = IssuedToken::secret(bytes());
    create(database, &issued, scopes, &[], &[]).await;
    issued.text
}

/// A new token with scopes that is for some sites.
pub(crate) async fn token_of(database: &TestDatabase, scopes: &[Scope], sites: &[&str]) -> String {
    let issued = IssuedToken::secret(bytes());
    create(database, &issued, scopes, &[], sites).await;
    issued.text
}

/// A new token of a share link to the page of a site.
pub(crate) async fn share_of(database: &TestDatabase, site: &str) -> String {
    let issued = IssuedToken::share(bytes());
    create(database, &issued, &[Scope::Read], &[], &[site]).await;
    issued.text
}

/// A new public key that is for a site.
pub(crate) async fn public_key_of(database: &TestDatabase, origin: &str, site: &str) -> String {
    let issued = IssuedToken::public(bytes());
    create(database, &issued, &[Scope::Write], &[origin], &[site]).await;
    issued.text
}

/// A new public key for pages of some origins.
pub(crate) async fn public_key(database: &TestDatabase, origins: &[&str]) -> String {
    let issued = IssuedToken::public(bytes());
    create(database, &issued, &[Scope::Write], origins, &[]).await;
    issued.text
}

/// The part of a token that names it.
pub(crate) fn id(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

/// Revokes a token.
pub(crate) async fn revoke(database: &TestDatabase, token: &str) {
    assert!(AccessTokens(database.store()).revoke(id(token)).await.unwrap().is_some());
}

/// Sends a request with headers.
pub(crate) async fn send(daemon: &Daemon, method: Method, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = daemon.http().request(method, format!("{}{target}", daemon.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Reads an hour with this header `Authorization`, and returns the status.
pub(crate) async fn ask(daemon: &Daemon, authorization: Option<&str>) -> StatusCode {
    let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
    send(daemon, Method::GET, "/analytics?timestamp=0", &headers).await.status()
}

/// Waits until a daemon answers such a request with a status, as it must once it has read the changed tokens.
pub(crate) async fn answers(daemon: &Daemon, authorization: Option<&str>, status: StatusCode) {
    let reads = async {
        while ask(daemon, authorization).await != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reads).await.expect("the daemon reads the tokens");
}

/// A daemon that requires tokens, because one exists.
pub(crate) async fn closed(database: &TestDatabase, arguments: &[&str]) -> Daemon {
    if AccessTokens(database.store()).list().await.unwrap().is_empty() {
        token(database, &[Scope::Admin]).await;
    }
    Daemon::start_with(["--database-url", database.url()].iter().chain(arguments)).await
}
