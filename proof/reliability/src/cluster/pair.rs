use anyhow::Context;
use db::{Store, StoreOptions, schema};
use harness::APPLICATION_NAME;

use super::{
    Node, Place,
    node::{DATABASE, USER},
};
use crate::{options::Options, sabotage::Saboteur};

/// How a primary goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// `kill -9`.
    Killed,
    /// Every process stands still, and nothing is closed.
    Frozen,
}

/// A primary and its standby, with the schema.
pub(crate) struct Pair {
    pub(crate) primary: Node,
    pub(crate) standby: Node,
    url: String,
}

impl Pair {
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        Self::start_at(options, [Place::on_loopback()?, Place::on_loopback()?]).await
    }

    /// The first is the primary.
    pub(crate) async fn start_at(options: &Options, [first, second]: [Place; 2]) -> anyhow::Result<Self> {
        let primary = Node::primary(options, first).await?;
        let store = store(&primary.url())?;
        schema::migrate(&store, None).await?;
        let standby = Node::standby(options, second, primary.place().address()).await?;
        let hosts = format!("{},{}", primary.place(), standby.place());
        let url = format!("postgres://{USER}@{hosts}/{DATABASE}?target_session_attrs=read-write&connect_timeout=3");
        Ok(Self { primary, standby, url })
    }

    /// As a user would write it, in an order that stays the same when they change places.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whichever of them is the primary.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        store(&self.primary.url())
    }

    /// From when this returns, a commit waits until the standby has it.
    pub(crate) async fn make_synchronous(&self) -> anyhow::Result<()> {
        Saboteur::connect(&self.primary.url()).await?.wait_for_standby_in_commits().await
    }

    pub(crate) async fn lose_primary(&mut self, how: Gone) -> anyhow::Result<()> {
        match how {
            Gone::Killed => self.primary.kill().await,
            Gone::Frozen => self.primary.freeze().await,
        }
    }

    /// Makes the standby the primary, which commits alone.
    pub(crate) async fn promote(&mut self) -> anyhow::Result<()> {
        Saboteur::connect(&self.standby.url()).await?.promote().await?;
        std::mem::swap(&mut self.primary, &mut self.standby);
        Ok(())
    }

    /// The old primary runs again, knows nothing of the new one, and commits alone.
    pub(crate) async fn bring_back_old(&mut self, how: Gone) -> anyhow::Result<Saboteur> {
        match how {
            Gone::Killed => self.standby.start().await?,
            Gone::Frozen => self.standby.thaw().await?,
        }
        let old = Saboteur::connect(&self.standby.url()).await?;
        old.commit_alone().await?;
        old.wait_for_rest().await?;
        Ok(old)
    }

    /// Ends the old primary, if it runs, and makes it a standby of the new one.
    pub(crate) async fn follow(&mut self) -> anyhow::Result<()> {
        self.standby.kill().await?;
        self.standby.follow(self.primary.place().address()).await?;
        Saboteur::connect(&self.primary.url()).await?.wait_for_standby().await
    }
}

pub(crate) fn store(url: &str) -> anyhow::Result<Store> {
    let options = StoreOptions { application_name: APPLICATION_NAME.to_owned(), ..StoreOptions::default() };
    Store::new(url, options).context("the URL of the cluster is valid")
}
