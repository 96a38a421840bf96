use std::borrow::Cow;

use model::Timestamp;

/// What a line of an access log says of one request. Texts are bytes, because clients may send any.
pub(super) struct Request<'a> {
    /// The address or host that the server had a connection with, or a forwarded list, as the log writes it.
    pub(super) client: Cow<'a, [u8]>,
    /// What proxies wrote of the client; empty if the log does not have it.
    pub(super) forwarded: Cow<'a, [u8]>,
    pub(super) at: Timestamp,
    pub(super) method: Cow<'a, [u8]>,
    /// A path, or a whole URL; with or without a query.
    pub(super) target: Cow<'a, [u8]>,
    pub(super) status: u16,
    /// Empty or `-` if there is none.
    pub(super) referer: Cow<'a, [u8]>,
    /// The same; none if the log does not have it.
    pub(super) agent: Option<Cow<'a, [u8]>>,
    /// Whether addresses stand in the line of which it is not known whose they are.
    pub(super) has_unknown_addresses: bool,
}

/// The method and the target of a line `GET /page HTTP/1.1`. HTTP/0.9 has no protocol.
pub(super) fn request_line(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return (line, b"") };
    let (method, target) = (&line[..space], &line[space + 1..]);
    match target.iter().rposition(|&byte| byte == b' ') {
        Some(space) if target[space + 1..].starts_with(b"HTTP/") => (method, &target[..space]),
        _ => (method, target),
    }
}
