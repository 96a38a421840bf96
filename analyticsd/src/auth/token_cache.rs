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

/// When a failed write is tried again.
const PERIOD: Duration = Duration::from_millis(500);
/// How old `read_at` in the file may become while the tokens do not change.
const CONFIRMATION: TimeDelta = TimeDelta::minutes(1);

/// The content of the file: tokens with the digests of their secrets, as in the database.
#[derive(Clone, Serialize, Deserialize)]
struct Content {
    changes: i64,
    tokens: Vec<Token>,
    /// When they were last read. Files of earlier versions do not have it.
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

/// The cached tokens, and when they were last read from the database.
#[derive(Debug)]
pub(super) struct Recalled {
    pub(super) tokens: LiveAccessTokens,
    pub(super) read_at: DateTime<Utc>,
}

/// A file with the tokens that were last read, so that a daemon with a spool can check tokens when it starts during an
/// outage of the database.
pub(super) struct TokenCache {
    dir: PathBuf,
    /// The newest content, written or not.
    last: Mutex<Option<Content>>,
    /// The content that is not written yet.
    unwritten: watch::Sender<Option<Arc<[u8]>>>,
}

impl TokenCache {
    /// A cache in a folder that only this daemon uses.
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), last: Mutex::default(), unwritten: watch::Sender::new(None) }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("access.json")
    }

    /// Reads the file; `None` if it does not exist.
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

    /// Sets the content to tokens that were just read. [`Self::write`] or [`Self::follow`] writes it.
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

    /// Notes that the tokens were read again and did not change. This is written once a minute.
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

    /// Writes the content, if it is not written yet.
    pub(super) async fn write(&self) -> io::Result<()> {
        let Some(text) = self.unwritten.borrow().clone() else { return Ok(()) };
        let writing = tokio::task::spawn_blocking({
            let (dir, path, text) = (self.dir.clone(), self.path(), Arc::clone(&text));
            move || write(&dir, &path, &text)
        });
        writing.await.map_err(io::Error::other)??;
        // Newer content may have come meanwhile; then it stays unwritten.
        self.unwritten.send_if_modified(|unwritten| {
            unwritten.take_if(|unwritten| *unwritten == text);
            false
        });
        Ok(())
    }

    /// Writes each new content, and tries again until it succeeds. Never returns.
    pub(super) async fn follow(&self) {
        let mut unwritten = self.unwritten.subscribe();
        let mut is_failing = false;
        loop {
            unwritten.mark_unchanged();
            match self.write().await {
                Ok(()) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the access tokens can be written to the spool's folder again");
                    }
                    // The channel is open as long as `self` exists.
                    let _ = unwritten.changed().await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(
                            %error,
                            "cannot write the access tokens to the spool's folder; trying again until it succeeds. \
                             Until then a start without the database uses the tokens of the last write"
                        );
                    }
                    tokio::time::sleep(PERIOD).await;
                }
            }
        }
    }
}

/// Replaces the file atomically, also if the machine crashes. Only the daemon's user may read it.
fn write(dir: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    // The spool may not have created its folder yet.
    private_files::make_folder(dir)?;
    let new = path.with_extension("json.new");
    let mut file = private_files::open(File::options().truncate(true).write(true), &new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    // The folder must be synced for the new name.
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
    async fn written_tokens_are_read_again_and_only_by_the_daemons_user() {
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
    async fn the_time_of_the_last_read_is_written_each_minute_and_otherwise_taken_from_the_file() {
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
        assert!(Utc::now() - read_at() < TimeDelta::minutes(1), "files of earlier versions have no time");
    }

    #[tokio::test]
    async fn a_failed_write_is_tried_again_until_it_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let (file, new) = (folder.path().join("access.json"), folder.path().join("access.json.new"));
        let kept = TokenCache::in_folder(folder.path());
        fs::create_dir_all(file.join("not empty")).unwrap();
        kept.replace(&known(1), Utc::now());
        while_it_follows(&kept, async {
            for _ in 0..2 {
                // A failed rename leaves the new file behind.
                until(|| new.exists()).await;
                fs::remove_file(&new).unwrap();
            }
            fs::remove_dir_all(&file).unwrap();
            until(|| holds(&kept, &known(1))).await;
        })
        .await;
    }
}
