use std::{fmt, io};

use client::ClientError;
use event_files::{ReadError, Unreadable};

use crate::failure::server_advice;

/// Why an input is not read on.
#[derive(Debug)]
pub(crate) enum Fault {
    Read(ReadError),
    /// The first timestamp looks like seconds.
    UnknownUnit(Unreadable),
    /// The server does not say where the file stands.
    Server(ClientError),
    /// The file was imported before from the same place, and its content up to this byte was another.
    Changed(u64),
    /// Some shards have the beginning of a file that begins alike and was at another place.
    Begun,
    /// More files begin alike than the server lists.
    TooManyAlike,
    /// Another program sent the source meanwhile, and the server did not compare what this one sent.
    NotCompared,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::UnknownUnit(reason) => {
                write!(f, "{reason}; say the unit with --timestamps s, --timestamps ms or --timestamps rfc3339")
            }
            Self::Server(error) => write!(f, "{error}{}", server_advice(error)),
            Self::Changed(position) => write!(
                f,
                "it was imported before up to byte {position}, and what stood before that byte has changed, or is gone. A file that was \
                 imported may grow, be renamed or be compressed, but its lines must not change"
            ),
            Self::Begun => f.write_str(
                "some databases of the counter have the beginning of a file that begins as it does, and was somewhere else when it was \
                 imported. Import it once more from there, if it is that file",
            ),
            Self::TooManyAlike => write!(f, "more than 1,000 files that were imported begin as it does"),
            Self::NotCompared => write!(
                f,
                "another program sent a text that begins as this one meanwhile, and further, so that it is not known whether \
                 all of this one is stored"
            ),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}
