//! The file of named profiles: where it is looked for, and what it may hold.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use client::ServerUrl;
use db::has_password;
use model::BearerToken;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

const ACCEPTED: &str = "accepted is profile = \"NAME\" and, in each table [profiles.NAME], server = \"URL\", token = \"TOKEN\", and database_url = \"URL\" or shards = [\"URL\", …]";

#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// None if neither `XDG_CONFIG_HOME` nor `HOME` is set.
    pub(crate) path: Option<PathBuf>,
    /// None if there is no file.
    pub(crate) content: Option<Content>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    /// The default profile.
    pub(crate) profile: Option<String>,
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) server: Option<ServerUrl>,
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) token: Option<BearerToken>,
    pub(crate) database_url: Option<String>,
    /// Shard 0 first.
    pub(crate) shards: Option<Vec<String>>,
}

impl Profile {
    fn has_secret(&self) -> bool {
        self.token.is_some()
            || self.database_url.iter().chain(self.shards.iter().flatten()).any(|url| has_password(url))
            || self.server.as_ref().is_some_and(|server| *server != server.masked())
    }
}

#[derive(Debug, Error)]
pub(crate) enum ConfigFileError {
    #[error("cannot read {path}: {error}; {advice}", path = .path.display())]
    Unreadable { path: PathBuf, error: io::Error, advice: &'static str },
    #[error("{place}: {fault}; {ACCEPTED}", place = place(.path, *.line))]
    Invalid {
        path: PathBuf,
        /// Counted from 1.
        line: Option<usize>,
        fault: String,
    },
}

fn place(path: &Path, line: Option<usize>) -> String {
    line.map_or(path.display().to_string(), |line| format!("{}:{line}", path.display()))
}

impl ConfigFile {
    /// Reads the named file, or else the one at the usual place, which need not exist.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, ConfigFileError> {
        let Some(path) = named.map(Path::to_owned).or_else(usual_place) else {
            return Ok(Self { path: None, content: None });
        };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                return Ok(Self { path: Some(path), content: None });
            }
            Err(error) => {
                let advice = if named.is_some() {
                    "check --config (or ANALYTICS_CONFIG)"
                } else {
                    "make it readable, or give another file with --config"
                };
                return Err(ConfigFileError::Unreadable { path, error, advice });
            }
            Ok(text) => text,
        };
        let content = toml::from_str(&text).map_err(|error| ConfigFileError::Invalid {
            line: error.span().map(|span| line_of(&text, span.start)),
            fault: without_values(error.message()),
            path: path.clone(),
        })?;
        Ok(Self { path: Some(path), content: Some(content) })
    }

    pub(crate) fn profile_names(&self) -> Vec<&str> {
        self.content.iter().flat_map(|content| content.profiles.keys().map(String::as_str)).collect()
    }

    /// A warning if other users may read a password or token in it.
    pub(crate) fn exposed_secret(&self) -> Option<String> {
        let (path, content) = (self.path.as_ref()?, self.content.as_ref()?);
        let holds_secret = content.profiles.values().any(Profile::has_secret);
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (holds_secret && mode & 0o077 != 0).then(|| {
            let path = path.display();
            format!(
                "{path} holds a password or token, and other users may read it (mode {mode:03o}); run `chmod 600 {path}`"
            )
        })
    }
}

/// The XDG base directory specification ignores relative paths.
fn usual_place() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("analytics/config.toml"))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
}

/// One line, without the misplaced value itself, which may be a database URL with its password.
fn without_values(message: &str) -> String {
    let message = message.replace('\n', ", ");
    match message.split_once(" string \"") {
        Some((before, behind)) => {
            let expected = behind.rfind("\", ").map_or("", |end| &behind[end + 1..]);
            format!("{before} string{expected}")
        }
        None => message,
    }
}

/// Parses a text of the file while it is read, so that the error can name the line.
fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{ConfigFile, ConfigFileError, without_values};

    fn read(text: &str) -> Result<ConfigFile, ConfigFileError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, text).unwrap();
        ConfigFile::read(Some(&path))
    }

    #[test]
    fn a_file_holds_profiles_and_may_name_the_default_one() {
        let file = read(
            "profile = \"here\"\n[profiles.here]\n[profiles.there]\nserver = \"http://counter/\"\n\
             database_url = \"postgres://h/db\"\n",
        )
        .unwrap();
        assert_eq!(file.profile_names(), ["here", "there"]);
        let content = file.content.unwrap();
        assert_eq!(content.profile.as_deref(), Some("here"));
        assert_eq!(content.profiles["there"].server.as_ref().unwrap().to_string(), "http://counter");
        assert_eq!(content.profiles["there"].database_url.as_deref(), Some("postgres://h/db"));
        assert!(read("").unwrap().profile_names().is_empty());
    }

    #[test]
    fn what_a_file_must_not_hold_is_named_with_its_line_and_what_is_accepted() {
        for (text, line, fault) in [
            ("profil = \"a\"", 1, "unknown field `profil`"),
            ("\n[profiles.a]\nserver = \"http://h\"\nurl = \"x\"", 4, "unknown field `url`"),
            ("\n\n[profile.a]", 3, "expected a string"),
            ("[profiles.a]\nserver = 8080", 2, "expected a string"),
            ("[profiles.a]\n\nserver = \"ftp://counter\"", 3, "accepted is http://HOST:PORT"),
            ("[profiles.a]\ntoken = \"an odd secret\"", 2, "accepted is 1 to 512 visible ASCII characters"),
            ("[profiles.a]\ndatabase_url = [\"postgres://h/db\"]", 2, "expected a string"),
            ("[profiles]\na = \"postgres://ann:secret@h/db\"", 2, "invalid type: string"),
            ("[profiles.a]\n[profiles.b]\n[profiles.a]", 3, "duplicate key"),
            ("a = \n", 1, ""),
            ("profile = a", 1, ""),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(&format!("config.toml:{line}: ")), "{text:?} gave {error}");
            assert!(error.contains(fault) && error.contains("accepted is profile = "), "{text:?} gave {error}");
            assert!(!error.contains("secret") && !error.contains('\n'), "{text:?} gave {error}");
        }
    }

    #[test]
    fn a_text_in_the_wrong_place_is_not_repeated() {
        assert_eq!(
            without_values("invalid type: string \"a \\\"secret\\\", b\", expected struct Profile"),
            "invalid type: string, expected struct Profile"
        );
        assert_eq!(without_values("unknown field `a`, expected `b`"), "unknown field `a`, expected `b`");
    }
}
