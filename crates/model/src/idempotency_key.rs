use std::{fmt, sync::Arc};

use crate::{InvalidInput, access::Credential};

/// A client gives a key to events so that they are stored once, however often they are sent: 1 to 255 visible ASCII
/// characters. A key is unique within one hour only.
///
/// Every visitor of a page can use its public key. So requests with a public key have idempotency keys of their own:
/// `pk_ID KEY`. Clients cannot send such a key, because of its space.
///
/// In the header `Idempotency-Key` it may be in double quotes, as in draft-ietf-httpapi-idempotency-key-header, or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    pub const HEADER: &'static str = "idempotency-key";
    /// Also the member of a line in a batch.
    pub const PARAMETER: &'static str = "id";
    pub const ACCEPTED: &'static str = "a key of 1 to 255 visible ASCII characters without spaces, for example a UUID";
    pub const MAX_LENGTH: usize = 255;

    pub fn new(key: impl Into<String>) -> Result<Self, InvalidInput> {
        let key = key.into();
        let fault = if key.is_empty() {
            "is empty".to_owned()
        } else if key.len() > Self::MAX_LENGTH {
            format!("has {} bytes", key.len())
        } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            "holds a space or something that is not visible ASCII".to_owned()
        } else {
            return Ok(Self(key.into()));
        };
        Err(InvalidInput { parameter: Self::PARAMETER, fault, accepted: Self::ACCEPTED })
    }

    /// Accepts the value of the header with and without quotes.
    pub fn from_header(value: &[u8]) -> Result<Self, InvalidInput> {
        let value = value.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
        Self::new(String::from_utf8_lossy(value)).map_err(|invalid| InvalidInput { parameter: Self::HEADER, ..invalid })
    }

    /// `id` is that of the public key.
    #[must_use]
    pub fn of_public_key(&self, id: &str) -> Self {
        Self(format!("{}{id} {}", Credential::PUBLIC_PREFIX, self.0).into())
    }

    /// Reads a stored key, also one of a public key.
    pub fn from_kept(text: &str) -> Result<Self, InvalidInput> {
        match text.split_once(' ').map(|(holder, key)| (Credential::parse(holder), key)) {
            Some((Some(Credential::Public { id }), key)) => Ok(Self::new(key)?.of_public_key(id)),
            _ => Self::new(text),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::IdempotencyKey;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for good in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", &"x".repeat(255)] {
            assert_eq!(IdempotencyKey::new(good).unwrap().as_str(), good);
        }
        for (bad, fault) in
            [("", "is empty"), ("a b", "holds a space"), ("ä", "holds a space"), (&"x".repeat(256), "has 256 bytes")]
        {
            assert!(IdempotencyKey::new(bad).unwrap_err().fault.starts_with(fault), "{bad:?}");
        }
    }

    #[test]
    fn the_header_may_quote_its_key() {
        let read = |value: &[u8]| IdempotencyKey::from_header(value).map(|key| key.as_str().to_owned());
        assert_eq!(read(b"\"abc\"").unwrap(), "abc");
        assert_eq!(read(b" abc ").unwrap(), "abc");
        assert_eq!(read(b"\"\"").unwrap_err().fault, "is empty");
        assert_eq!(read(b"\xff").unwrap_err().parameter, "idempotency-key");
    }

    #[test]
    fn clients_cannot_send_a_key_of_a_public_key_and_it_can_be_stored_and_read() {
        let given = IdempotencyKey::new("x".repeat(255)).unwrap();
        let [one, other] = ["0123456789ab", "0123456789ac"].map(|id| given.of_public_key(id));
        assert_ne!(one, other);
        assert_ne!(one, given);
        for key in [&one, &other, &given] {
            assert_eq!(IdempotencyKey::from_kept(key.as_str()).as_ref(), Ok(key));
        }
        assert!(IdempotencyKey::new(one.as_str()).is_err());
        assert!(IdempotencyKey::from_header(one.as_str().as_bytes()).is_err());
        for bad in ["", "a b", "pk_0123456789ab ", "pk_0123456789ab a b", "pk_0123456789ab  a", "pk_x a"] {
            assert!(IdempotencyKey::from_kept(bad).is_err(), "{bad:?}");
        }
    }
}
