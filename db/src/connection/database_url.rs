//! What a database URL, or a connection string of `key=value` pairs, says.

use std::{iter, net::IpAddr, time::Duration};

use thiserror::Error;
use tokio_postgres::{
    Config,
    config::{ChannelBinding, Host, TargetSessionAttrs},
};

use super::{
    has_password, parameters,
    tls::{self, Encryption, TlsError},
};
use crate::describe;

/// Parameters of libpq that neither the driver nor we know. The names of others may be the rest of a password that had to be escaped.
const OTHERS_OF_LIBPQ: [&str; 24] = [
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "max_protocol_version",
    "min_protocol_version",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslmode",
    "sslpassword",
    "sslsni",
];

/// What the driver takes for an option of which it only says that the value is invalid.
const ACCEPTED: [(&str, &str); 12] = [
    ("channel_binding", "disable, prefer or require"),
    ("connect_timeout", "a number of seconds"),
    ("hostaddr", "IP addresses, separated by commas"),
    ("keepalives", "0 or 1"),
    ("keepalives_idle", "a number of seconds"),
    ("keepalives_interval", "a number of seconds"),
    ("keepalives_retries", "a number"),
    ("load_balance_hosts", "disable or random"),
    ("port", "ports from 1 to 65535, separated by commas"),
    ("sslnegotiation", "postgres or direct"),
    ("target_session_attrs", "any, read-write or read-only"),
    ("tcp_user_timeout", "a number of seconds"),
];

/// A database URL that cannot be understood, or that asks for what no connection could be made with.
#[derive(Debug, Error)]
#[error("the database URL is not valid: {fault}; expected is {expected}")]
pub struct DatabaseUrlError {
    fault: String,
    expected: &'static str,
}

impl DatabaseUrlError {
    /// What would be right.
    pub const EXPECTED: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE, \
                                with %40 for @, %2F for / and %3F for ? in the password";

    /// What is wrong with the URL, without its password.
    pub fn fault(&self) -> &str {
        &self.fault
    }

    /// What would be right.
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    fn new(fault: impl Into<String>) -> Self {
        Self { fault: fault.into(), expected: Self::EXPECTED }
    }

    fn of_tls(error: &TlsError) -> Self {
        Self { fault: error.to_string(), expected: "what docs/operate/database-url.md says of encryption" }
    }

    fn of_driver(url: &str, error: &tokio_postgres::Error) -> Self {
        let fault = describe(error);
        let invalid = fault.split_once("invalid value for option `").and_then(|(_, behind)| behind.strip_suffix('`'));
        if let Some((_, accepted)) = ACCEPTED.iter().find(|(name, _)| Some(*name) == invalid) {
            return Self { fault, expected: accepted };
        }
        let Some(name) = fault.split_once("unknown option `").and_then(|(_, behind)| behind.strip_suffix('`')) else {
            return Self::new(fault);
        };
        if OTHERS_OF_LIBPQ.contains(&name.to_ascii_lowercase().as_str()) {
            return Self::new(format!(
                "this program does not know the option `{name}`: leave it out, or look at how it is written"
            ));
        }
        Self::new(if has_password(url) { fault.replace(name, "…") } else { fault })
    }
}

/// Says what is wrong with a database URL, or a connection string, that no connection could be tried with.
pub fn check_database_url(url: &str) -> Result<(), DatabaseUrlError> {
    DatabaseUrl::read(url).map(drop)
}

/// The hosts of a database URL that lie beyond this machine and need not prove their name, so that whoever stands between may read and change what is said.
pub fn unproven_hosts(url: &str) -> Result<Vec<String>, DatabaseUrlError> {
    let url = DatabaseUrl::read(url)?;
    if url.encryption.proves_name() {
        return Ok(Vec::new());
    }
    Ok(url.hosts.iter().filter(|host| !host.is_on_this_machine()).map(Server::name).collect())
}

/// The name of a database and where it is, as in `analytics at db.example:5432`.
pub(crate) fn database_name(url: &str) -> String {
    // What cannot be read was refused before.
    let Ok(url) = DatabaseUrl::read(url) else { return String::new() };
    let hosts: Vec<String> = url.hosts.iter().map(Server::name).collect();
    // A database is named after its user unless another name is given.
    let name = url.config.get_dbname().or_else(|| url.config.get_user());
    format!("{} at {}", name.unwrap_or_default(), hosts.join(", ")).trim_start().to_owned()
}

/// A place where the database may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// A name, an address, or the folder of a socket.
    pub(super) host: Host,
    /// Where the name is not to be looked up.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

impl Server {
    /// As people write it.
    pub(super) fn name(&self) -> String {
        match &self.host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", self.port),
            Host::Tcp(name) => format!("{name}:{}", self.port),
            Host::Unix(folder) => folder.display().to_string(),
        }
    }

    /// By which it is told from every other: sockets of several servers may be in one folder.
    pub(super) fn whole_name(&self) -> String {
        match &self.host {
            Host::Tcp(_) => self.name(),
            Host::Unix(folder) => format!("{}:{}", folder.display(), self.port),
        }
    }

    fn is_on_this_machine(&self) -> bool {
        match (&self.host, self.address) {
            (Host::Unix(_), _) => true,
            (_, Some(address)) => address.is_loopback(),
            (Host::Tcp(name), None) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct DatabaseUrl {
    /// Everything but where to go and how that is encrypted.
    pub(super) config: Config,
    /// At least one.
    pub(super) hosts: Vec<Server>,
    pub(super) encryption: Encryption,
    /// How long one host may take.
    pub(super) connect_timeout: Option<Duration>,
    /// Whether any of the hosts may be taken first.
    pub(super) is_balanced: bool,
    /// Whether a standby will do, because the URL says so.
    pub(super) takes_standbys: bool,
}

impl DatabaseUrl {
    pub(super) fn read(url: &str) -> Result<Self, DatabaseUrlError> {
        let (rest, own) = parameters::take(url, &tls::PARAMETERS);
        let encryption = Encryption::of(&own).map_err(|error| DatabaseUrlError::of_tls(&error))?;
        if let Encryption::Preferred(tls) | Encryption::Required(tls) = &encryption {
            // What cannot be read now is told now; it is read again for each connection.
            tls.connector().map_err(|error| DatabaseUrlError::of_tls(&error))?;
        }
        let mut config: Config = rest.parse().map_err(|error| DatabaseUrlError::of_driver(url, &error))?;
        if encryption == Encryption::Never && config.get_channel_binding() == ChannelBinding::Require {
            return Err(DatabaseUrlError::new(
                "channel_binding=require needs TLS, which sslmode=disable does without: leave out one of the two",
            ));
        }
        let hosts = hosts_of(&config)?;
        let (_, session) = parameters::take(&rest, &["target_session_attrs"]);
        let takes_standbys = config.get_target_session_attrs() != TargetSessionAttrs::ReadWrite && !session.is_empty();
        if hosts.len() > 1 && session.is_empty() {
            // Nothing that this program does is of any use on a standby.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self {
            encryption,
            hosts,
            takes_standbys,
            connect_timeout: config.get_connect_timeout().copied(),
            is_balanced: config.get_load_balance_hosts() == tokio_postgres::config::LoadBalanceHosts::Random,
            config,
        })
    }
}

fn hosts_of(config: &Config) -> Result<Vec<Server>, DatabaseUrlError> {
    let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = names.len().max(addresses.len());
    if count == 0 {
        return Err(DatabaseUrlError::new(
            "it names no host; a socket is named by its folder: host=/var/run/postgresql",
        ));
    }
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(DatabaseUrlError::new(format!(
            "it names {} hosts and {} addresses (hostaddr)",
            names.len(),
            addresses.len()
        )));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(DatabaseUrlError::new(
            "its hosts and ports do not match: write the port behind each host, or one port for all",
        ));
    }
    let ports = ports.iter().copied().chain(iter::repeat(ports.first().copied().unwrap_or(5432)));
    let hosts = (0..count).zip(ports).map(|(n, port)| {
        let address = addresses.get(n).copied();
        let unnamed = || Host::Tcp(address.expect("there are as many as hosts").to_string());
        Server { host: names.get(n).cloned().unwrap_or_else(unnamed), address, port }
    });
    Ok(hosts.collect())
}

#[cfg(test)]
mod tests {
    use super::{DatabaseUrl, check_database_url, database_name, unproven_hosts};

    fn fault(url: &str) -> String {
        check_database_url(url).unwrap_err().to_string()
    }

    #[test]
    fn a_database_is_named_without_who_connects() {
        for (url, name) in [
            ("postgres://ann:secret@db.example/analytics", "analytics at db.example:5432"),
            ("postgres://ann:secret@db.example:6432,[::1]/", "ann at db.example:6432, [::1]:5432"),
            ("postgres://ann@/trial?host=%2Frun%2Fpostgresql", "trial at /run/postgresql"),
            ("host=db.example password=secret", "at db.example:5432"),
        ] {
            assert_eq!(database_name(url), name, "{url}");
        }
    }

    #[test]
    fn an_invalid_url_is_explained_without_showing_a_piece_of_its_password() {
        assert!(fault("postgres://ann@h/db?colour=red").contains("`colour`"));
        assert!(!fault("postgres://ann:se@h/db?cret=x").contains("cret=x"));
        let broken = fault("postgres://ann:secret@h/db?tail=x");
        assert!(!broken.contains("tail") && broken.contains("expected is postgres://"), "{broken}");
    }

    #[test]
    fn the_name_of_an_option_of_libpq_is_never_masked() {
        for (option, value) in [
            ("sslmode", "verify"),
            ("connect_timeout", "soon"),
            ("target_session_attrs", "primary"),
            ("channel_binding", "yes"),
            ("sslrootcert", "/nowhere/ca.pem&sslmode=verify-full"),
            ("sslcrl", "/crl.pem"),
            ("ssl", "true"),
            ("SSLMODE", "require"),
            ("gssencmode", "disable"),
        ] {
            let fault = fault(&format!("postgres://ann:secret@h/db?{option}={value}"));
            assert!(fault.contains(option) && !fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn an_option_with_an_invalid_value_is_told_what_is_accepted() {
        for (option, accepted) in super::ACCEPTED {
            let fault = fault(&format!("postgres://ann:secret@h/db?{option}=nonsense"));
            assert!(fault.ends_with(&format!("`{option}`; expected is {accepted}")), "{fault}");
        }
    }

    #[test]
    fn several_hosts_are_read_with_their_ports_and_the_one_that_writes_is_looked_for() {
        let several = DatabaseUrl::read("postgres://a:1,b:2,[::1]:3/db").unwrap();
        let names: Vec<String> = several.hosts.iter().map(super::Server::name).collect();
        assert_eq!(names, ["a:1", "b:2", "[::1]:3"]);
        assert_eq!(several.config.get_target_session_attrs(), super::TargetSessionAttrs::ReadWrite);
        for url in ["postgres://a,b/db?target_session_attrs=any", "postgres://a/db"] {
            let read = DatabaseUrl::read(url).unwrap();
            assert_eq!(read.config.get_target_session_attrs(), super::TargetSessionAttrs::Any, "{url}");
        }
        for (url, part) in [
            ("postgres:///db", "names no host"),
            ("host=a,b,c port=1,2", "hosts and ports do not match"),
            ("host=a,b hostaddr=127.0.0.1", "2 hosts and 1 addresses"),
        ] {
            assert!(fault(url).contains(part), "{}", fault(url));
        }
    }

    #[test]
    fn hosts_beyond_this_machine_that_prove_nothing_are_named() {
        for (url, hosts) in [
            ("postgres://db.example/x", vec!["db.example:5432"]),
            ("postgres://127.0.0.1,db.example/x?sslmode=require", vec!["db.example:5432"]),
            ("postgres://db.example/x?sslrootcert=system", vec![]),
            ("postgres://localhost,[::1]/x", vec![]),
            ("host=/run/postgresql", vec![]),
            ("host=here hostaddr=127.0.0.1", vec![]),
        ] {
            assert_eq!(unproven_hosts(url).unwrap(), hosts, "{url}");
        }
    }
}
