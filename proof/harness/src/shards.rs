use std::path::PathBuf;

use db::{Flavour, Shards, StoreOptions};
use tokio::task::JoinSet;

use crate::{
    APPLICATION_NAME, PrivateServer, TestDatabase,
    database::{server_dir, with_database},
};

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

/// The databases of one counter, on servers that can be stopped.
pub struct ShardServers {
    /// Either one for each database, in the order of the shards, or one with all of them.
    pub servers: Vec<PrivateServer>,
    urls: Vec<String>,
    shards: Shards,
}

impl ShardServers {
    /// So many databases, empty, with the current schema, each on a server of its own.
    pub async fn start(count: usize) -> anyhow::Result<Self> {
        Self::start_with(count, None).await
    }

    /// The same with the programs of a folder; none: looked for.
    pub async fn start_with(count: usize, postgres_bin: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut starting = JoinSet::new();
        for shard in 0..count {
            let server = PrivateServer::without_schema(server_dir(), postgres_bin.clone(), Vec::new());
            starting.spawn(async move { (shard, server.await) });
        }
        let mut started = starting.join_all().await;
        started.sort_by_key(|(shard, _)| *shard);
        let servers = started.into_iter().map(|(_, server)| server).collect::<anyhow::Result<Vec<_>>>()?;
        let urls = servers.iter().map(|server| server.url().to_owned()).collect();
        Self::migrated(servers, urls).await
    }

    /// So many databases of one server.
    pub async fn start_on_one(count: usize, postgres_bin: Option<PathBuf>) -> anyhow::Result<Self> {
        let server = PrivateServer::without_schema(server_dir(), postgres_bin, Vec::new()).await?;
        let client = server.client().await;
        let mut urls = Vec::new();
        for shard in 0..count {
            let name = format!("shard_{shard}");
            client.batch_execute(&format!("create database {name} template template0")).await?;
            urls.push(with_database(server.url(), &name));
        }
        Self::migrated(vec![server], urls).await
    }

    async fn migrated(servers: Vec<PrivateServer>, urls: Vec<String>) -> anyhow::Result<Self> {
        let shards = shards_at(urls.iter().map(String::as_str));
        shards.migrate(None, None).await?;
        Ok(Self { servers, urls, shards })
    }

    /// In the order of the shards.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// How a program is told of them.
    pub fn arguments(&self) -> Vec<String> {
        arguments(self.urls.iter().map(String::as_str))
    }
}

fn shards_at<'a>(urls: impl Iterator<Item = &'a str>) -> Shards {
    let options = StoreOptions { application_name: APPLICATION_NAME.to_owned(), ..StoreOptions::default() };
    Shards::new(&urls.collect::<Vec<_>>(), &options).expect("the URLs are valid")
}

fn arguments<'a>(urls: impl Iterator<Item = &'a str>) -> Vec<String> {
    urls.flat_map(|url| ["--shard".to_owned(), url.to_owned()]).collect()
}
