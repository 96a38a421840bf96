use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use db::{LiveAccessToken, LiveAccessTokens, LiveSite, LiveSites};
use model::{
    SiteId, SiteName,
    access::{Digest, Scope, Scopes},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::process::private_files;

/// When a failed write is tried again.
const PERIOD: Duration = Duration::from_millis(500);
/// How old `read_at` in the file may become while the tokens do not change.
const CONFIRMATION: TimeDelta = TimeDelta::minutes(1);

/// The content of the file: tokens with the digests of their secrets, and sites, as in the database.
#[derive(Clone, Serialize, Deserialize)]
struct Content {
    changes: i64,
    tokens: Vec<Token>,
    site_changes: i64,
    sites: Vec<Site>,
    /// When they were last read.
    read_at: DateTime<Utc>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Token {
    id: String,
    scopes: Vec<String>,
    digest: Option<Digest>,
    origins: Vec<String>,
    sites: Option<Vec<i32>>,
    is_share: bool,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Site {
    id: i32,
    name: String,
    is_archived: bool,
}

impl Token {
    fn kept(token: &LiveAccessToken) -> Self {
        Self {
            id: token.id.clone(),
            scopes: token.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            digest: token.digest,
            origins: token.origins.clone(),
            sites: token.sites.as_ref().map(|sites| sites.iter().map(|site| site.number()).collect()),
            is_share: token.is_share,
            expires_at: token.expires_at,
        }
    }

    fn recalled(self) -> io::Result<LiveAccessToken> {
        let scopes = self.scopes.iter().map(|scope| scope.parse::<Scope>()).collect::<Result<Scopes, _>>();
        let sites = self.sites.map(|sites| sites.into_iter().map(site_id).collect::<io::Result<_>>()).transpose()?;
        Ok(LiveAccessToken {
            id: self.id,
            scopes: scopes.map_err(io::Error::other)?,
            digest: self.digest,
            origins: self.origins,
            sites,
            is_share: self.is_share,
            expires_at: self.expires_at,
        })
    }
}

impl Site {
    fn kept(site: &LiveSite) -> Self {
        Self { id: site.id.number(), name: site.name.as_str().to_owned(), is_archived: site.is_archived }
    }

    fn recalled(self) -> io::Result<LiveSite> {
        let name = SiteName::new(self.name).map_err(io::Error::other)?;
        Ok(LiveSite { id: site_id(self.id)?, name, is_archived: self.is_archived })
    }
}

fn site_id(number: i32) -> io::Result<SiteId> {
    SiteId::new(number).ok_or_else(|| io::Error::other("a site has a negative number"))
}

/// The cached tokens and sites, and when they were last read from the database.
#[derive(Debug)]
pub(super) struct Recalled {
    pub(super) tokens: LiveAccessTokens,
    pub(super) sites: LiveSites,
    pub(super) read_at: DateTime<Utc>,
}

/// A file with the tokens and sites that were last read, so that a daemon with a spool can check tokens when it starts during an
/// outage of the database.
pub(super) struct AccessCache {
    dir: PathBuf,
    /// The newest content, written or not.
    last: Mutex<Option<Content>>,
    /// The content that is not written yet.
    unwritten: watch::Sender<Option<Arc<[u8]>>>,
}

impl AccessCache {
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
        let content: Content = serde_json::from_slice(&text)?;
        let Content { changes, tokens, site_changes, sites, read_at } = content.clone();
        let tokens = tokens.into_iter().map(Token::recalled).collect::<io::Result<_>>()?;
        let sites = sites.into_iter().map(Site::recalled).collect::<io::Result<_>>()?;
        // What is read next may be news of one table only.
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(content);
        Ok(Some(Recalled {
            tokens: LiveAccessTokens { changes, tokens },
            sites: LiveSites { changes: site_changes, sites },
            read_at,
        }))
    }

    /// Notes what was just read, of which nothing is given where it did not change. [`Self::write`] or
    /// [`Self::follow`] writes it; that nothing changed is written once a minute.
    pub(super) fn update(&self, tokens: Option<&LiveAccessTokens>, sites: Option<&LiveSites>, now: DateTime<Utc>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let content = match (last.as_mut(), tokens, sites) {
            (Some(last), None, None) if (now - last.read_at).abs() < CONFIRMATION => return,
            (Some(last), ..) => last,
            (None, Some(_), Some(_)) => last.insert(Content {
                changes: 0,
                tokens: Vec::new(),
                site_changes: 0,
                sites: Vec::new(),
                read_at: now,
            }),
            // What was read first is everything.
            (None, ..) => return,
        };
        content.read_at = now;
        if let Some(LiveAccessTokens { changes, tokens }) = tokens {
            (content.changes, content.tokens) = (*changes, tokens.iter().map(Token::kept).collect());
        }
        if let Some(LiveSites { changes, sites }) = sites {
            (content.site_changes, content.sites) = (*changes, sites.iter().map(Site::kept).collect());
        }
        self.put(content);
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

fn write(dir: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    // The spool may not have created its folder yet.
    private_files::make_folder(dir)?;
    private_files::replace(path, text)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

    use chrono::{DateTime, Utc};
    use db::{LiveAccessToken, LiveAccessTokens, LiveSite, LiveSites};
    use model::{SiteId, SiteName, access::Scope};

    use super::AccessCache;

    fn known(changes: i64) -> LiveAccessTokens {
        let token = |digest, origins| LiveAccessToken {
            id: "0123456789ab".to_owned(),
            scopes: [Scope::Write].into_iter().collect(),
            digest,
            origins,
            sites: SiteId::new(7).map(|site| vec![site]),
            is_share: true,
            expires_at: DateTime::from_timestamp(1, 0),
        };
        let tokens = vec![token(Some([7; 32]), vec![]), token(None, vec!["https://shop.example".to_owned()])];
        LiveAccessTokens { changes, tokens }
    }

    fn sites() -> LiveSites {
        let site = LiveSite { id: SiteId::new(7).unwrap(), name: SiteName::new("shop").unwrap(), is_archived: true };
        LiveSites { changes: 3, sites: vec![site] }
    }

    fn replace(kept: &AccessCache, changes: i64, now: DateTime<Utc>) {
        kept.update(Some(&known(changes)), Some(&sites()), now);
    }

    fn holds(kept: &AccessCache, expected: &LiveAccessTokens) -> bool {
        kept.read().ok().flatten().is_some_and(|kept| {
            let (tokens, of_sites) = (format!("{:?}", kept.tokens), format!("{:?}", kept.sites));
            tokens == format!("{expected:?}") && of_sites == format!("{:?}", sites())
        })
    }

    async fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn while_it_follows(kept: &AccessCache, test: impl Future<Output = ()>) {
        tokio::select! {
            () = kept.follow() => panic!("it ended"),
            done = tokio::time::timeout(Duration::from_mins(1), test) => done.unwrap(),
        }
    }

    #[tokio::test]
    async fn written_tokens_are_read_again_and_only_by_the_daemons_user() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spool");
        let kept = AccessCache::in_folder(&dir);
        assert!(kept.read().unwrap().is_none());
        for changes in [1, 2] {
            replace(&kept, changes, Utc::now());
            while_it_follows(&kept, until(|| holds(&kept, &known(changes)))).await;
        }
        let file = dir.join("access.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(file, "{}").unwrap();
        assert!(kept.read().is_err());
    }

    #[tokio::test]
    async fn the_time_of_the_last_read_is_written_each_minute_and_with_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let kept = AccessCache::in_folder(folder.path());
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let read_at = || kept.read().unwrap().unwrap().read_at;
        kept.update(None, None, at(0));
        kept.write().await.unwrap();
        assert!(kept.read().unwrap().is_none(), "there is nothing to confirm");
        replace(&kept, 1, at(0));
        for (now, expected) in [(59, 0), (60, 60), (119, 60), (120, 120), (0, 0)] {
            kept.update(None, None, at(now));
            kept.write().await.unwrap();
            assert_eq!(read_at(), at(expected), "{now}");
        }
        kept.update(None, Some(&LiveSites { changes: 4, sites: vec![] }), at(5));
        kept.write().await.unwrap();
        let kept = kept.read().unwrap().unwrap();
        assert_eq!((kept.tokens.tokens.len(), kept.sites.changes, kept.read_at), (2, 4, at(5)), "only sites changed");
    }

    #[tokio::test]
    async fn what_changes_after_a_start_without_the_database_is_written_beside_what_was_recalled() {
        let folder = tempfile::tempdir().unwrap();
        let before = AccessCache::in_folder(folder.path());
        replace(&before, 1, Utc::now());
        before.write().await.unwrap();
        let kept = AccessCache::in_folder(folder.path());
        kept.read().unwrap();
        kept.update(Some(&known(2)), None, Utc::now());
        kept.write().await.unwrap();
        assert!(holds(&kept, &known(2)));
    }

    #[tokio::test]
    async fn a_failed_write_is_tried_again_until_it_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let (file, new) = (folder.path().join("access.json"), folder.path().join("access.json.new"));
        let kept = AccessCache::in_folder(folder.path());
        fs::create_dir_all(file.join("not empty")).unwrap();
        replace(&kept, 1, Utc::now());
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
