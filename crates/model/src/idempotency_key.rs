use std::{fmt, sync::Arc};

use crate::{InvalidInput, access::Credential};

/// A name that a client gives to what it sends, so that sending it again counts nothing again: 1 to 255 visible characters of
/// ASCII. The same key means the same thing only within one hour.
///
/// What comes with a public key, which whoever looks at a page may use, has keys of its own: `pk_ID KEY`. No client can give such a key, because of its
/// space, so that it is nobody else's.
///
/// In the header `Idempotency-Key` it may stand in double quotes, as draft-ietf-httpapi-idempotency-key-header writes it, or without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The header that carries a key.
    pub const HEADER: &'static str = "idempotency-key";
    /// The name of the parameter that carries a key, and of the member of a batch's line.
    pub const PARAMETER: &'static str = "id";
    /// What is accepted, for error messages and documentation.
    pub const ACCEPTED: &'static str = "a key of 1 to 255 visible ASCII characters without spaces, for example a UUID";
    /// The longest key, in characters.
    pub const MAX_LENGTH: usize = 255;

    /// Checks a key's length and characters.
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

    /// Reads a key from the value of the header, with its quotes or without.
    pub fn from_header(value: &[u8]) -> Result<Self, InvalidInput> {
        let value = value.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
        Self::new(String::from_utf8_lossy(value)).map_err(|invalid| InvalidInput { parameter: Self::HEADER, ..invalid })
    }

    /// The same key among those of a public key, which is named by its ID.
    #[must_use]
    pub fn of_public_key(&self, id: &str) -> Self {
        Self(format!("{}{id} {}", Credential::PUBLIC_PREFIX, self.0).into())
    }

    /// Reads what [`as_str`](Self::as_str) wrote, where it was kept: also a key of a public key.
    pub fn from_kept(text: &str) -> Result<Self, InvalidInput> {
        match text.split_once(' ').map(|(holder, key)| (Credential::parse(holder), key)) {
            Some((Some(Credential::Public { id }), key)) => Ok(Self::new(key)?.of_public_key(id)),
            _ => Self::new(text),
        }
    }

    /// The key as text.
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
    fn a_key_of_a_public_key_is_one_that_nobody_can_give_and_survives_being_kept() {
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
