use model::{ContentCheck, SiteId, SourceName, SourcePosition, SourceStep};
use tokio_postgres::{Row, types::ToSql};

use crate::{Store, StoreError};

/// A place where a source stands, and not where its step believes it to be: the place of the step in those given, and the position.
pub type Moved = (usize, SourcePosition);

/// Steps as the arrays that `ingest_once` and `advance_sources` take.
#[derive(Debug, Default)]
pub(crate) struct SourceColumns<'a> {
    sites: Vec<i32>,
    names: Vec<&'a str>,
    from_positions: Vec<i64>,
    from_digests: Vec<Option<&'a [u8]>>,
    to_positions: Vec<i64>,
    to_digests: Vec<Option<&'a [u8]>>,
}

impl<'a> SourceColumns<'a> {
    /// Of steps that come ascending by site and name, one for each source.
    pub(crate) fn of(steps: &'a [SourceStep]) -> Self {
        let mut columns = Self::default();
        for SourceStep { site, source, from, to } in steps {
            columns.sites.push(site.number());
            columns.names.push(source.as_str());
            columns.from_positions.push(number(from.position));
            columns.from_digests.push(from.check.as_ref().map(ContentCheck::as_bytes));
            columns.to_positions.push(number(to.position));
            columns.to_digests.push(to.check.as_ref().map(ContentCheck::as_bytes));
        }
        columns
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 6] {
        [&self.sites, &self.names, &self.from_positions, &self.from_digests, &self.to_positions, &self.to_digests]
    }
}

/// Reads the sources that stand elsewhere: `moved` from a column, and `positions` and `digests` from those behind it.
pub(crate) fn moved_in(row: &Row, column: usize) -> Vec<Moved> {
    let places: Option<Vec<i64>> = row.get(column);
    let positions: Option<Vec<i64>> = row.get(column + 1);
    let digests: Option<Vec<Option<Vec<u8>>>> = row.get(column + 2);
    let found =
        places.unwrap_or_default().into_iter().zip(positions.unwrap_or_default()).zip(digests.unwrap_or_default());
    found
        .filter_map(|((place, position), digest)| {
            Some((usize::try_from(place).ok()?.checked_sub(1)?, stands_at(position, digest.as_deref())))
        })
        .collect()
}

/// The most sources that one call lists.
pub const MAX_LISTED_SOURCES: usize = 1_000;

impl Store {
    /// The sources of a site whose names begin so, ascending by name, at most [`MAX_LISTED_SOURCES`].
    pub async fn sources(&self, site: SiteId, prefix: &str) -> Result<Vec<(String, SourcePosition)>, StoreError> {
        let query = "select name, position, digest from analytics.sources \
                     where site = $1 and name >= $2 and starts_with(name, $2) order by name limit $3";
        let most = i64::try_from(MAX_LISTED_SOURCES).unwrap_or(i64::MAX);
        let rows = self.read_rows(query, &[&site.number(), &prefix, &most]).await?;
        Ok(rows.iter().map(|row| (row.get(0), stands_at(row.get(1), row.get(2)))).collect())
    }

    /// Where a source stands, by its whole name.
    pub async fn source_position(&self, site: SiteId, source: &SourceName) -> Result<SourcePosition, StoreError> {
        let query = "select position, digest from analytics.sources where site = $1 and name = $2";
        let rows = self.read_rows(query, &[&site.number(), &source.as_str()]).await?;
        Ok(rows.first().map(|row| stands_at(row.get(0), row.get(1))).unwrap_or_default())
    }
}

pub(crate) fn stands_at(position: i64, digest: Option<&[u8]>) -> SourcePosition {
    SourcePosition { position: position.try_into().unwrap_or_default(), check: digest.and_then(ContentCheck::new) }
}

/// A position in the type of the database.
fn number(position: u64) -> i64 {
    position.try_into().unwrap_or(i64::MAX)
}
