//! Makes a checked [`Config`] of the settings of all sources.

use std::net::SocketAddr;

use db::embedded::EmbeddedOptions;

use super::{
    Config, Database, SpoolConfig,
    definition::{About, Wrong},
    fault::Fault,
    settings,
    sources::Settings,
};
use crate::{
    auth::AccessConfig,
    http::Limits,
    ingest::limits::{RequestLimits, age::AgeLimits},
    kafka::{KafkaConfig, RejectsTo},
    telemetry::output::LogConfig,
};

impl Settings {
    /// Checks everything, and returns every fault.
    pub fn config(&self) -> Result<Config, Vec<String>> {
        let together = self.faults_together();
        if !self.faults.is_empty() || !together.is_empty() {
            return Err(self.faults.iter().chain(&together).map(Fault::to_string).collect());
        }
        let database = match (self.value(&settings::EMBEDDED), self.database_urls()) {
            (Some(dir), _) => Database::Embedded(EmbeddedOptions {
                dir,
                kind: self.value(&settings::EMBEDDED_KIND),
                postgres_bin: self.value(&settings::POSTGRES_BIN),
                ..EmbeddedOptions::default()
            }),
            (None, urls) if !urls.is_empty() => Database::Urls(urls),
            (None, _) => return Err(vec![no_database().to_string()]),
        };
        Ok(Config {
            listen: self.get(&settings::LISTEN),
            public_path: self.value(&settings::PUBLIC_PATH),
            migrate: self.get(&settings::MIGRATE) || matches!(database, Database::Embedded(_)),
            database,
            admin_listen: self.value(&settings::ADMIN_LISTEN),
            spool: self
                .value(&settings::SPOOL)
                .map(|dir| SpoolConfig { dir, max_bytes: self.get(&settings::SPOOL_SIZE) }),
            kafka: self.kafka(),
            settle_after: self.get(&settings::SETTLE_AFTER),
            commit_depth: self.get(&settings::COMMIT_DEPTH),
            worker_threads: self.get(&settings::WORKER_THREADS),
            access: AccessConfig {
                allow_anonymous: self.get(&settings::ALLOW_ANONYMOUS),
                tokens_valid_for: self.get(&settings::TOKENS_VALID_FOR),
                cors_origins: self.value(&settings::CORS_ORIGINS).unwrap_or_default(),
                rate_per_token: self.get(&settings::RATE_LIMIT_PER_TOKEN),
                rate_per_address: self.get(&settings::RATE_LIMIT_PER_ADDRESS),
                rate_per_site: self.get(&settings::RATE_LIMIT_PER_SITE),
                share_links: self.get(&settings::SHARE_LINKS),
                new_sites: self.get(&settings::NEW_SITES).unwrap_or(0),
                trusted_proxies: self.value(&settings::TRUSTED_PROXIES).unwrap_or_default(),
                forwarded_header: self.get(&settings::FORWARDED_HEADER),
            },
            limits: Limits {
                connections: self.get(&settings::MAX_CONNECTIONS),
                connections_per_address: self.get(&settings::MAX_CONNECTIONS_PER_ADDRESS),
                header_timeout: self.get(&settings::HEADER_TIMEOUT),
                header_bytes: self.get(&settings::HEADER_BYTES),
                unread_timeout: self.get(&settings::UNREAD_TIMEOUT),
                shutdown_timeout: self.get(&settings::SHUTDOWN_TIMEOUT),
                ..Limits::default()
            },
            requests: RequestLimits {
                body_timeout: self.get(&settings::BODY_TIMEOUT),
                ages: AgeLimits { max_age: self.get(&settings::MAX_AGE), max_future: self.get(&settings::MAX_FUTURE) },
            },
            metrics_sites: self.value(&settings::METRICS_SITES).unwrap_or_default(),
            log: LogConfig { filter: self.get(&settings::LOG), format: self.get(&settings::LOG_FORMAT) },
        })
    }

    /// The address that the daemon of these settings listens on. Faults of other settings do not matter.
    pub fn listen(&self) -> Result<SocketAddr, Vec<String>> {
        self.value(&settings::LISTEN).ok_or_else(|| self.faults.iter().map(Fault::to_string).collect())
    }

    /// Warnings, which are no faults.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        if let (Some(embedded), Some(url)) = (self.source(&settings::EMBEDDED.about), self.url_source()) {
            warnings.push(format!(
                "running the embedded database, because {embedded} is set; the one of {url} is not used"
            ));
        }
        // Behind a proxy the daemon listens on a loopback address, but other machines reach it all the same.
        let is_open = self.value(&settings::LISTEN).is_some_and(|listen| !listen.ip().is_loopback())
            || self.value(&settings::TRUSTED_PROXIES).is_some_and(|proxies| !proxies.is_empty());
        if is_open {
            warnings.extend(self.unbounded_days());
        }
        warnings
    }

    /// A warning if the days of events have no bound.
    fn unbounded_days(&self) -> Option<String> {
        let is_unbounded = |setting| self.value(setting).is_some_and(|limit: Option<_>| limit.is_none());
        let (days, setters) = match (is_unbounded(&settings::MAX_AGE), is_unbounded(&settings::MAX_FUTURE)) {
            (false, false) => return None,
            (true, true) => {
                ("from 1970 to 9999", "--max-age and --max-future (as in --max-age 400days --max-future 1h) set bounds")
            }
            (true, false) => ("back to 1970", "--max-age (as in --max-age 400days) sets a bound"),
            (false, true) => ("up to 9999", "--max-future (as in --max-future 1h) sets a bound"),
        };
        Some(format!(
            "clients can send events of any day {days}, and each day is a chunk or a partition of the database; \
             {setters}"
        ))
    }

    /// The topic to read, if one is named.
    fn kafka(&self) -> Option<KafkaConfig> {
        let folder = self.value(&settings::KAFKA_REJECTED).map(RejectsTo::Folder);
        let topic = || self.value(&settings::KAFKA_DEAD_LETTER).map(RejectsTo::Topic);
        Some(KafkaConfig {
            address: self.value(&settings::KAFKA)?,
            group: self.get(&settings::KAFKA_GROUP),
            source: self.value(&settings::KAFKA_SOURCE),
            site: self.value(&settings::KAFKA_SITE),
            timestamps: self.get(&settings::KAFKA_TIMESTAMPS),
            client: self.value(&settings::KAFKA_CONFIG_FILE).unwrap_or_default(),
            rejects: folder.or_else(topic)?,
        })
    }

    /// Faults of the settings of the topic together.
    fn faults_of_kafka(&self) -> Vec<Fault> {
        let [folder, dead_letter] = [&settings::KAFKA_REJECTED.about, &settings::KAFKA_DEAD_LETTER.about];
        let mut faults = Vec::from_iter(self.contradiction(folder, dead_letter));
        let Some(source) = self.source(&settings::KAFKA.about) else { return faults };
        if cfg!(not(feature = "kafka")) {
            let accepted =
                "a program built with it (cargo build --features kafka), as those of the package and the image are";
            let wrong = Wrong::new("needs a feature of the program that it was built without", accepted);
            faults.push(Fault::together(source.to_string(), wrong));
        }
        let read = self.value(&settings::KAFKA).map(|address| address.topic);
        if read.is_some() && read == self.value(&settings::KAFKA_DEAD_LETTER) {
            let wrong = Wrong::new("name the same topic", "another topic for messages that can never be stored");
            faults.push(Fault::together("kafka and kafka-dead-letter", wrong));
        }
        if self.source(folder).is_none() && self.source(dead_letter).is_none() {
            let wrong = Wrong::new(
                "has no place for messages that can never be stored",
                "--kafka-rejected DIR or --kafka-dead-letter TOPIC besides it",
            );
            faults.push(Fault::together(source.to_string(), wrong));
        }
        faults
    }

    /// The database's URL, from its setting or from its file.
    pub(super) fn database_url(&self) -> Option<String> {
        self.value(&settings::DATABASE_URL).or_else(|| self.value(&settings::DATABASE_URL_FILE))
    }

    /// The URLs of all shards, in their order; of one, where the counter has one database.
    fn database_urls(&self) -> Vec<String> {
        self.value(&settings::SHARD).unwrap_or_else(|| self.database_url().into_iter().collect())
    }

    fn url_source(&self) -> Option<&super::given::Source> {
        [&settings::DATABASE_URL.about, &settings::DATABASE_URL_FILE.about, &settings::SHARD.about]
            .into_iter()
            .find_map(|about| self.source(about))
    }

    /// Faults of settings that are each valid but do not go together.
    fn faults_together(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.source(&settings::EMBEDDED.about).is_none() && self.url_source().is_none() {
            faults.push(no_database());
        }
        faults.extend(self.contradiction(&settings::DATABASE_URL.about, &settings::DATABASE_URL_FILE.about));
        faults.extend(self.contradiction(&settings::SHARD.about, &settings::DATABASE_URL.about));
        faults.extend(self.contradiction(&settings::SHARD.about, &settings::DATABASE_URL_FILE.about));
        faults.extend(self.faults_of_kafka());
        if let (Some(listen), Some(admin)) = (self.value(&settings::LISTEN), self.value(&settings::ADMIN_LISTEN))
            && listen == admin
            && listen.port() != 0
        {
            faults.push(Fault::together(
                "listen and admin-listen",
                Wrong::new(format!("are both {listen}"), "a port of its own for each"),
            ));
        }
        faults
    }

    /// A fault if two settings are given that exclude each other.
    fn contradiction(&self, one: &About, other: &About) -> Option<Fault> {
        let (one, other) = (self.source(one)?, self.source(other)?);
        Some(Fault::together(format!("{one} and {other}"), Wrong::new("contradict each other", "one of the two")))
    }
}

fn no_database() -> Fault {
    Fault::together(
        "no database",
        Wrong::new(
            "none is named",
            "--database-url (or DATABASE_URL), --database-url-file, --shard for each of several, or --embedded for a private one to try things out",
        ),
    )
}
