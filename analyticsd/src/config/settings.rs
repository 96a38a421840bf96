//! The table of all settings. The flags and their help, the variables of the environment, the keys of the file and the
//! output of `analyticsd config` come from it; a test compares `packaging/analyticsd.toml` with it.
//!
//! To add one: an entry here, and a field of [`super::Config`] that [`super::checked`] fills with `self.get(&settings::NAME)`.

use std::{net::SocketAddr, num::NonZero, path::PathBuf, thread, time::Duration};

use db::{Depth, embedded::EmbeddedKind};
use ipnet::IpNet;
use model::{SiteName, TimeUnit, access::Origin};

use super::{
    definition::{About, Fallback, Form, Setting, Topic, Wrong},
    values,
};
use crate::{
    auth::{ForwardedHeader, Rate},
    http::PublicPath,
    kafka::{ClientSettings, TopicAddress},
    telemetry::output::LogFormat,
};

/// Makes a constant for each entry, and the list of all of them.
macro_rules! settings {
    ($($name:ident: $value:ty = $setting:expr;)+) => {
        $(pub(super) const $name: Setting<$value> = $setting;)+

        /// All of them, in the order of the help.
        pub(super) const ALL: &[Entry] =
            &[$(Entry { about: &$name.about, check: |text| ($name.parse)(text).map(drop) }),+];
    };
}

/// A setting without the type of its value.
pub(super) struct Entry {
    pub(super) about: &'static About,
    /// Returns what is wrong with a text.
    pub(super) check: fn(&str) -> Result<(), Wrong>,
}

/// The file for all other settings. It cannot be set in the file itself.
pub(super) const CONFIG: About = About {
    topic: Topic::Serving,
    name: "config",
    variable: "ANALYTICSD_CONFIG",
    value_name: "FILE",
    form: Form::Value,
    default: Fallback::Nothing("no file is read"),
    mask: None,
    help: "A TOML file of settings, as named here but with _ for -. The command line and the environment win over it",
};

settings! {
    LISTEN: SocketAddr = Setting {
        about: About {
            topic: Topic::Serving,
            name: "listen",
            variable: "ANALYTICSD_LISTEN",
            value_name: "ADDRESS:PORT",
            form: Form::Value,
            default: Fallback::Text("127.0.0.1:8080"),
            mask: None,
            help: "The address and port to serve HTTP on; port 0 takes a free one, which is printed",
        },
        parse: values::address,
    };

    ADMIN_LISTEN: SocketAddr = Setting {
        about: About {
            topic: Topic::Serving,
            name: "admin-listen",
            variable: "ANALYTICSD_ADMIN_LISTEN",
            value_name: "ADDRESS:PORT",
            form: Form::Value,
            default: Fallback::Nothing("not served"),
            mask: None,
            help: "The address and port to serve /metrics on, for Prometheus; keep it from the public",
        },
        parse: values::address,
    };

    PUBLIC_PATH: PublicPath = Setting {
        about: About {
            topic: Topic::Serving,
            name: "public-path",
            variable: "ANALYTICSD_PUBLIC_PATH",
            value_name: "PATH",
            form: Form::Value,
            default: Fallback::Nothing("the usual names only"),
            mask: None,
            help: "Serve the script, the pixel and the endpoint for events under names of your own too, since blockers \
                   know the usual ones: with /x7 they are /x7.js, /x7.gif and /x7",
        },
        parse: values::public_path,
    };

    WORKER_THREADS: usize = Setting {
        about: About {
            topic: Topic::Serving,
            name: "worker-threads",
            variable: "ANALYTICSD_WORKER_THREADS",
            value_name: "N",
            form: Form::Value,
            default: Fallback::Computed(half_of_the_cores, "one for every two cores, since the database needs the others"),
            mask: None,
            help: "How many threads serve requests, 1 to 1024",
        },
        parse: |text| values::number(text, 1..=1_024),
    };

    SHUTDOWN_TIMEOUT: Duration = Setting {
        about: About {
            topic: Topic::Serving,
            name: "shutdown-timeout",
            variable: "ANALYTICSD_SHUTDOWN_TIMEOUT",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("30s"),
            mask: None,
            help: "How long a stop waits for requests that are not answered yet",
        },
        parse: |text| values::duration(text, Duration::ZERO..=DAY),
    };

    DATABASE_URL: String = Setting {
        about: About {
            topic: Topic::Database,
            name: "database-url",
            variable: "DATABASE_URL",
            value_name: "URL",
            form: Form::Value,
            default: Fallback::Nothing("none"),
            mask: Some(db::mask_password),
            help: "The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE. On the command line others on this machine can see it",
        },
        parse: values::database_url,
    };

    DATABASE_URL_FILE: String = Setting {
        about: About {
            topic: Topic::Database,
            name: "database-url-file",
            variable: "ANALYTICSD_DATABASE_URL_FILE",
            value_name: "FILE",
            form: Form::Value,
            default: Fallback::Nothing("none"),
            mask: None,
            help: "A file that holds the database's URL, as service managers and containers pass secrets; in place of --database-url",
        },
        parse: values::database_url_file,
    };

    SHARD: Vec<String> = Setting {
        about: About {
            topic: Topic::Database,
            name: "shard",
            variable: "ANALYTICSD_SHARDS",
            value_name: "URL",
            form: Form::Shards,
            default: Fallback::Nothing("one database"),
            mask: Some(values::mask_urls),
            help: "One of several databases that hold the counter together; given once for each, shard 0 first, in place \
                   of --database-url. In the file they are tables [[shards]] with url or url_file, in the environment \
                   they stand with blanks between them",
        },
        parse: values::shards,
    };

    EMBEDDED: PathBuf = Setting {
        about: About {
            topic: Topic::Database,
            name: "embedded",
            variable: "ANALYTICSD_EMBEDDED",
            value_name: "DIR",
            form: Form::ValueOr(".analytics"),
            default: Fallback::Nothing("no private database"),
            mask: None,
            help: "Run a private trial database in DIR (.analytics if no other is given), which keeps its data between starts. Wins over --database-url",
        },
        parse: values::path,
    };

    EMBEDDED_KIND: EmbeddedKind = Setting {
        about: About {
            topic: Topic::Database,
            name: "embedded-kind",
            variable: "ANALYTICSD_EMBEDDED_KIND",
            value_name: "KIND",
            form: Form::Value,
            default: Fallback::Nothing("the one whose data DIR holds, else native where it is installed, else wasm"),
            mask: None,
            help: "Which server runs the embedded database: native (PostgreSQL as installed on this machine, with \
                   TimescaleDB where that is installed too) or wasm (TimescaleDB in WebAssembly; needs Node.js, and \
                   npm the first time)",
        },
        parse: values::embedded_kind,
    };

    POSTGRES_BIN: PathBuf = Setting {
        about: About {
            topic: Topic::Database,
            name: "postgres-bin",
            variable: "ANALYTICSD_POSTGRES_BIN",
            value_name: "DIR",
            form: Form::Value,
            default: Fallback::Nothing("looked for"),
            mask: None,
            help: "The folder of PostgreSQL's server binaries, for the native embedded database",
        },
        parse: values::path,
    };

    MIGRATE: bool = Setting {
        about: About {
            topic: Topic::Database,
            name: "migrate",
            variable: "ANALYTICSD_MIGRATE",
            value_name: "BOOL",
            form: Form::Switch,
            default: Fallback::Text("false"),
            mask: None,
            help: "Migrate the database to the schema of this version before serving. The embedded database is always migrated",
        },
        parse: values::switch,
    };

    SETTLE_AFTER: Duration = Setting {
        about: About {
            topic: Topic::Database,
            name: "settle-after",
            variable: "ANALYTICSD_SETTLE_AFTER",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("10m"),
            mask: None,
            help: "How long an hour that is over must have had no event before its counts move to the hourly aggregate",
        },
        parse: |text| values::duration(text, Duration::ZERO..=365 * DAY),
    };

    COMMIT_DEPTH: Depth = Setting {
        about: About {
            topic: Topic::Database,
            name: "commit-depth",
            variable: "ANALYTICSD_COMMIT_DEPTH",
            value_name: "N",
            form: Form::Value,
            default: Fallback::Text("measured"),
            mask: None,
            help: "How many commits a lane sends to the database before the first is answered, 1 to 4; \"measured\": as \
                   many as the way to the database asks for",
        },
        parse: values::commit_depth,
    };

    ALLOW_ANONYMOUS: bool = Setting {
        about: About {
            topic: Topic::Access,
            name: "allow-anonymous",
            variable: "ANALYTICSD_ALLOW_ANONYMOUS",
            value_name: "BOOL",
            form: Form::Switch,
            default: Fallback::Text("false"),
            mask: None,
            help: "Serve requests without a token, too. Without this setting a token is needed as soon as there is \
                   one; until then only this machine is served, on a loopback address",
        },
        parse: values::switch,
    };

    TOKENS_VALID_FOR: Duration = Setting {
        about: About {
            topic: Topic::Access,
            name: "tokens-valid-for",
            variable: "ANALYTICSD_TOKENS_VALID_FOR",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("1day"),
            mask: None,
            help: "How long tokens stay valid after they were last read from the database, 5s to 365days. For so long \
                   a token that is revoked in an outage still works, and the spool accepts events",
        },
        parse: |text| values::duration(text, Duration::from_secs(5)..=365 * DAY),
    };

    CORS_ORIGINS: Vec<Origin> = Setting {
        about: About {
            topic: Topic::Access,
            name: "cors-origins",
            variable: "ANALYTICSD_CORS_ORIGINS",
            value_name: "ORIGINS",
            form: Form::List,
            default: Fallback::Nothing("none"),
            mask: None,
            help: "Origins whose web pages may read answers, like https://admin.example, with commas between. Pages with a public key may write without it",
        },
        parse: |text| values::list(text, values::origin),
    };

    RATE_LIMIT_PER_TOKEN: Option<Rate> = Setting {
        about: About {
            topic: Topic::Access,
            name: "rate-limit-per-token",
            variable: "ANALYTICSD_RATE_LIMIT_PER_TOKEN",
            value_name: "RATE",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "How many requests each token may make, and each public key from each address, in a second, minute \
                   or hour, by this daemon alone: none, or like 100/s, 6000/min or, with how many at once, 100/s:500",
        },
        parse: values::rate,
    };

    RATE_LIMIT_PER_ADDRESS: Option<Rate> = Setting {
        about: About {
            topic: Topic::Access,
            name: "rate-limit-per-address",
            variable: "ANALYTICSD_RATE_LIMIT_PER_ADDRESS",
            value_name: "RATE",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "How many requests each client address (of IPv6, each network of 64 bits) may make, written in the same way",
        },
        parse: values::rate,
    };

    RATE_LIMIT_PER_SITE: Option<Rate> = Setting {
        about: About {
            topic: Topic::Access,
            name: "rate-limit-per-site",
            variable: "ANALYTICSD_RATE_LIMIT_PER_SITE",
            value_name: "RATE",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "How many requests each site may get, written in the same way; a batch is one for each of its sites",
        },
        parse: values::rate,
    };

    NEW_SITES: Option<u32> = Setting {
        about: About {
            topic: Topic::Access,
            name: "new-sites",
            variable: "ANALYTICSD_NEW_SITES",
            value_name: "N",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "Events of tokens that are for all sites make the site that they name, while there are fewer than N, 1 \
                   to 100000; none: such an event is answered 400",
        },
        parse: |text| values::number_or_none(text, 1..=100_000),
    };

    SHARE_LINKS: bool = Setting {
        about: About {
            topic: Topic::Access,
            name: "share-links",
            variable: "ANALYTICSD_SHARE_LINKS",
            value_name: "BOOL",
            form: Form::Switch,
            default: Fallback::Text("false"),
            mask: None,
            help: "Whether links to the page of one site, which `analytics-cli token create --share` makes, open it",
        },
        parse: values::switch,
    };

    TRUSTED_PROXIES: Vec<IpNet> = Setting {
        about: About {
            topic: Topic::Access,
            name: "trusted-proxies",
            variable: "ANALYTICSD_TRUSTED_PROXIES",
            value_name: "NETWORKS",
            form: Form::List,
            default: Fallback::Nothing("none"),
            mask: None,
            help: "Proxies that are trusted to name the client that they forward, like 127.0.0.1 or 10.0.0.0/8, with commas between",
        },
        parse: |text| values::list(text, values::network),
    };

    FORWARDED_HEADER: ForwardedHeader = Setting {
        about: About {
            topic: Topic::Access,
            name: "forwarded-header",
            variable: "ANALYTICSD_FORWARDED_HEADER",
            value_name: "HEADER",
            form: Form::Value,
            default: Fallback::Text("x-forwarded-for"),
            mask: None,
            help: "The header in which trusted proxies name the client: x-forwarded-for or forwarded. The other one is ignored",
        },
        parse: values::forwarded_header,
    };

    MAX_CONNECTIONS: usize = Setting {
        about: About {
            topic: Topic::Limits,
            name: "max-connections",
            variable: "ANALYTICSD_MAX_CONNECTIONS",
            value_name: "N",
            form: Form::Value,
            default: Fallback::Text("10000"),
            mask: None,
            help: "The most connections of clients at a time, 1 to 1000000; further ones are answered 503",
        },
        parse: |text| values::number(text, 1..=1_000_000),
    };

    MAX_CONNECTIONS_PER_ADDRESS: Option<usize> = Setting {
        about: About {
            topic: Topic::Limits,
            name: "max-connections-per-address",
            variable: "ANALYTICSD_MAX_CONNECTIONS_PER_ADDRESS",
            value_name: "N",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "How many of them one address (of IPv6, one network of 64 bits) may have, 1 to 1000000, unless it is a trusted proxy. none: all",
        },
        parse: |text| values::number_or_none(text, 1..=1_000_000),
    };

    HEADER_TIMEOUT: Duration = Setting {
        about: About {
            topic: Topic::Limits,
            name: "header-timeout",
            variable: "ANALYTICSD_HEADER_TIMEOUT",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("10s"),
            mask: None,
            help: "How long a client may take to send the head of a request, from the connection's beginning or the \
                   answer before, 1s to 1h; so it is also how long a connection may be idle",
        },
        parse: |text| values::duration(text, SECOND..=HOUR),
    };

    HEADER_BYTES: usize = Setting {
        about: About {
            topic: Topic::Limits,
            name: "header-bytes",
            variable: "ANALYTICSD_HEADER_BYTES",
            value_name: "BYTES",
            form: Form::Value,
            default: Fallback::Text("16384"),
            mask: None,
            help: "The most bytes in the head of a request, 8192 to 1048576; a connection may take twice as much memory",
        },
        parse: |text| values::number(text, 8_192..=1_048_576),
    };

    BODY_TIMEOUT: Duration = Setting {
        about: About {
            topic: Topic::Limits,
            name: "body-timeout",
            variable: "ANALYTICSD_BODY_TIMEOUT",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("30s"),
            mask: None,
            help: "How long a client may take to send a batch, 1s to 1h; then it is answered 408",
        },
        parse: |text| values::duration(text, SECOND..=HOUR),
    };

    UNREAD_TIMEOUT: Duration = Setting {
        about: About {
            topic: Topic::Limits,
            name: "unread-timeout",
            variable: "ANALYTICSD_UNREAD_TIMEOUT",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("20s"),
            mask: None,
            help: "How long a client may leave an answer unread, 1s to 1h; its connection ends within twice this time (on Linux)",
        },
        parse: |text| values::duration(text, SECOND..=HOUR),
    };

    MAX_AGE: Option<Duration> = Setting {
        about: About {
            topic: Topic::Limits,
            name: "max-age",
            variable: "ANALYTICSD_MAX_AGE",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "How long ago an event may have happened, 1s to 10000years; events before are answered 400. none: \
                   whatever is not before 1970. Every day that has events is a chunk or a partition, so without it a \
                   client can make as many of them as there are days",
        },
        parse: |text| values::duration_or_none(text, SECOND..=TEN_THOUSAND_YEARS),
    };

    MAX_FUTURE: Option<Duration> = Setting {
        about: About {
            topic: Topic::Limits,
            name: "max-future",
            variable: "ANALYTICSD_MAX_FUTURE",
            value_name: "DURATION",
            form: Form::Value,
            default: Fallback::Text("none"),
            mask: None,
            help: "How far ahead of this machine's clock an event's timestamp may be, 0s to 10000years; events after \
                   are answered 400. none: up to the year 9999",
        },
        parse: |text| values::duration_or_none(text, Duration::ZERO..=TEN_THOUSAND_YEARS),
    };

    SPOOL: PathBuf = Setting {
        about: About {
            topic: Topic::Outages,
            name: "spool",
            variable: "ANALYTICSD_SPOOL",
            value_name: "DIR",
            form: Form::Value,
            default: Fallback::Nothing("the answer is 503"),
            mask: None,
            help: "Keep events in DIR while the database is away, and answer 202 instead of 503; they are stored once \
                   it is back. Each daemon needs a folder of its own, on a disk that keeps what is synced",
        },
        parse: values::path,
    };

    SPOOL_SIZE: u64 = Setting {
        about: About {
            topic: Topic::Outages,
            name: "spool-size",
            variable: "ANALYTICSD_SPOOL_SIZE",
            value_name: "BYTES",
            form: Form::Value,
            default: Fallback::Text("1073741824"),
            mask: None,
            help: "The most bytes of requests that the spool may hold, 1 at least; its file takes about twice as much on disk",
        },
        parse: |text| values::number(text, 1..=u64::MAX),
    };

    KAFKA: TopicAddress = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka",
            variable: "ANALYTICSD_KAFKA",
            value_name: "BROKERS/TOPIC",
            form: Form::Value,
            default: Fallback::Nothing("no topic is read"),
            mask: None,
            help: "Also store the events of a topic, each once: one JSON object a message, as the lines of a batch. BROKERS are \
                   HOST:PORT with commas between; all daemons of a --kafka-group share its partitions",
        },
        parse: values::topic_address,
    };

    KAFKA_GROUP: String = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-group",
            variable: "ANALYTICSD_KAFKA_GROUP",
            value_name: "NAME",
            form: Form::Value,
            default: Fallback::Text("analyticsd"),
            mask: None,
            help: "The consumer group of the daemons that share the topic, 1 to 255 visible ASCII characters",
        },
        parse: |text| values::visible(text, 255),
    };

    KAFKA_REJECTED: PathBuf = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-rejected",
            variable: "ANALYTICSD_KAFKA_REJECTED",
            value_name: "DIR",
            form: Form::Value,
            default: Fallback::Nothing("--kafka-dead-letter takes them"),
            mask: None,
            help: "Where messages go that can never be stored: appended to rejected.ndjson in DIR, up to 1 GiB",
        },
        parse: values::path,
    };

    KAFKA_DEAD_LETTER: String = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-dead-letter",
            variable: "ANALYTICSD_KAFKA_DEAD_LETTER",
            value_name: "TOPIC",
            form: Form::Value,
            default: Fallback::Nothing("--kafka-rejected takes them"),
            mask: None,
            help: "Or sent to this topic of the same cluster, with the reason in a header",
        },
        parse: values::topic,
    };

    KAFKA_SITE: SiteName = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-site",
            variable: "ANALYTICSD_KAFKA_SITE",
            value_name: "SITE",
            form: Form::Value,
            default: Fallback::Nothing("the site without a name"),
            mask: None,
            help: "The site of messages that name none",
        },
        parse: values::site,
    };

    KAFKA_TIMESTAMPS: TimeUnit = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-timestamps",
            variable: "ANALYTICSD_KAFKA_TIMESTAMPS",
            value_name: "UNIT",
            form: Form::Value,
            default: Fallback::Text("auto"),
            mask: None,
            help: "How timestamps in messages are written: ms, s, rfc3339, or auto for milliseconds or RFC 3339",
        },
        parse: values::time_unit,
    };

    KAFKA_CONFIG_FILE: ClientSettings = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-config-file",
            variable: "ANALYTICSD_KAFKA_CONFIG_FILE",
            value_name: "FILE",
            form: Form::Value,
            default: Fallback::Nothing("none"),
            mask: None,
            help: "Further settings of the client, as for TLS and passwords: one name=value of librdkafka a line",
        },
        parse: values::kafka_config_file,
    };

    KAFKA_SOURCE: String = Setting {
        about: About {
            topic: Topic::Kafka,
            name: "kafka-source",
            variable: "ANALYTICSD_KAFKA_SOURCE",
            value_name: "NAME",
            form: Form::Value,
            default: Fallback::Nothing("the cluster's id and the topic"),
            mask: None,
            help: "Under which name the database keeps how far the topic is stored, 1 to 200 visible ASCII characters. A topic \
                   that was made anew needs another",
        },
        parse: |text| values::visible(text, 200),
    };

    LOG: String = Setting {
        about: About {
            topic: Topic::Logs,
            name: "log",
            variable: "ANALYTICSD_LOG",
            value_name: "FILTER",
            form: Form::List,
            default: Fallback::Text("info,refinery_core=warn"),
            mask: None,
            help: "What to log, as a filter of tracing-subscriber: error, warn, info, debug, or by module; access=debug adds a line for each request",
        },
        parse: values::log_filter,
    };

    METRICS_SITES: Vec<SiteName> = Setting {
        about: About {
            topic: Topic::Logs,
            name: "metrics-site",
            variable: "ANALYTICSD_METRICS_SITE",
            value_name: "SITES",
            form: Form::List,
            default: Fallback::Nothing("none"),
            mask: None,
            help: "Sites that metrics show by name, with commas between, at most 50; they show all others together",
        },
        parse: values::sites,
    };

    LOG_FORMAT: LogFormat = Setting {
        about: About {
            topic: Topic::Logs,
            name: "log-format",
            variable: "ANALYTICSD_LOG_FORMAT",
            value_name: "FORMAT",
            form: Form::Value,
            default: Fallback::Text("human"),
            mask: None,
            help: "How to log: human, or json for one object a line",
        },
        parse: values::log_format,
    };
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// Longer than the range of timestamps.
const TEN_THOUSAND_YEARS: Duration = Duration::from_hours(24 * 3_652_500);

/// Few threads serve more requests than the database commits. More threads take time from a database on the same
/// machine, and from each other: see docs/performance.md.
fn half_of_the_cores() -> String {
    thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2).to_string()
}
