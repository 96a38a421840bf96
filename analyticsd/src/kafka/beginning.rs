//! Asks where a partition stands: every shard for its position, the brokers for the messages that they have.

use std::sync::Arc;

use db::ShardsError;
use model::{SiteId, SourceName, SourcePosition};
use rdkafka::error::KafkaError;
use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use super::{KafkaConfig, consumer::TopicConsumer, storing::StoringServices};
use crate::auth::SiteRefusal;

/// Messages name their sites, so that the source of a partition belongs to none of them.
pub(super) const SITE: SiteId = SiteId::NAMELESS;
/// The longest name of a cluster that fits into that of a source.
const MAX_CLUSTER_ID: usize = 36;

/// Where a partition stands.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) source: SourceName,
    pub(super) stored: SourcePosition,
    /// The first message that the brokers have.
    pub(super) first: u64,
}

/// Why a partition cannot be read.
#[derive(Debug, Error)]
pub(super) enum CannotBegin {
    #[error("the brokers do not answer: {0}")]
    Brokers(#[from] KafkaError),
    #[error("the brokers do not name their cluster; give the source a name with --kafka-source")]
    NoCluster,
    #[error(
        "the cluster has a name of {0} bytes, of which {MAX_CLUSTER_ID} are accepted; give the source a name with --kafka-source"
    )]
    LongCluster(usize),
    #[error("the site of --kafka-site: {0}")]
    Site(#[from] SiteRefusal),
    #[error(transparent)]
    Store(#[from] ShardsError),
    #[error(
        "the database has its messages before offset {stored}, and the one before it is not what the brokers have there, if they \
         have any: the topic was made anew, or they lost messages, or this is another cluster. For a new topic give another \
         --kafka-source"
    )]
    OtherContent { stored: u64 },
    #[error(transparent)]
    Failed(#[from] JoinError),
}

impl CannotBegin {
    /// Whether only somebody's doing changes it.
    pub(super) fn stays(&self) -> bool {
        match self {
            Self::Brokers(_) | Self::Store(_) | Self::Failed(_) => false,
            Self::Site(refusal) => !refusal.passes(),
            Self::NoCluster | Self::LongCluster(_) | Self::OtherContent { .. } => true,
        }
    }
}

pub(super) async fn find_standing(
    config: &KafkaConfig,
    services: &StoringServices,
    consumer: Arc<TopicConsumer>,
    partition: i32,
) -> Result<Begun, CannotBegin> {
    // Without it every message that names no site would be rejected.
    services.sites.of_operator().of_source(config.site.as_ref()).await?;
    // Asked each time, since another cluster may have taken the place of one that this daemon knew.
    let is_named = config.source.is_some();
    let (first, cluster) = spawn_blocking(move || {
        // The client knows the cluster's name once it has asked for anything.
        let first = consumer.first(partition)?;
        Ok::<_, KafkaError>((first, if is_named { None } else { consumer.cluster() }))
    })
    .await??;
    let name = if let Some(name) = &config.source {
        format!("{name}/{partition}")
    } else {
        let cluster = cluster.ok_or(CannotBegin::NoCluster)?;
        if cluster.len() > MAX_CLUSTER_ID {
            return Err(CannotBegin::LongCluster(cluster.len()));
        }
        format!("{cluster}/{}/{partition}", config.address.topic)
    };
    let name = SourceName::of_the_daemon("kafka", name);
    let stored = services.shards.source_standing(SITE, &name).await?.at;
    Ok(Begun { source: name, stored, first })
}
