use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use db::{LiveAccessToken, LiveAccessTokens};
use model::access::{Digest, Scope, Scopes};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::process::private_files;

/// How long after a failure it is tried again.
const PERIOD: Duration = Duration::from_millis(500);
/// How old the time in the file may be while the same tokens are read again and again.
const CONFIRMATION: TimeDelta = TimeDelta::minutes(1);

/// What is written of the tokens: the sums of their secrets, as in the database.
#[derive(Clone, Serialize, Deserialize)]
struct Content {
    changes: i64,
    tokens: Vec<Token>,
    /// When they were last read. Files of earlier versions do not say it.
    read_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Token {
    id: String,
    scopes: Vec<String>,
    digest: Option<Digest>,
    origins: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
}

/// What was kept, and when it was last true.
#[derive(Debug)]
pub(super) struct Recalled {
    pub(super) tokens: LiveAccessTokens,
    pub(super) read_at: DateTime<Utc>,
}

/// A file that keeps the tokens which were known last, so that a daemon with a spool which starts while the database is away knows whom to let in.
pub(super) struct TokenCache {
    dir: PathBuf,
    /// What the file holds or is to hold.
    last: Mutex<Option<Content>>,
    /// What the file is to hold, until it does.
    unwritten: watch::Sender<Option<Arc<[u8]>>>,
}

impl TokenCache {
    /// In a folder that only this daemon uses.
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), last: Mutex::default(), unwritten: watch::Sender::new(None) }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("access.json")
    }

    /// What was written last; none if nothing ever was.
    pub(super) fn read(&self) -> io::Result<Option<Recalled>> {
        let text = match fs::read(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let Content { changes, tokens, read_at } = serde_json::from_slice(&text)?;
        let read_at = match read_at {
            Some(read_at) => read_at,
            None => fs::metadata(self.path())?.modified()?.into(),
        };
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
        let tokens = LiveAccessTokens { changes, tokens: tokens.collect::<io::Result<_>>()? };
        Ok(Some(Recalled { tokens, read_at }))
    }

    /// Says what is to be written, which was read just now.
    pub(super) fn replace(&self, known: &LiveAccessTokens, now: DateTime<Utc>) {
        let tokens = known.tokens.iter().map(|token| Token {
            id: token.id.clone(),
            scopes: token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            digest: token.digest,
            origins: token.origins.clone(),
            expires_at: token.expires_at,
        });
        let content = Content { changes: known.changes, tokens: tokens.collect(), read_at: Some(now) };
        self.put(&content);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(content);
    }

    /// What was read just now is what was read before. Each minute that is written too.
    pub(super) fn confirm(&self, now: DateTime<Utc>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = last.as_mut()
            && content.read_at.is_none_or(|before| (now - before).abs() >= CONFIRMATION)
        {
            content.read_at = Some(now);
            self.put(content);
        }
    }

    fn put(&self, content: &Content) {
        let text = serde_json::to_vec(content).expect("texts, numbers and lists of them can be written as JSON");
        self.unwritten.send_replace(Some(text.into()));
    }

    /// Writes what is to be written, if anything is.
    pub(super) async fn write(&self) -> io::Result<()> {
        let Some(text) = self.unwritten.borrow().clone() else { return Ok(()) };
        let writing = tokio::task::spawn_blocking({
            let (dir, path, text) = (self.dir.clone(), self.path(), Arc::clone(&text));
            move || write(&dir, &path, &text)
        });
        writing.await.map_err(io::Error::other)??;
        // What came meanwhile is still to be written.
        self.unwritten.send_if_modified(|unwritten| {
            unwritten.take_if(|unwritten| *unwritten == text);
            false
        });
        Ok(())
    }

    /// Writes what is to be written whenever something is, and tries again until it succeeds. Never ends by itself.
    pub(super) async fn follow(&self) {
        let mut unwritten = self.unwritten.subscribe();
        let mut is_failing = false;
        loop {
            unwritten.mark_unchanged();
            match self.write().await {
                Ok(()) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the access tokens are kept in the spool's folder again");
                    }
                    // It is not closed while this lives.
                    let _ = unwritten.changed().await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(
                            %error,
                            "the access tokens cannot be kept in the spool's folder, which is tried again until it succeeds; before that a start \
                             without the database may let in whom it did before"
                        );
                    }
                    tokio::time::sleep(PERIOD).await;
                }
            }
        }
    }
}

/// Replaces what was written, all or nothing, also if the machine crashes. Nobody but the daemon's user may read it.
fn write(dir: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    // It may be the first to need the folder, in which the spool will be.
    private_files::make_folder(dir)?;
    let new = path.with_extension("json.new");
    let mut file = private_files::open(File::options().truncate(true).write(true), &new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    // Its name is the folder's.
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

    use chrono::{DateTime, TimeDelta, Utc};
    use db::{LiveAccessToken, LiveAccessTokens};
    use model::access::Scope;

    use super::TokenCache;

    fn known(changes: i64) -> LiveAccessTokens {
        let token = |digest, origins| LiveAccessToken {
            id: "0123456789ab".to_owned(),
            scopes: [Scope::Write].into_iter().collect(),
            digest,
            origins,
            expires_at: DateTime::from_timestamp(1, 0),
        };
        let tokens = vec![token(Some([7; 32]), vec![]), token(None, vec!["https://shop.example".to_owned()])];
        LiveAccessTokens { changes, tokens }
    }

    fn holds(kept: &TokenCache, expected: &LiveAccessTokens) -> bool {
        kept.read().ok().flatten().is_some_and(|kept| format!("{:?}", kept.tokens) == format!("{expected:?}"))
    }

    async fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn while_it_follows(kept: &TokenCache, test: impl Future<Output = ()>) {
        tokio::select! {
            () = kept.follow() => panic!("it ended"),
            done = tokio::time::timeout(Duration::from_mins(1), test) => done.unwrap(),
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_and_only_by_the_daemons_user() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spool");
        let kept = TokenCache::in_folder(&dir);
        assert!(kept.read().unwrap().is_none());
        for changes in [1, 2] {
            kept.replace(&known(changes), Utc::now());
            while_it_follows(&kept, until(|| holds(&kept, &known(changes)))).await;
        }
        let file = dir.join("access.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(file, "{}").unwrap();
        assert!(kept.read().is_err());
    }

    #[tokio::test]
    async fn when_it_was_last_true_is_written_each_minute_and_else_told_by_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let kept = TokenCache::in_folder(folder.path());
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let read_at = || kept.read().unwrap().unwrap().read_at;
        kept.confirm(at(0));
        kept.write().await.unwrap();
        assert!(kept.read().unwrap().is_none(), "there is nothing to confirm");
        kept.replace(&known(1), at(0));
        for (now, expected) in [(59, 0), (60, 60), (119, 60), (120, 120), (0, 0)] {
            kept.confirm(at(now));
            kept.write().await.unwrap();
            assert_eq!(read_at(), at(expected), "{now}");
        }
        fs::write(folder.path().join("access.json"), r#"{"changes":0,"tokens":[]}"#).unwrap();
        assert!(Utc::now() - read_at() < TimeDelta::minutes(1), "as files of earlier versions have none");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_tried_again_until_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (file, new) = (folder.path().join("access.json"), folder.path().join("access.json.new"));
        let kept = TokenCache::in_folder(folder.path());
        fs::create_dir_all(file.join("not empty")).unwrap();
        kept.replace(&known(1), Utc::now());
        while_it_follows(&kept, async {
            for _ in 0..2 {
                // It leaves behind what it could not rename.
                until(|| new.exists()).await;
                fs::remove_file(&new).unwrap();
            }
            fs::remove_dir_all(&file).unwrap();
            until(|| holds(&kept, &known(1))).await;
        })
        .await;
    }
}
