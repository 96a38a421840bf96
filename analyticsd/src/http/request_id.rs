//! The id of a request. It stands in the answer and in the log.

use std::fmt;

use warp::http::{HeaderMap, HeaderName, HeaderValue};

/// A client may send an id in this header; the answer repeats it.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is accepted from a client, in bytes.
const MAX_LENGTH: usize = 64;

/// 1 to 64 letters, digits, dots, underscores and hyphens, which are safe in logs and headers.
#[derive(Debug)]
pub(crate) enum RequestId {
    /// The client's own id.
    Given(HeaderValue),
    /// A random id of hexadecimal digits.
    Drawn([u8; 16]),
}

impl RequestId {
    /// The id that the client sent, if there is exactly one and it is safe in a log; otherwise 16 random digits, which
    /// take no system call.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(&HEADER).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_sane(id.as_bytes()) => Self::Given(id.clone()),
            _ => Self::drawn(rand::random()),
        }
    }

    fn drawn(bytes: [u8; 8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 16];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        Self::Drawn(digits)
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Given(id) => id.as_bytes(),
            Self::Drawn(digits) => digits,
        }
    }

    pub(crate) fn to_header(&self) -> HeaderValue {
        match self {
            Self::Given(id) => id.clone(),
            Self::Drawn(digits) => HeaderValue::from_bytes(digits).expect("digits may stand in a header"),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use warp::http::{HeaderMap, HeaderValue};

    use super::{HEADER, RequestId};

    fn of(given: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for id in given {
            headers.append(HEADER, HeaderValue::from_bytes(id).unwrap());
        }
        RequestId::of(&headers).to_string()
    }

    #[test]
    fn a_safe_id_of_the_client_is_kept_and_any_other_replaced() {
        let longest = [b'a'; 64];
        for sane in [&b"a"[..], b"A.b_c-9", &longest] {
            assert_eq!(of(&[sane]).as_bytes(), sane);
        }
        let too_long = [b'a'; 65];
        let others: [&[&[u8]]; 9] =
            [&[], &[b""], &[b"a b"], &[b"a\tb"], &[b"\xc3\xa4"], &[b"a\"b"], &[b"a;b"], &[&too_long], &[b"a", b"b"]];
        for other in others {
            let id = of(other);
            assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{other:?} becomes {id}");
        }
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(of(&[]), of(&[]));
        assert_eq!(RequestId::drawn([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]).to_string(), "0123456789abcdef");
    }
}
