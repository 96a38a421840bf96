use std::ffi::OsStr;

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};

use crate::{BearerToken, InvalidBearerToken};

/// A token from a flag or the environment. An empty variable is no token.
#[derive(Debug, Clone)]
pub struct GivenToken(pub Option<BearerToken>);

impl GivenToken {
    fn read(text: &str) -> Result<Self, InvalidBearerToken> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|token| Self(Some(token))) }
    }
}

/// Its errors do not repeat the token, unlike those of clap's own parsers.
#[derive(Debug, Clone)]
pub struct BearerTokenParser;

impl TypedValueParser for BearerTokenParser {
    type Value = GivenToken;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<GivenToken, clap::Error> {
        GivenToken::read(&value.to_string_lossy()).map_err(|error| {
            let flag = flag.map(Arg::to_string).unwrap_or_default();
            let message = format!("invalid value for '{flag}': {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::{BearerTokenParser, GivenToken};

    #[test]
    fn a_token_is_read_or_nothing_and_what_is_neither_is_not_repeated() {
        let read = |text: &str| {
            let token = Arg::new("token").long("token").value_parser(BearerTokenParser);
            let matches = Command::new("test").arg(token).try_get_matches_from(["test", "--token", text])?;
            Ok::<_, clap::Error>(matches.get_one::<GivenToken>("token").cloned().and_then(|given| given.0))
        };
        assert_eq!(read("secret").ok().flatten(), "secret".parse().ok());
        assert_eq!(read("").ok(), Some(None));
        let error = read("se cret").unwrap_err().to_string();
        assert!(error.contains("--token") && !error.contains("cret'") && !error.contains("se cret"), "{error}");
    }
}
