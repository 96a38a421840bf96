use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The SHA-256 of a token's secret. The secret itself is not stored.
///
/// A slow hash is for passwords that people choose. This secret has 256 random bits, which cannot be guessed, however
/// fast each try is.
pub type Digest = [u8; 32];

const ID_BYTES: usize = 6;
const ID_LENGTH: usize = 2 * ID_BYTES;
const SECRET_BYTES: usize = 32;
/// 32 bytes as base64url without padding.
const SECRET_LENGTH: usize = 43;

/// What a client sends: a token `an_ID_SECRET`, that of a share link `sh_ID_SECRET`, or a public key `pk_ID`. The ID is
/// 12 hexadecimal digits, and not secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    Secret {
        id: &'a str,
        secret: &'a str,
    },
    /// Stands in the source of web pages.
    Public {
        id: &'a str,
    },
}

impl<'a> Credential<'a> {
    pub const SECRET_PREFIX: &'static str = "an_";
    pub const SHARE_PREFIX: &'static str = "sh_";
    pub const PUBLIC_PREFIX: &'static str = "pk_";

    /// None if the text has not the form of a token. Of the secret, only the length is checked: its hash decides
    /// whether it is right.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(id) = text.strip_prefix(Self::PUBLIC_PREFIX) {
            return is_id(id).then_some(Self::Public { id });
        }
        let rest = text.strip_prefix(Self::SECRET_PREFIX).or_else(|| text.strip_prefix(Self::SHARE_PREFIX))?;
        let (id, secret) = rest.split_at_checked(ID_LENGTH)?;
        let secret = secret.strip_prefix('_')?;
        (is_id(id) && secret.len() == SECRET_LENGTH).then_some(Self::Secret { id, secret })
    }

    pub fn digest(secret: &str) -> Digest {
        Sha256::digest(secret.as_bytes()).into()
    }
}

/// Does not show the secret.
impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { id, .. } => write!(f, "{}{id}_***", Self::SECRET_PREFIX),
            Self::Public { id } => write!(f, "{}{id}", Self::PUBLIC_PREFIX),
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A new token. It is shown once and not stored.
pub struct IssuedToken {
    /// What its holder sends.
    pub text: String,
    pub id: String,
    /// None for a public key.
    pub digest: Option<Digest>,
}

impl IssuedToken {
    pub const RANDOM_BYTES: usize = ID_BYTES + SECRET_BYTES;

    /// The bytes must come from the system's source of randomness.
    pub fn secret(random: [u8; Self::RANDOM_BYTES]) -> Self {
        Self::with_secret(Credential::SECRET_PREFIX, random)
    }

    /// For a link, which shows it to everybody who has the link.
    pub fn share(random: [u8; Self::RANDOM_BYTES]) -> Self {
        Self::with_secret(Credential::SHARE_PREFIX, random)
    }

    fn with_secret(prefix: &str, random: [u8; Self::RANDOM_BYTES]) -> Self {
        let (id, secret) = random.split_at(ID_BYTES);
        let (id, secret) = (hex(id), URL_SAFE_NO_PAD.encode(secret));
        let digest = Some(Credential::digest(&secret));
        Self { text: format!("{prefix}{id}_{secret}"), id, digest }
    }

    pub fn public(random: [u8; Self::RANDOM_BYTES]) -> Self {
        let id = hex(&random[..ID_BYTES]);
        Self { text: format!("{}{id}", Credential::PUBLIC_PREFIX), id, digest: None }
    }
}

fn hex(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    format!("{number:0ID_LENGTH$x}")
}

/// 1 to 100 characters, none of which moves a cursor or begins a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenName(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the name {0}; accepted are 1 to 100 letters, digits and any of . _ - @ : / and space within")]
pub struct InvalidTokenName(&'static str);

impl TokenName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_accepted = |c: char| c.is_alphanumeric() || " ._-@:/".contains(c);
        if text.is_empty() || text.chars().count() > 100 {
            Err(InvalidTokenName("has no character or more than 100"))
        } else if text.trim() != text || !text.chars().all(is_accepted) {
            Err(InvalidTokenName("begins or ends with a space, or has a character that is not accepted"))
        } else if text.starts_with('-') {
            Err(InvalidTokenName("begins like a flag"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Credential, IssuedToken, TokenName};

    #[test]
    fn a_token_that_was_made_is_read_again_and_shows_nothing_when_printed() {
        let issued = IssuedToken::secret(std::array::from_fn(|at| u8::try_from(at * 6).unwrap()));
        let Some(Credential::Secret { id, secret }) = Credential::parse(&issued.text) else {
            panic!("{}", issued.text)
        };
        assert_eq!((id, Some(Credential::digest(secret))), (issued.id.as_str(), issued.digest));
        let printed = format!("{:?}", Credential::parse(&issued.text).unwrap());
        assert!(printed.contains(id) && !printed.contains(secret), "{printed}");
        let shared = IssuedToken::share([7; IssuedToken::RANDOM_BYTES]);
        let Some(Credential::Secret { id, .. }) = Credential::parse(&shared.text) else { panic!("{}", shared.text) };
        assert!(id == shared.id && shared.text.starts_with("sh_"));
        let public = IssuedToken::public([255; IssuedToken::RANDOM_BYTES]);
        assert_eq!(Credential::parse(&public.text), Some(Credential::Public { id: "ffffffffffff" }));
        assert_eq!(public.digest, None);
    }

    #[test]
    fn what_is_written_otherwise_is_no_token() {
        let issued = IssuedToken::secret([7; IssuedToken::RANDOM_BYTES]).text;
        for text in [
            "",
            "an_",
            "pk_",
            "pk_fffffffffff",
            "pk_FFFFFFFFFFFF",
            "pk_ffffffffffff ",
            "an_ffffffffffff",
            "an_ffffffffffff_",
            "an_fffffffffff\u{f6}_x",
            &issued[..issued.len() - 1],
            &format!("{issued}A"),
            &issued.to_uppercase(),
            &issued.replace("an_", "bn_"),
        ] {
            assert_eq!(Credential::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_a_line_of_ordinary_characters() {
        for (text, is_accepted) in [
            ("shop", true),
            ("The shop's", false),
            ("shop.example: nightly import", true),
            ("Caf\u{e9} 2", true),
            ("", false),
            (" shop", false),
            ("-x", false),
            ("a\nb", false),
            ("a\u{1b}[0m", false),
            ("a\u{202e}b", false),
        ] {
            assert_eq!(text.parse::<TokenName>().is_ok(), is_accepted, "{text:?}");
        }
        assert!("x".repeat(100).parse::<TokenName>().is_ok() && "x".repeat(101).parse::<TokenName>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Credential::parse(&text);
            let _ = Credential::parse(&format!("an_{text}"));
        }
    }
}
