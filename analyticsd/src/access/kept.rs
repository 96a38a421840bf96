use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use db::{LiveAccessToken, LiveAccessTokens};
use model::access::{Digest, Scope, Scopes};
use serde::{Deserialize, Serialize};

/// What is written of the tokens: the sums of their secrets, as in the database.
#[derive(Serialize, Deserialize)]
struct File {
    changes: i64,
    tokens: Vec<Token>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    id: String,
    scopes: Vec<String>,
    digest: Option<Digest>,
    origins: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
}

/// A file that keeps the tokens which were known last, so that a daemon with a spool which starts while the database is away knows whom to let in.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    dir: PathBuf,
}

impl Kept {
    /// In a folder that only this daemon uses.
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("access.json")
    }

    /// What was written last; none if nothing ever was.
    pub(super) fn read(&self) -> io::Result<Option<LiveAccessTokens>> {
        let text = match fs::read(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let File { changes, tokens } = serde_json::from_slice(&text)?;
        let tokens = tokens.into_iter().map(|token| {
            let scopes = token.scopes.iter().map(|scope| scope.parse::<Scope>()).collect::<Result<Scopes, _>>();
            Ok(LiveAccessToken {
                id: token.id,
                scopes: scopes.map_err(io::Error::other)?,
                digest: token.digest,
                origins: token.origins,
                expires_at: token.expires_at,
            })
        });
        Ok(Some(LiveAccessTokens { changes, tokens: tokens.collect::<io::Result<_>>()? }))
    }

    /// Replaces what was written, all or nothing. Nobody but the daemon's user may read it.
    pub(super) fn write(&self, known: &LiveAccessTokens) -> io::Result<()> {
        let tokens = known.tokens.iter().map(|token| Token {
            id: token.id.clone(),
            scopes: token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            digest: token.digest,
            origins: token.origins.clone(),
            expires_at: token.expires_at,
        });
        let text = serde_json::to_vec(&File { changes: known.changes, tokens: tokens.collect() })?;
        fs::create_dir_all(&self.dir)?;
        let new = self.dir.join("access.json.new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        // One that was left behind may have other permissions.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(new, self.path())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use chrono::DateTime;
    use db::{LiveAccessToken, LiveAccessTokens};
    use model::access::Scope;

    use super::Kept;

    #[test]
    fn what_is_written_is_read_again_and_only_by_the_daemons_user() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spool");
        let kept = Kept::in_folder(&dir);
        assert!(kept.read().unwrap().is_none());
        let token = |digest, origins| LiveAccessToken {
            id: "0123456789ab".to_owned(),
            scopes: [Scope::Write].into_iter().collect(),
            digest,
            origins,
            expires_at: DateTime::from_timestamp(1, 0),
        };
        for changes in [1, 2] {
            let tokens = vec![token(Some([7; 32]), vec![]), token(None, vec!["https://shop.example".to_owned()])];
            let known = LiveAccessTokens { changes, tokens };
            kept.write(&known).unwrap();
            assert_eq!(format!("{:?}", kept.read().unwrap().unwrap()), format!("{known:?}"));
        }
        let file = dir.join("access.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(file, "{}").unwrap();
        assert!(kept.read().is_err());
    }
}
