//! The databases of one counter. Each visitor belongs to one of them, so what they count adds up. What there is once for a counter (tokens,
//! sites, retention, the salt) is set in the first.

use std::{fmt, ops::Deref, sync::Arc};

use model::{ShardCount, UserName};
use thiserror::Error;

use crate::{
    DatabaseUrlError, Flavour, Store, StoreError, StoreOptions,
    identity::{Expected, Found, FoundAt, Misplaced},
    mask_password,
    roles::Use,
    schema::{self, Migrated, SchemaError},
};

/// The databases of one counter, in their order. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Shards {
    stores: Arc<[Store]>,
    count: ShardCount,
    /// Of the first; all share which counter it is.
    expected: Expected,
}

/// Why databases cannot be used together.
#[derive(Debug, Error)]
pub enum ShardsError {
    /// There are none, or too many.
    #[error("{0} databases are named; a counter has 1 to {max}", max = ShardCount::MAX)]
    Number(usize),
    /// A URL is none.
    #[error("{at}{error}", at = .0, error = .1)]
    Url(Place, DatabaseUrlError),
    /// Some are not those that the settings mean.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Misplaced(Vec<MisplacedAt>),
    /// One does not answer.
    #[error("{at}{error}", at = .0, error = .1)]
    Store(Place, StoreError),
    /// The schema of one cannot be used, or brought up to date.
    #[error("{at}{error}", at = .0, error = .1)]
    Schema(Place, Box<SchemaError>),
    /// One has no identity, and the others are a whole counter without it.
    #[error(
        "{0}the database is new, and the others hold a counter that was complete before; name the database that this shard is in, or restore it"
    )]
    New(Place),
    /// Numbers of sites that are of other sites in the first shard.
    #[error(
        "{0}the sites with these numbers are others than in shard 0, so that none of their rows is taken from there: {1:?}"
    )]
    OtherSites(Place, Vec<i32>),
}

/// One of the databases, as the beginning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    shard: usize,
    text: String,
}

impl Place {
    fn of(shard: usize, count: usize, url: &str) -> Self {
        let text = if count == 1 { String::new() } else { format!("shard {shard} ({}): ", mask_password(url)) };
        Self { shard, text }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A database that is not the one that the settings mean in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MisplacedAt {
    pub(crate) place: Place,
    pub(crate) fault: Misplaced,
}

impl fmt::Display for MisplacedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.fault)
    }
}

impl ShardsError {
    /// Whether a database cannot be reached, or keeps silent. One that answers with a refusal is there.
    pub fn is_silence(&self) -> bool {
        let error = match self {
            Self::Store(_, error) => error,
            Self::Schema(_, error) => match &**error {
                SchemaError::Store(error) => error,
                _ => return false,
            },
            _ => return false,
        };
        matches!(error, StoreError::Unreachable(_) | StoreError::TimedOut(_) | StoreError::Cancelled(_))
    }

    /// Whether only other settings can mend it.
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Number(_) | Self::Url(..) | Self::Misplaced(_) | Self::New(_) => true,
            Self::Schema(_, error) => matches!(**error, SchemaError::SharedSessions(_)),
            Self::Store(..) | Self::OtherSites(..) => false,
        }
    }

    /// The shard that did not answer.
    pub fn shard(&self) -> Option<usize> {
        match self {
            Self::Store(place, _) => Some(place.shard),
            _ => None,
        }
    }

    /// Whether the same may succeed once a database is back.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Store(_, error) => error.is_outage(),
            Self::Schema(_, error) => matches!(&**error, SchemaError::Store(error) if error.is_outage()),
            Self::Number(_) | Self::Url(..) | Self::Misplaced(_) | Self::New(_) | Self::OtherSites(..) => false,
        }
    }
}

impl Shards {
    /// Prepares to connect to the databases of these URLs, shard 0 first; nothing is opened yet.
    pub fn new(urls: &[impl AsRef<str>], options: &StoreOptions) -> Result<Self, ShardsError> {
        let count = ShardCount::new(urls.len()).ok_or(ShardsError::Number(urls.len()))?;
        let expected: Vec<Expected> = Expected::of_all(count).collect();
        let stores = expected.iter().zip(urls).map(|(expected, url)| {
            let url = url.as_ref();
            Store::of_shard(url, options.clone(), expected.clone())
                .map_err(|error| ShardsError::Url(Place::of(expected.shard, count.get(), url), error))
        });
        let stores = stores.collect::<Result<_, _>>()?;
        Ok(Self { stores, count, expected: expected[0].clone() })
    }

    /// A counter of one database.
    pub fn one(store: &Store) -> Self {
        Self { stores: [store.clone()].into(), count: ShardCount::ONE, expected: Expected::alone() }
    }

    /// Other connections to the same databases.
    #[must_use]
    pub fn with_options(&self, options: &StoreOptions) -> Self {
        Self {
            stores: self.stores.iter().map(|store| store.with_options(options.clone())).collect(),
            count: self.count,
            expected: self.expected.clone(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> ShardCount {
        self.count
    }

    /// The shard with what there is once for a counter.
    pub fn first(&self) -> &Store {
        &self.stores[0]
    }

    /// The shard that a visitor's events are in.
    pub fn of(&self, user: &UserName) -> &Store {
        &self.stores[self.count.shard_of(user)]
    }

    /// How messages about a shard begin; empty for a counter of one database.
    pub fn place(&self, shard: usize) -> Place {
        Place::of(shard, self.len(), self.stores[shard].url())
    }

    /// The database by its name and where it is, without who connects, or how many there are: messages about one of several begin with its place.
    pub fn names(&self) -> String {
        match self.len() {
            1 => format!("the database {}", self.stores[0].name()),
            several => format!("{several} databases"),
        }
    }

    /// The counter, a UUID; none before it is known, which is once all databases of several have answered.
    pub fn counter(&self) -> Option<&str> {
        self.expected.counter()
    }

    /// Says which counter it is, as an earlier run found out, so that those that answer can be used while others are away.
    pub fn remember(&self, counter: &str) {
        self.expected.confirm(counter);
    }

    /// Finds out whether each database is the one that is meant in its place. Changes nothing. One that is not decides, also where others do not
    /// answer. Only then are several used.
    pub async fn verify(&self) -> Result<(), ShardsError> {
        self.check(self.look().await).map(drop)
    }

    /// The same where only the first is needed: others may be away, and it alone says which counter it is.
    pub async fn verify_first(&self) -> Result<(), ShardsError> {
        let found = self.look().await;
        let first = found.first().and_then(|first| first.as_ref().ok()).and_then(FoundAt::counter).map(str::to_owned);
        match self.check(found) {
            Err(ShardsError::Store(place, error)) if place != self.place(0) => {
                tracing::warn!("{place}{error}");
                if let Some(counter) = first {
                    self.expected.confirm(&counter);
                }
                Ok(())
            }
            found => found.map(drop),
        }
    }

    /// The same before the databases have their identities, as a look at their schemas needs it: those that have one yet must be
    /// in their places.
    pub async fn verify_or_new(&self) -> Result<(), ShardsError> {
        let found = self.found_before_migrating().await?;
        found.iter().filter_map(FoundAt::counter).for_each(|counter| self.expected.confirm(counter));
        Ok(())
    }

    /// What is wrong about each database by what it says of itself; nothing of those that do not answer.
    pub fn misplaced(&self, found: &[Option<FoundAt>]) -> Vec<Option<Misplaced>> {
        let judged = self.expected_of(found.iter().flatten()).into_iter().zip(found);
        judged.map(|(expected, found)| expected.check(found.as_ref()?).err()).collect()
    }

    /// What each says of itself, asked at once.
    pub async fn look(&self) -> Vec<Result<FoundAt, StoreError>> {
        let asked: Vec<_> =
            self.stores.iter().cloned().map(|store| tokio::spawn(async move { store.identity().await })).collect();
        let mut found = Vec::with_capacity(asked.len());
        for answer in asked {
            found.push(answer.await.expect("nobody aborts it, and it does not panic"));
        }
        found
    }

    fn check(&self, asked: Vec<Result<FoundAt, StoreError>>) -> Result<Vec<FoundAt>, ShardsError> {
        self.refuse_misplaced(
            asked.iter().enumerate().filter_map(|(shard, found)| Some((shard, found.as_ref().ok()?))),
        )?;
        let asked = asked.into_iter().enumerate();
        let found = asked.map(|(shard, found)| found.map_err(|error| self.error(shard, error)));
        let found = found.collect::<Result<Vec<FoundAt>, _>>()?;
        found.iter().filter_map(FoundAt::counter).for_each(|counter| self.expected.confirm(counter));
        Ok(found)
    }

    /// What each must say of itself: that it is of the counter that is known, or else of that of the first that says one.
    fn expected_of<'a>(&self, mut found: impl Iterator<Item = &'a FoundAt>) -> Vec<Expected> {
        let expected: Vec<Expected> = Expected::of_all(self.count).collect();
        if let Some(counter) = self.counter().or_else(|| found.find_map(FoundAt::counter)) {
            expected[0].confirm(counter);
        }
        expected
    }

    /// `found` comes ascending by shard.
    fn refuse_misplaced<'a>(
        &self,
        found: impl Iterator<Item = (usize, &'a FoundAt)> + Clone,
    ) -> Result<(), ShardsError> {
        let expected = self.expected_of(found.clone().map(|(_, found)| found));
        let misplaced: Vec<MisplacedAt> = found
            .filter_map(|(shard, found)| {
                let fault = expected[shard].check(found).err()?;
                Some(MisplacedAt { place: self.place(shard), fault })
            })
            .collect();
        if misplaced.is_empty() { Ok(()) } else { Err(ShardsError::Misplaced(misplaced)) }
    }

    /// Brings every database to the schema of this program, in their order, and gives each its identity where they are new. None is begun unless all
    /// answer and can be brought there.
    pub async fn migrate(&self, flavour: Option<Flavour>, roles: Option<Use>) -> Result<Vec<Migrated>, ShardsError> {
        let found = self.found_before_migrating().await?;
        let made = found.iter().enumerate().filter(|(_, found)| matches!(found.found, Found::Identity(_)));
        for (shard, _) in made {
            let status = schema::status(&self[shard].without_identity())
                .await
                .map_err(|error| self.schema_error(shard, error))?;
            if let (Some(made), Some(asked)) = (status.flavour, flavour)
                && made != asked
            {
                return Err(self.schema_error(shard, SchemaError::OtherFlavour { made, asked }));
            }
            if let Some(complaint) = status.complaint().filter(|_| status.is_newer()) {
                return Err(self.schema_error(shard, SchemaError::Newer(complaint)));
            }
        }
        let mut migrated = Vec::with_capacity(self.len());
        for (shard, store) in self.iter().enumerate() {
            let one = schema::migrate_database(&store.without_identity(), flavour, roles).await;
            migrated.push(one.map_err(|error| self.schema_error(shard, error))?);
        }
        self.give_identities(&found).await?;
        Ok(migrated)
    }

    /// What each database is before it is migrated. A new one among others that are a whole counter is refused: the shard in its place is elsewhere.
    async fn found_before_migrating(&self) -> Result<Vec<FoundAt>, ShardsError> {
        let asked = self.look().await;
        // One that is wrong decides, also where others do not answer.
        let said = asked.iter().enumerate().filter_map(|(shard, found)| Some((shard, found.as_ref().ok()?)));
        self.refuse_misplaced(said.filter(|(_, found)| matches!(found.found, Found::Identity(_))))?;
        let asked = asked.into_iter().enumerate();
        let found = asked.map(|(shard, found)| found.map_err(|error| self.error(shard, error)));
        let found = found.collect::<Result<Vec<FoundAt>, _>>()?;
        let is_founded =
            found.iter().any(|found| matches!(&found.found, Found::Identity(identity) if identity.is_founded));
        match found.iter().position(|found| !matches!(found.found, Found::Identity(_))) {
            Some(shard) if is_founded => Err(ShardsError::New(self.place(shard))),
            _ => Ok(found),
        }
    }

    async fn give_identities(&self, found: &[FoundAt]) -> Result<(), ShardsError> {
        let is_whole =
            found.iter().all(|found| matches!(&found.found, Found::Identity(identity) if identity.is_founded));
        if is_whole {
            return self.verify().await;
        }
        let mut counter = None;
        for (shard, store) in self.iter().enumerate() {
            let assigned = store.assign_identity(counter.as_deref(), shard, self.count).await;
            let assigned = assigned.map_err(|error| self.error(shard, error))?;
            // Of two programs that do this at once, the one that comes first to shard 0 decides.
            counter.get_or_insert(assigned);
        }
        self.verify().await?;
        for (shard, store) in self.iter().enumerate() {
            store.note_founded().await.map_err(|error| self.error(shard, error))?;
        }
        Ok(())
    }

    /// An error of one of them.
    pub(crate) fn error(&self, shard: usize, error: StoreError) -> ShardsError {
        ShardsError::Store(self.place(shard), error)
    }

    fn schema_error(&self, shard: usize, error: SchemaError) -> ShardsError {
        ShardsError::Schema(self.place(shard), Box::new(error))
    }
}

impl Deref for Shards {
    type Target = [Store];

    fn deref(&self) -> &[Store] {
        &self.stores
    }
}
