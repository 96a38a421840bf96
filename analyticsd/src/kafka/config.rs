//! Which topic is read, and how.

use std::{fmt, path::PathBuf};

use model::{SiteName, TimeUnit};

/// Where a topic is. No fault repeats the text, which may be another setting's secret by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicAddress {
    /// Some brokers of the cluster: HOST:PORT with commas between.
    pub(crate) brokers: String,
    pub(crate) topic: String,
}

impl TopicAddress {
    pub(crate) const ACCEPTED: &str = "HOST:PORT/TOPIC, or several HOST:PORT with commas between before the slash";
    /// Kafka allows 249. The name is a part of a source's, which has at most 255 with the cluster's.
    const MAX_TOPIC: usize = 180;

    /// The error says what is wrong.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let (brokers, topic) = text.rsplit_once('/').ok_or("names no topic")?;
        for broker in brokers.split(',') {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
                return Err("has a broker that is no HOST:PORT".to_owned());
            }
        }
        check_topic(topic)?;
        Ok(Self { brokers: brokers.to_owned(), topic: topic.to_owned() })
    }
}

/// A topic's name, as Kafka allows it: letters, digits, `.`, `_` and `-`. The error says what is wrong.
pub(crate) fn check_topic(name: &str) -> Result<(), String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || matches!(name, "." | "..") || !name.bytes().all(is_legal) {
        Err("has no legal name for a topic".to_owned())
    } else if name.len() > TopicAddress::MAX_TOPIC {
        Err(format!("has a topic of {} bytes", name.len()))
    } else {
        Ok(())
    }
}

/// Further settings of librdkafka, as its file has them: one `name=value` a line. They may hold passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientSettings(Vec<(String, String)>);

impl ClientSettings {
    /// What the daemon sets itself, because its promise depends on it.
    const OWN: [&str; 8] = [
        "bootstrap.servers",
        "metadata.broker.list",
        "group.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "enable.partition.eof",
        "statistics.interval.ms",
    ];

    /// Lines that are empty or begin with `#` are left out. The error says what is wrong, and repeats no value.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut settings = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim_start)) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) =
                line.split_once('=').ok_or_else(|| format!("has something else than name=value in line {number}"))?;
            // A password may end in a space.
            let (name, value) = (name.trim(), value.trim_start());
            if Self::OWN.contains(&name) {
                return Err(format!("sets {name} in line {number}, which the daemon sets itself"));
            }
            settings.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(settings))
    }

    #[cfg(feature = "kafka")]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for ClientSettings {
    /// The names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Where messages go that can never be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RejectsTo {
    /// A file in this folder.
    Folder(PathBuf),
    /// Another topic of the same cluster.
    Topic(String),
}

/// Which topic is read, and how.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "nothing reads it without the feature"))]
pub(crate) struct KafkaConfig {
    pub(crate) address: TopicAddress,
    pub(crate) group: String,
    /// The name of the source in place of the cluster's and the topic's.
    pub(crate) source: Option<String>,
    /// The site of messages that name none.
    pub(crate) site: Option<SiteName>,
    pub(crate) timestamps: TimeUnit,
    pub(crate) client: ClientSettings,
    pub(crate) rejects: RejectsTo,
}

#[cfg(test)]
mod tests {
    use super::{ClientSettings, TopicAddress};

    #[test]
    fn a_topic_is_named_behind_its_brokers() {
        let address = TopicAddress::new("[::1]:9092,kafka-2.example:9093/web.events_1").unwrap();
        assert_eq!((&*address.brokers, &*address.topic), ("[::1]:9092,kafka-2.example:9093", "web.events_1"));
        for (text, fault) in [
            ("kafka:9092", "names no topic"),
            ("kafka/events", "has a broker that is no HOST:PORT"),
            ("kafka:0/events", "has a broker that is no HOST:PORT"),
            (":9092/events", "has a broker that is no HOST:PORT"),
            ("a:1,/events", "has a broker that is no HOST:PORT"),
            ("kafka:9092/", "has no legal name for a topic"),
            ("kafka:9092/..", "has no legal name for a topic"),
            ("kafka:9092/a b", "has no legal name for a topic"),
        ] {
            assert_eq!(TopicAddress::new(text), Err(fault.to_owned()), "{text}");
        }
        let long = format!("kafka:9092/{}", "t".repeat(181));
        assert_eq!(TopicAddress::new(&long), Err("has a topic of 181 bytes".to_owned()));
    }

    #[test]
    fn settings_of_the_client_are_lines_and_never_those_that_the_promise_depends_on() {
        let settings = ClientSettings::new("# TLS\nsecurity.protocol = ssl\n\nsasl.password=a=b\n").unwrap();
        assert_eq!(
            settings.0,
            [("security.protocol", "ssl"), ("sasl.password", "a=b")].map(|(a, b)| (a.into(), b.into()))
        );
        assert_eq!(format!("{settings:?}"), r#"["security.protocol", "sasl.password"]"#);
        assert_eq!(
            ClientSettings::new("\nauto.offset.reset=latest"),
            Err("sets auto.offset.reset in line 2, which the daemon sets itself".to_owned())
        );
        assert_eq!(ClientSettings::new("secret"), Err("has something else than name=value in line 1".to_owned()));
    }
}
