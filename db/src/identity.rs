//! Which part of which counter a database holds, as it says itself. A program uses a database only if it is the one that the settings mean.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use model::ShardCount;
use thiserror::Error;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, error::SqlState};

use crate::StoreError;

/// Which shard of which counter a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A UUID that all databases of one counter share, and no other has.
    pub counter: String,
    /// Its number, from 0.
    pub shard: usize,
    /// How many there are.
    pub shards: usize,
    /// Whether every database of the counter has got its identity. From then on no other is given one of this counter.
    pub is_founded: bool,
    /// The servers that it is used on, as they stand in URLs; none: wherever it is.
    pub lives_at: Option<Vec<String>>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {} of the counter {}", self.shard, self.shards, self.counter)
    }
}

/// A database that is not the one that the settings mean in its place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misplaced {
    /// It is another shard, or one of another number of shards.
    #[error("the database is shard {found} of {found_of}, and the settings name it as shard {named} of {named_of}; {}", advice(*.found_of))]
    AnotherShard {
        /// What it is.
        found: usize,
        /// Of how many.
        found_of: usize,
        /// What it is taken for.
        named: usize,
        /// Of how many.
        named_of: usize,
    },
    /// The databases before it hold another counter.
    #[error(
        "the database is of the counter {found}, and the others that are named, or the spool's folder, of {counter}; name the databases of one counter"
    )]
    AnotherCounter {
        /// Its counter.
        found: String,
        /// Theirs.
        counter: String,
    },
    /// It is a copy that was left behind when the database moved.
    #[error("the database is used at {} now, and this is a copy of it at {found_at}; name that server, or end this copy", .lives_at.join(" or "))]
    Moved {
        /// Where it is used.
        lives_at: Vec<String>,
        /// Where it was found.
        found_at: String,
    },
    /// It says nothing of itself, and one of several must.
    #[error("the database does not say which shard it is; run `analytics-cli migrate up` with all shards")]
    Unknown,
    /// Not every shard has answered yet, so that it is not known which counter the settings mean.
    #[error("it is not known yet whether the databases are of one counter, since not all of them have answered")]
    Unconfirmed,
    /// The login may not ask.
    #[error("this login may not read which shard the database is; it needs the role analytics_daemon")]
    Unreadable,
}

fn advice(shards: usize) -> String {
    if shards == 1 {
        "name it alone, as a counter of one database stays one".to_owned()
    } else {
        format!("name all {shards} shards in their order")
    }
}

/// What a database must say of itself. All stores of one counter share which counter that is, once it is known: no database of several is used before.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) shard: usize,
    pub(crate) shards: ShardCount,
    counter: Arc<OnceLock<String>>,
}

impl Expected {
    /// For the shards of one counter, in their order.
    pub(crate) fn of_all(shards: ShardCount) -> impl Iterator<Item = Self> {
        let counter = Arc::<OnceLock<String>>::default();
        (0..shards.get()).map(move |shard| Self { shard, shards, counter: Arc::clone(&counter) })
    }

    /// For a counter of one database.
    pub(crate) fn alone() -> Self {
        Self { shard: 0, shards: ShardCount::ONE, counter: Arc::default() }
    }

    /// Lets the databases of this counter be used, and of no other.
    pub(crate) fn confirm(&self, counter: &str) {
        let _ = self.counter.set(counter.to_owned());
    }

    /// The counter, once it is known.
    pub(crate) fn counter(&self) -> Option<&str> {
        self.counter.get().map(String::as_str)
    }

    /// A database alone need not say anything of itself: what it lacks is found when its schema is looked at.
    pub(crate) fn check(&self, FoundAt { found, server }: &FoundAt) -> Result<(), Misplaced> {
        let is_alone = self.shards == ShardCount::ONE;
        let identity = match found {
            Found::Identity(identity) => identity,
            Found::None | Found::NotAllowed if is_alone => return Ok(()),
            Found::None => return Err(Misplaced::Unknown),
            Found::NotAllowed => return Err(Misplaced::Unreadable),
        };
        let (named, named_of) = (self.shard, self.shards.get());
        if (identity.shard, identity.shards) != (named, named_of) {
            let (found, found_of) = (identity.shard, identity.shards);
            return Err(Misplaced::AnotherShard { found, found_of, named, named_of });
        }
        if let Some(lives_at) = identity.lives_at.as_ref().filter(|servers| !servers.contains(server)) {
            return Err(Misplaced::Moved { lives_at: lives_at.clone(), found_at: server.clone() });
        }
        if is_alone {
            return Ok(());
        }
        let counter = self.counter.get().ok_or(Misplaced::Unconfirmed)?;
        if *counter != identity.counter {
            return Err(Misplaced::AnotherCounter { found: identity.counter.clone(), counter: counter.clone() });
        }
        Ok(())
    }
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Which shard it is.
    Identity(Identity),
    /// It has no schema, or that of none.
    None,
    /// The login may not ask.
    NotAllowed,
}

/// What the database at a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAt {
    /// What it says.
    pub found: Found,
    /// As it stands in URLs.
    pub server: String,
}

impl FoundAt {
    /// The counter that it is of.
    pub fn counter(&self) -> Option<&str> {
        match &self.found {
            Found::Identity(identity) => Some(&identity.counter),
            Found::None | Found::NotAllowed => None,
        }
    }
}

/// It is asked before anything is set on the session, and so by a login whose statements may hardly last.
const ASK: &str = "set local statement_timeout = 0; select counter, shard, shards, is_founded, to_json(lives_at) from analytics.settings";

pub(crate) async fn ask(client: &Client) -> Result<Found, tokio_postgres::Error> {
    let answer = match client.simple_query(ASK).await {
        Ok(answer) => answer,
        Err(error) => {
            return match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(Found::NotAllowed),
                Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN | &SqlState::INVALID_SCHEMA_NAME) => {
                    Ok(Found::None)
                }
                _ => Err(error),
            };
        }
    };
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.and_then(identity_in).map_or(Found::None, Found::Identity))
}

fn identity_in(row: &SimpleQueryRow) -> Option<Identity> {
    Some(Identity {
        counter: row.get(0)?.to_owned(),
        shard: row.get(1)?.parse().ok()?,
        shards: row.get(2)?.parse().ok()?,
        is_founded: row.get(3) == Some("t"),
        lives_at: row.get(4).and_then(|servers| serde_json::from_str(servers).ok()),
    })
}

/// Gives a database its identity, unless it has one: as a shard of a counter, or of a new one if none is given. Returns the counter that it is of.
pub(crate) async fn assign(
    client: &Client,
    counter: Option<&str>,
    shard: usize,
    shards: ShardCount,
) -> Result<String, StoreError> {
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let assign = "update analytics.settings set counter = coalesce($1::text::uuid, gen_random_uuid()), shard = $2, shards = $3 \
                  where counter is null";
    client.execute(assign, &[&counter, &number(shard), &number(shards.get())]).await?;
    Ok(client.query_one("select counter::text from analytics.settings", &[]).await?.get(0))
}

/// Notes that every database of the counter has its identity.
pub(crate) async fn found(client: &Client) -> Result<(), StoreError> {
    client.execute("update analytics.settings set is_founded = true where not is_founded", &[]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::ShardCount;

    use super::{Expected, Found, FoundAt, Identity, Misplaced};

    fn identity(counter: &str, shard: usize, shards: usize) -> Identity {
        Identity { counter: counter.to_owned(), shard, shards, is_founded: true, lives_at: None }
    }

    fn of(counter: &str, shard: usize, shards: usize) -> Found {
        Found::Identity(identity(counter, shard, shards))
    }

    fn at(server: &str, found: Found) -> FoundAt {
        FoundAt { found, server: server.to_owned() }
    }

    fn checked(found: &[Found]) -> Result<(), Misplaced> {
        let expected: Vec<Expected> = Expected::of_all(ShardCount::new(found.len()).unwrap()).collect();
        expected[0].confirm("a");
        expected.iter().zip(found).try_for_each(|(expected, found)| expected.check(&at("h:5432", found.clone())))
    }

    #[test]
    fn no_database_of_several_is_used_before_the_counter_is_known() {
        let expected: Vec<Expected> = Expected::of_all(ShardCount::new(2).unwrap()).collect();
        assert_eq!(expected[1].check(&at("h:5432", of("a", 1, 2))), Err(Misplaced::Unconfirmed));
        expected[0].confirm("a");
        assert_eq!(expected[1].check(&at("h:5432", of("a", 1, 2))), Ok(()));
    }

    #[test]
    fn databases_are_used_in_their_order_all_of_them_and_of_one_counter() {
        assert_eq!(checked(&[of("a", 0, 1)]), Ok(()));
        assert_eq!(checked(&[of("a", 0, 2), of("a", 1, 2)]), Ok(()));
        for (found, fault) in [
            (vec![of("a", 1, 2), of("a", 0, 2)], "is shard 1 of 2, and the settings name it as shard 0 of 2"),
            (vec![of("a", 0, 3), of("a", 1, 3)], "name all 3 shards"),
            (vec![of("a", 2, 3)], "is shard 2 of 3"),
            (vec![of("a", 0, 1), of("a", 0, 1)], "stays one"),
            (vec![of("a", 0, 2), of("a", 0, 2)], "is shard 0 of 2, and the settings name it as shard 1"),
            (vec![of("a", 0, 2), of("b", 1, 2)], "of the counter b"),
            (vec![of("a", 0, 2), Found::None], "migrate up"),
            (vec![of("a", 0, 2), Found::NotAllowed], "may not read"),
        ] {
            let error = checked(&found).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn a_database_that_moved_is_used_where_it_lives() {
        let [expected] = &Expected::of_all(ShardCount::ONE).collect::<Vec<_>>()[..] else { panic!("it is one") };
        let lives_at = Some(vec!["new-a:5432".to_owned(), "new-b:5432".to_owned()]);
        let moved = Found::Identity(Identity { lives_at, ..identity("a", 0, 1) });
        for (server, is_used) in
            [("new-a:5432", true), ("new-b:5432", true), ("old:5432", false), ("new-a:5433", false)]
        {
            assert_eq!(expected.check(&at(server, moved.clone())).is_ok(), is_used, "{server}");
        }
    }

    #[test]
    fn a_database_alone_may_say_nothing_of_itself() {
        for found in [Found::None, Found::NotAllowed] {
            assert_eq!(checked(&[found]), Ok(()));
        }
    }
}
