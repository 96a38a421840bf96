use std::{fmt, str::FromStr};

use thiserror::Error;

/// The part of `Authorization: Bearer …` after the scheme (RFC 6750).
///
/// It is a secret. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this cannot be a token; accepted is 1 to {max} visible ASCII characters, as printed by `analytics-cli token create`", max = BearerToken::MAX_BYTES)]
pub struct InvalidBearerToken;

impl BearerToken {
    pub const MAX_BYTES: usize = 512;

    /// The value of the header `Authorization`.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl FromStr for BearerToken {
    type Err = InvalidBearerToken;

    fn from_str(text: &str) -> Result<Self, InvalidBearerToken> {
        let is_usable = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_usable { Ok(Self(text.to_owned())) } else { Err(InvalidBearerToken) }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::BearerToken;

    #[test]
    fn a_token_is_what_can_stand_in_a_header_and_is_never_shown() {
        for (text, is_token) in
            [("an_abc_DEF-123", true), ("", false), ("a b", false), ("a\r\nX: y", false), ("naïve", false)]
        {
            assert_eq!(text.parse::<BearerToken>().is_ok(), is_token, "{text:?}");
        }
        assert!("x".repeat(BearerToken::MAX_BYTES + 1).parse::<BearerToken>().is_err());
        let token: BearerToken = "secret".parse().unwrap();
        assert_eq!(token.authorization(), "Bearer secret");
        assert!(!format!("{token:?}").contains("secret"));
    }
}
