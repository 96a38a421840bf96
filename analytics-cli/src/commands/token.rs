use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use db::{AccessTokenRow, AccessTokens, NewAccessToken, Shards, Store};
use model::{
    SiteName,
    access::{IssuedToken, Origin, Scope, Scopes, TokenName},
};
use rand::{TryRng, rngs::SysRng};
use serde::Serialize;

use crate::{
    database::check_first_schema,
    failure::Failure,
    output::{
        self, ReportFormat,
        palette::Palette,
        table::{Side, layout},
    },
    settings::{DatabaseArgs, WithSources},
    site,
    time::parse_span,
};

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) database: WithSources<DatabaseArgs>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token, or a public key for the pages of a web site, and print it.
    ///
    /// The token is printed only once, to standard output; the database keeps only a hash of it. From the first token
    /// on, every daemon of the database requires tokens, also on a loopback address, unless it was started with
    /// --allow-anonymous.
    Create(CreateArgs),
    /// List all tokens, the newest last, without their secrets.
    List {
        /// The output format.
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// Revoke a token. Every daemon refuses it within a second.
    Revoke {
        /// The token's name or ID. The ID is the part of the token between the underscores.
        #[arg(value_name = "NAME_OR_ID")]
        name_or_id: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The token's name. No other valid token may have it.
    name: TokenName,

    /// What the token allows, separated by commas: write (send events), read (get counts), admin (everything, also
    /// metrics).
    #[arg(
        long,
        value_name = "SCOPES",
        value_delimiter = ',',
        required_unless_present_any = ["public", "share"],
        conflicts_with = "public"
    )]
    scope: Vec<Scope>,

    /// Make a public key, which may stand in the source of pages. It only sends events, and only from pages of the
    /// given origins.
    #[arg(long, requires = "origin")]
    public: bool,

    /// An origin whose pages may use a public key, as in `https://shop.example`; may be given several times.
    #[arg(long, value_name = "ORIGIN", requires = "public")]
    origin: Vec<Origin>,

    /// A site that the token is for; may be given several times, or with commas. It needs no parameter `site` then, and
    /// can use no other [default: a token is for all sites, a public key for the one without a name].
    #[arg(long, value_name = "SITE", value_delimiter = ',')]
    site: Vec<SiteName>,

    /// Make a token for a link to the page of one site, `/?share=TOKEN`, which shows the site's counts to everybody who has
    /// the link. A daemon accepts such links only with --share-links.
    #[arg(long, requires = "site", conflicts_with_all = ["scope", "public"])]
    share: bool,

    /// How long the token is valid, as in 90d [default: until it is revoked].
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    expires: Option<Duration>,
}

/// Tokens are in the first shard.
pub(crate) async fn run(args: TokenArgs, shards: &Shards) -> Result<ExitCode, Failure> {
    check_first_schema(shards).await?;
    let store = shards.first();
    let tokens = AccessTokens(store);
    match args.action {
        Action::Create(args) => create(args, store).await,
        Action::List { format } => {
            let rows = tokens.list().await?;
            output::print(&write(&rows, Utc::now(), format, output::palette()))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Revoke { name_or_id } => revoke(&name_or_id, tokens).await,
    }
}

async fn revoke(name_or_id: &str, tokens: AccessTokens<'_>) -> Result<ExitCode, Failure> {
    let Some((id, name)) = tokens.revoke(name_or_id).await? else {
        output::error("no valid token has this name or ID; `analytics-cli token list` shows all tokens");
        return Ok(ExitCode::FAILURE);
    };
    output::message(&format!("revoked {name} ({id}); every daemon refuses it within a second"));
    Ok(ExitCode::SUCCESS)
}

async fn create(args: CreateArgs, store: &Store) -> Result<ExitCode, Failure> {
    let CreateArgs { name, scope, public, origin, site, share, expires } = args;
    if !site.is_empty() && scope.contains(&Scope::Admin) {
        return Err(Failure::CannotRun(
            "a token with the scope admin is for all sites; leave out --site, or give it the scopes write and read"
                .to_owned(),
        ));
    }
    let site: BTreeSet<SiteName> = site.into_iter().collect();
    if share && site.len() > 1 {
        return Err(Failure::CannotRun("a share link is for one site; give --site once".to_owned()));
    }
    let tokens = AccessTokens(store);
    let mut sites = Vec::new();
    for name in &site {
        sites.push(site::number_of(store, name).await?);
    }
    let expires_at = expires.map(|after| end(Utc::now(), after)).transpose()?;
    let mut random = [0; IssuedToken::RANDOM_BYTES];
    SysRng
        .try_fill_bytes(&mut random)
        .map_err(|error| Failure::CannotRun(format!("the system provided no random bytes: {error}; try again")))?;
    let (issued, scopes) = if public {
        (IssuedToken::public(random), Scopes::from_iter([Scope::Write]))
    } else if share {
        (IssuedToken::share(random), Scopes::from_iter([Scope::Read]))
    } else {
        (IssuedToken::secret(random), scope.into_iter().collect())
    };
    let token = NewAccessToken {
        id: issued.id,
        name,
        scopes,
        digest: issued.digest,
        origins: origin,
        sites: (!sites.is_empty()).then_some(sites),
        is_share: share,
        expires_at,
    };
    let is_first = !tokens.ever_were().await?;
    if !tokens.create(&token).await? {
        output::error(&format!(
            "a token named {} exists; choose another name, or first revoke that token with `analytics-cli token revoke`",
            token.name.as_str()
        ));
        return Ok(ExitCode::FAILURE);
    }
    if is_first {
        // This holds whether the token can be printed or not, so it comes first.
        output::message(
            "this is the first token: from now on every daemon of this database requires a token, unless it was started with --allow-anonymous; \
             revoking the token does not change this",
        );
    }
    // A token that could not be printed is of no use, so it must not stay valid.
    if let Err(failure) = output::print(&format!("{}\n", issued.text)) {
        tokens.revoke(&token.id).await?;
        return Err(failure.into());
    }
    output::message(if share {
        "this is the token of a share link: open the page as /?share=TOKEN. It is not shown again. Every daemon with --share-links accepts it within a second"
    } else if public {
        "this is a public key, for data-key of the script and key= of the pixel; every daemon accepts it within a second"
    } else {
        "store the token now: it is not shown again. Every daemon accepts it within a second, as `Authorization: Bearer TOKEN` or --token"
    });
    Ok(ExitCode::SUCCESS)
}

fn end(now: DateTime<Utc>, after: Duration) -> Result<DateTime<Utc>, Failure> {
    let after = chrono::Duration::from_std(after).ok();
    after
        .and_then(|after| now.checked_add_signed(after))
        .filter(|end| end.timestamp_millis() < 253_402_300_800_000)
        .ok_or_else(|| {
            Failure::CannotRun(
                "--expires is later than the year 9999; leave it out for a token that does not expire".to_owned(),
            )
        })
}

fn state(row: &AccessTokenRow, now: DateTime<Utc>) -> &'static str {
    if row.revoked_at.is_some() {
        "revoked"
    } else if row.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else {
        "valid"
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    /// The text of a public key, which is no secret and may be needed again; none for any other token.
    key: Option<String>,
    name: &'a str,
    public: bool,
    share: bool,
    scopes: &'a [String],
    origins: &'a [String],
    /// None: for all sites or, if it is public, for the one without a name.
    sites: Option<&'a [String]>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    state: &'a str,
}

fn sites(row: &AccessTokenRow) -> String {
    match &row.sites {
        Some(sites) if sites.is_empty() => "deleted".to_owned(),
        Some(sites) => sites.join(","),
        None if row.is_public => String::new(),
        None => "all".to_owned(),
    }
}

fn public_key(row: &AccessTokenRow) -> Option<String> {
    row.is_public.then(|| format!("pk_{}", row.id))
}

fn write(rows: &[AccessTokenRow], now: DateTime<Utc>, format: ReportFormat, palette: Palette) -> String {
    match format {
        ReportFormat::Json => {
            let listed: Vec<Listed> = rows
                .iter()
                .map(|row| Listed {
                    id: &row.id,
                    key: public_key(row),
                    name: &row.name,
                    public: row.is_public,
                    share: row.is_share,
                    scopes: &row.scopes,
                    origins: &row.origins,
                    sites: row.sites.as_deref(),
                    created_at: row.created_at,
                    expires_at: row.expires_at,
                    revoked_at: row.revoked_at,
                    state: state(row, now),
                })
                .collect();
            output::pretty_json(&listed)
        }
        ReportFormat::Table => {
            let date = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let cells: Vec<_> = rows
                .iter()
                .map(|row| {
                    [
                        public_key(row).unwrap_or_else(|| row.id.clone()),
                        row.name.clone(),
                        row.scopes.join(","),
                        row.origins.join(","),
                        sites(row),
                        date(row.created_at),
                        row.expires_at.map_or("never".to_owned(), date),
                        state(row, now).to_owned(),
                    ]
                })
                .collect();
            let titles = ["id", "name", "scopes", "origins", "sites", "created", "expires", "state"];
            layout(titles.map(|title| (title, Side::Left)), &cells, palette)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use db::AccessTokenRow;

    use super::{ReportFormat, end, write};
    use crate::output::palette::Palette;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_list_shows_which_tokens_are_valid() {
        let row = |name: &str, expires_at: Option<i64>, revoked_at: Option<i64>| AccessTokenRow {
            id: "0123456789ab".to_owned(),
            name: name.to_owned(),
            scopes: vec!["write".to_owned(), "read".to_owned()],
            is_public: false,
            origins: vec![],
            sites: None,
            is_share: false,
            created_at: at(0),
            expires_at: expires_at.map(at),
            revoked_at: revoked_at.map(at),
        };
        let public = AccessTokenRow {
            is_public: true,
            scopes: vec!["write".to_owned()],
            origins: vec!["https://shop.example".to_owned()],
            ..row("shop", None, None)
        };
        let rows = [row("a", None, None), row("b", Some(100), None), row("c", Some(101), Some(99)), public];
        let table = write(&rows, at(100), ReportFormat::Table, Palette::PLAIN);
        let lines: Vec<&str> = table.lines().collect();
        let ends = [
            "state",
            "never                 valid",
            "1970-01-01T00:01:40Z  expired",
            "1970-01-01T00:01:41Z  revoked",
            "valid",
        ];
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{table}");
        }
        assert!(lines[4].starts_with("pk_0123456789ab  shop  write       https://shop.example"), "{table}");
        let json = write(&rows[3..], at(100), ReportFormat::Json, Palette::PLAIN);
        assert!(json.contains(r#""public": true"#) && json.contains(r#""state": "valid""#), "{json}");
    }

    #[test]
    fn an_expiry_after_the_year_9999_is_refused() {
        assert_eq!(end(at(0), Duration::from_secs(5)).unwrap(), at(5));
        assert!(end(at(0), Duration::from_secs(u64::MAX)).is_err());
        assert!(end(at(0), Duration::from_hours(24 * 366 * 8_100)).is_err());
    }
}
