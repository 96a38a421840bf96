use std::ffi::OsStr;

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};
use model::{BearerToken, InvalidBearerToken};

/// Reads a token that is given with a flag or by the environment. Other parsers repeat in their errors what was given.
#[derive(Debug, Clone)]
pub(crate) struct BearerTokenParser;

impl TypedValueParser for BearerTokenParser {
    type Value = BearerToken;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<BearerToken, clap::Error> {
        value.to_string_lossy().parse().map_err(|error: InvalidBearerToken| {
            let flag = flag.map(Arg::to_string).unwrap_or_default();
            let message = format!("invalid value for '{flag}': {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}
