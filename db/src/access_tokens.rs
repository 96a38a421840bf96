use chrono::{DateTime, Utc};
use model::{
    SiteId,
    access::{Digest, IssuedToken, Origin, Scope, Scopes, TokenName},
};

use crate::{Store, StoreError};

/// A token as it is put into the table.
#[derive(Debug, Clone)]
pub struct NewAccessToken {
    /// What it says of itself before its secret.
    pub id: String,
    /// What people call it.
    pub name: TokenName,
    /// What it allows.
    pub scopes: Scopes,
    /// The sum of its secret; none for a public key.
    pub digest: Option<Digest>,
    /// Where the pages are that may use a public key. Empty for any other.
    pub origins: Vec<Origin>,
    /// The sites that it is for. None: a token is for all, a public key for the site without a name.
    pub sites: Option<Vec<SiteId>>,
    /// Whether it is for a link to the page of its one site.
    pub is_share: bool,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewAccessToken {
    /// One without an end, without origins, and not for certain sites.
    pub fn new(issued: &IssuedToken, name: TokenName, scopes: Scopes) -> Self {
        Self {
            id: issued.id.clone(),
            name,
            scopes,
            digest: issued.digest,
            origins: Vec::new(),
            sites: None,
            is_share: false,
            expires_at: None,
        }
    }
}

/// A token as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTokenRow {
    /// What it says of itself before its secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Whether it is a public key.
    pub is_public: bool,
    /// Where the pages are that may use it.
    pub origins: Vec<String>,
    /// The names of the sites that it is for, without those that are deleted; none if it is for no site in particular.
    pub sites: Option<Vec<String>>,
    /// Whether it is for a link to the page of its one site.
    pub is_share: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends or ended by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token that lets its holder in.
#[derive(Debug, Clone)]
pub struct LiveAccessToken {
    /// What it says of itself before its secret.
    pub id: String,
    /// What it allows.
    pub scopes: Scopes,
    /// The sum of its secret; none for a public key.
    pub digest: Option<Digest>,
    /// Where the pages are that may use a public key, as browsers write it.
    pub origins: Vec<String>,
    /// The sites that it is for. None: a token is for all, a public key for the site without a name.
    pub sites: Option<Vec<SiteId>>,
    /// Whether it is for a link to the page of its one site.
    pub is_share: bool,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// All that let somebody in at one moment.
#[derive(Debug, Clone)]
pub struct LiveAccessTokens {
    /// How often the table had been changed, or fewer times. Zero: there never was a token.
    pub changes: i64,
    /// The tokens.
    pub tokens: Vec<LiveAccessToken>,
}

/// The table of tokens.
#[derive(Clone, Copy)]
pub struct AccessTokens<'a>(pub &'a Store);

impl AccessTokens<'_> {
    /// Whether there ever was a token, so that daemons ask for one.
    pub async fn ever_were(self) -> Result<bool, StoreError> {
        Ok(changes(&self.0.read_row("select analytics.access_changes()", &[]).await?)? > 0)
    }

    /// Puts a token into the table. False if another that is not revoked has its name.
    pub async fn create(self, token: &NewAccessToken) -> Result<bool, StoreError> {
        let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
        let origins: Vec<&str> = token.origins.iter().map(Origin::as_str).collect();
        let digest = token.digest.as_ref().map(<[u8; 32]>::as_slice);
        let create = "select analytics.create_access_token($1, $2, $3, $4, $5, $6, $7, $8)";
        let name = token.name.as_str();
        let sites: Option<Vec<i32>> =
            token.sites.as_ref().map(|sites| sites.iter().map(|site| site.number()).collect());
        let NewAccessToken { id, is_share, expires_at, .. } = token;
        let row = self.0.row(create, &[id, &name, &scopes, &digest, &origins, &sites, is_share, expires_at]).await?;
        Ok(row.get(0))
    }

    /// All that ever were, the latest last.
    pub async fn list(self) -> Result<Vec<AccessTokenRow>, StoreError> {
        let statement = "select id, name, scopes, is_public, origins, sites, is_share, created_at, expires_at, revoked_at \
                         from analytics.list_access_tokens()";
        let rows = self.0.read_rows(statement, &[]).await?;
        let read = |row: &tokio_postgres::Row| AccessTokenRow {
            id: row.get(0),
            name: row.get(1),
            scopes: row.get(2),
            is_public: row.get(3),
            origins: row.get(4),
            sites: row.get(5),
            is_share: row.get(6),
            created_at: row.get(7),
            expires_at: row.get(8),
            revoked_at: row.get(9),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Revokes the token of an ID, else the one of a name, and returns its ID and name. None if there is none that is not revoked already.
    pub async fn revoke(self, name_or_id: &str) -> Result<Option<(String, String)>, StoreError> {
        self.0
            .on_client(async |client| {
                let row =
                    client.query_opt("select id, name from analytics.revoke_access_token($1)", &[&name_or_id]).await?;
                Ok(row.map(|row| (row.get(0), row.get(1))))
            })
            .await
    }

    /// Those that let somebody in, unless the table was changed no more often than the caller knows.
    pub async fn changed_since(self, known: Option<i64>) -> Result<Option<LiveAccessTokens>, StoreError> {
        self.0
            .read(async |client| {
                let statement = client.prepare_cached("select analytics.access_changes()").await?;
                // Asked for before the tokens: if they change in between, they are read once more than needed, and never once less.
                let changes = changes(&client.query_one(&statement, &[]).await?)?;
                if known == Some(changes) {
                    return Ok(None);
                }
                let rows = client
                    .query(
                        "select id, scopes, secret_hash, origins, site_ids, is_share, expires_at from analytics.live_access_tokens()",
                        &[],
                    )
                    .await?;
                Ok(Some(LiveAccessTokens { changes, tokens: rows.iter().filter_map(live).collect() }))
            })
            .await
    }
}

/// How often the tables of tokens were changed. There is none while a backup is restored under the daemon.
fn changes(row: &tokio_postgres::Row) -> Result<i64, StoreError> {
    row.get::<_, Option<i64>>(0).ok_or(StoreError::Inconsistent("how often access tokens were changed is not there"))
}

/// A token of the table. None if it has anything that this build does not know, so that it lets nobody in.
fn live(row: &tokio_postgres::Row) -> Option<LiveAccessToken> {
    let scopes: Vec<String> = row.get(1);
    let digest = match row.get::<_, Option<&[u8]>>(2) {
        Some(digest) => Some(Digest::try_from(digest).ok()?),
        None => None,
    };
    Some(LiveAccessToken {
        id: row.get(0),
        scopes: scopes.iter().map(|scope| scope.parse()).collect::<Result<Scopes, _>>().ok()?,
        digest,
        origins: row.get(3),
        sites: match row.get::<_, Option<Vec<i32>>>(4) {
            Some(numbers) => Some(numbers.into_iter().map(SiteId::new).collect::<Option<_>>()?),
            None => None,
        },
        is_share: row.get(5),
        expires_at: row.get(6),
    })
}
