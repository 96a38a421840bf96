use std::ffi::OsStr;

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};
use model::BearerToken;

/// What was given as a token. A variable that is set to nothing says nothing.
#[derive(Debug, Clone)]
pub(crate) struct GivenToken(pub(crate) Option<BearerToken>);

/// Reads a token that is given with a flag or by the environment. Other parsers repeat in their errors what was given.
#[derive(Debug, Clone)]
pub(crate) struct BearerTokenParser;

impl TypedValueParser for BearerTokenParser {
    type Value = GivenToken;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<GivenToken, clap::Error> {
        BearerToken::given(&value.to_string_lossy()).map(GivenToken).map_err(|error| {
            let flag = flag.map(Arg::to_string).unwrap_or_default();
            let message = format!("invalid value for '{flag}': {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
