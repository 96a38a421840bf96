use db::{Flavour, Shards, StoreOptions};
use tokio::task::JoinSet;

use crate::{PrivateServer, TestDatabase, database::server_dir};

/// The databases of one counter, which belong to one test and are removed after it.
pub struct TestShards {
    databases: Vec<TestDatabase>,
    shards: Shards,
}

impl TestShards {
    /// Empty, with the current schema, each of the flavour given.
    pub async fn new(flavours: &[Flavour]) -> Self {
        let mut databases = Vec::new();
        for &flavour in flavours {
            databases.push(TestDatabase::without_schema(flavour).await);
        }
        let shards = shards_at(databases.iter().map(TestDatabase::url));
        shards.migrate(None, None).await.expect("the schema can be made");
        Self { databases, shards }
    }

    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    pub fn databases(&self) -> &[TestDatabase] {
        &self.databases
    }

    /// How a program is told of them.
    pub fn arguments(&self) -> Vec<String> {
        arguments(self.databases.iter().map(TestDatabase::url))
    }
}

/// The databases of one counter, each on a server of its own that can be stopped.
pub struct ShardServers {
    pub servers: Vec<PrivateServer>,
    shards: Shards,
}

impl ShardServers {
    /// So many, empty, with the current schema.
    pub async fn start(count: usize) -> anyhow::Result<Self> {
        let mut starting = JoinSet::new();
        for shard in 0..count {
            starting.spawn(async move { (shard, PrivateServer::without_schema(server_dir(), None, Vec::new()).await) });
        }
        let mut started = starting.join_all().await;
        started.sort_by_key(|(shard, _)| *shard);
        let servers = started.into_iter().map(|(_, server)| server).collect::<anyhow::Result<Vec<_>>>()?;
        let shards = shards_at(servers.iter().map(PrivateServer::url));
        shards.migrate(None, None).await?;
        Ok(Self { servers, shards })
    }

    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// How a program is told of them.
    pub fn arguments(&self) -> Vec<String> {
        arguments(self.servers.iter().map(PrivateServer::url))
    }
}

fn shards_at<'a>(urls: impl Iterator<Item = &'a str>) -> Shards {
    Shards::new(&urls.collect::<Vec<_>>(), &StoreOptions::default()).expect("the URLs are valid")
}

fn arguments<'a>(urls: impl Iterator<Item = &'a str>) -> Vec<String> {
    urls.flat_map(|url| ["--shard".to_owned(), url.to_owned()]).collect()
}
