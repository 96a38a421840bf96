//! TLS to the database, as the parameters `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of libpq ask for it.

use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use thiserror::Error;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::server_certificate::{Check, Verifier, is_of_authority};

/// The parameters that the driver does not know, or not all values of.
pub(super) const PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// The word for the certificates that the system trusts.
const SYSTEM: &str = "system";

/// What a connection string asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encryption {
    Never,
    /// If the server offers it; nothing is checked, since whoever stands between could as well say that it does not.
    Preferred(Tls),
    Required(Tls),
}

/// How a connection is made that is encrypted. The files are read anew for each, so that certificates are renewed under a running program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    check: Check,
    roots: Roots,
    /// The certificate that this program shows, and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Roots {
    System,
    File(PathBuf),
}

/// Parameters that contradict each other, or a file that does not hold what it should.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error(
        "sslmode={0} is not known; accepted are disable, prefer (encrypts where the server offers it), require (encrypts), verify-ca (checks who signed the \
         server's certificate as well) and verify-full (checks its host name as well)"
    )]
    UnknownMode(String),
    #[error(
        "sslrootcert asks for a check of the server's certificate, which sslmode={0} does not make: add sslmode=verify-full"
    )]
    RootsWithoutCheck(&'static str),
    #[error(
        "sslmode={0} does not go with the certificates that the system trusts, since anybody can have one of them for a name of his own: add \
         sslmode=verify-full, or name the file of your own authority with sslrootcert"
    )]
    SystemWithoutName(&'static str),
    #[error("{0} is given without {1}: the certificate of a client is a pair of files")]
    HalfAPair(&'static str, &'static str),
    #[error("{parameter} names {}, which cannot be read: {error}", path.display())]
    Unreadable { parameter: &'static str, path: PathBuf, error: io::Error },
    #[error("{parameter} names {}, which is not, or not only, a {what} in PEM: {fault}", path.display())]
    NotPem { parameter: &'static str, path: PathBuf, what: &'static str, fault: String },
    #[error("sslkey names {}, which others may read: take their rights with `chmod 600`, or `chmod 640` where it belongs to root", .0.display())]
    KeyIsOpen(PathBuf),
    #[error(
        "the certificates that the system trusts cannot be read: {0}; install them (on Debian the package ca-certificates), or name a file with sslrootcert"
    )]
    NoSystemRoots(String),
    #[error("{parameter} names {}, with a certificate that cannot be used: {error}", path.display())]
    NotUsable { parameter: &'static str, path: PathBuf, error: rustls::Error },
    #[error(
        "sslcert and sslkey name {} and {}, which cannot be used together: {error}; a certificate of X.509 version 3 and its own key are needed",
        certificate.display(), key.display()
    )]
    NoIdentity { certificate: PathBuf, key: PathBuf, error: rustls::Error },
    #[error("sslkey names {}, which is encrypted, and nobody is here to give its password: decrypt it with `openssl pkey -in FILE -out FILE`", .0.display())]
    KeyIsEncrypted(PathBuf),
    #[error("no TLS can be spoken: {0}")]
    Unusable(#[source] rustls::Error),
}

impl Encryption {
    /// Reads the parameters that [`PARAMETERS`] names.
    pub(super) fn of(parameters: &BTreeMap<&'static str, String>) -> Result<Self, TlsError> {
        let given = |name| parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let roots =
            given("sslrootcert").map(|value| if value == SYSTEM { Roots::System } else { Roots::File(value.into()) });
        // As libpq has it, who trusts what the system trusts checks the name if nothing else is asked for.
        let unsaid = if roots == Some(Roots::System) { "verify-full" } else { "prefer" };
        let mode = given("sslmode").unwrap_or(unsaid);
        let identity = match (given("sslcert"), given("sslkey")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) => return Err(TlsError::HalfAPair("sslcert", "sslkey")),
            (None, Some(_)) => return Err(TlsError::HalfAPair("sslkey", "sslcert")),
        };
        let tls = |check, roots: Option<Roots>| Tls { check, roots: roots.unwrap_or(Roots::System), identity };
        match (mode, roots) {
            ("disable", None) => Ok(Self::Never),
            ("disable", Some(_)) => Err(TlsError::RootsWithoutCheck("disable")),
            ("prefer", None) => Ok(Self::Preferred(tls(Check::Nothing, None))),
            ("prefer", Some(Roots::File(_))) => Err(TlsError::RootsWithoutCheck("prefer")),
            ("prefer", Some(Roots::System)) => Err(TlsError::SystemWithoutName("prefer")),
            ("require", None) => Ok(Self::Required(tls(Check::Nothing, None))),
            ("require", Some(Roots::System)) => Err(TlsError::SystemWithoutName("require")),
            ("verify-ca", None | Some(Roots::System)) => Err(TlsError::SystemWithoutName("verify-ca")),
            // libpq has it that a file of authorities makes the first mean the second.
            ("require" | "verify-ca", roots) => Ok(Self::Required(tls(Check::Issuer, roots))),
            ("verify-full", roots) => Ok(Self::Required(tls(Check::IssuerAndName, roots))),
            // A value of other characters may be the rest of a password.
            (unknown, _) if unknown.chars().all(|character| character.is_ascii_lowercase() || character == '-') => {
                Err(TlsError::UnknownMode(unknown.to_owned()))
            }
            _ => Err(TlsError::UnknownMode("…".to_owned())),
        }
    }

    /// Whether a connection is made only with a server that proves its name.
    pub(super) fn proves_name(&self) -> bool {
        matches!(self, Self::Required(tls) if tls.check == Check::IssuerAndName)
    }
}

impl Tls {
    /// Reads the files.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = match self.check {
            Check::Nothing => Verifier::of_nothing(&provider),
            check => {
                let (roots, trusted) = self.roots.read()?;
                Verifier::new(check, roots, trusted, &provider).map_err(TlsError::Unusable)?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificates("sslcert", certificate)?, private_key(key)?)
                .map_err(|error| TlsError::NoIdentity { certificate: certificate.clone(), key: key.clone(), error })?,
        };
        // What libpq offers; a server that is asked without a word in the clear before insists on it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }
}

impl Roots {
    /// The authorities, and all certificates that are trusted.
    fn read(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::File(path) => {
                let unusable = |error| TlsError::NotUsable { parameter: "sslrootcert", path: path.clone(), error };
                let trusted = certificates("sslrootcert", path)?;
                for certificate in &trusted {
                    if is_of_authority(certificate).map_err(unusable)? {
                        roots.add(certificate.clone()).map_err(unusable)?;
                    }
                }
                Ok((roots, trusted))
            }
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                // Some may be too old to be understood.
                let (added, _) = roots.add_parsable_certificates(found.certs);
                if added > 0 {
                    return Ok((roots, Vec::new()));
                }
                let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                let errors = if errors.is_empty() { "there are none".to_owned() } else { errors.join(", ") };
                Err(TlsError::NoSystemRoots(errors))
            }
        }
    }
}

fn certificates(parameter: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(parameter, path)?;
    let not_pem =
        |error| TlsError::NotPem { parameter, path: path.to_owned(), what: "certificate", fault: fault(&error) };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(not_pem)?;
    if certificates.is_empty() { Err(not_pem(pem::Error::NoItemsFound)) } else { Ok(certificates) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { parameter: "sslkey", path: path.to_owned(), error };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    // As libpq has it: a key of root's may be read by a group.
    let allowed = if metadata.uid() == 0 { 0o740 } else { 0o700 };
    if metadata.permissions().mode() & 0o777 & !allowed != 0 {
        return Err(TlsError::KeyIsOpen(path.to_owned()));
    }
    let text = read("sslkey", path)?;
    if String::from_utf8_lossy(&text).contains("ENCRYPTED") {
        return Err(TlsError::KeyIsEncrypted(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::NotPem {
        parameter: "sslkey",
        path: path.to_owned(),
        what: "private key",
        fault: fault(&error),
    })
}

fn fault(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it holds none".to_owned(),
        pem::Error::MissingSectionEnd { .. } => "a section of it has no end".to_owned(),
        other => other.to_string(),
    }
}

fn read(parameter: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable { parameter, path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Check, Encryption};

    fn of(given: &[(&'static str, &str)]) -> Result<Encryption, String> {
        let parameters: BTreeMap<_, _> = given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Encryption::of(&parameters).map_err(|error| error.to_string())
    }

    fn check(encryption: &Encryption) -> Option<Check> {
        match encryption {
            Encryption::Required(tls) => Some(tls.check),
            Encryption::Never | Encryption::Preferred(_) => None,
        }
    }

    #[test]
    fn modes_mean_what_libpq_means() {
        let roots = ("sslrootcert", "/ca.pem");
        assert!(matches!(of(&[]), Ok(Encryption::Preferred(_))));
        assert_eq!(of(&[("sslmode", "disable")]), Ok(Encryption::Never));
        for (given, expected) in [
            (vec![("sslmode", "require")], Check::Nothing),
            (vec![("sslmode", "require"), roots], Check::Issuer),
            (vec![("sslmode", "verify-ca"), roots], Check::Issuer),
            (vec![("sslmode", "verify-full")], Check::IssuerAndName),
            (vec![("sslmode", "verify-full"), roots], Check::IssuerAndName),
            (vec![("sslrootcert", "system")], Check::IssuerAndName),
        ] {
            assert_eq!(check(&of(&given).unwrap()), Some(expected), "{given:?}");
        }
    }

    #[test]
    fn what_would_check_less_than_it_seems_is_refused_with_what_to_do() {
        for (given, part) in [
            (vec![("sslmode", "verify")], "sslmode=verify is not known; accepted are disable, prefer"),
            (vec![("sslmode", "allow")], "sslmode=allow is not known"),
            (vec![("sslrootcert", "/ca.pem")], "add sslmode=verify-full"),
            (vec![("sslmode", "disable"), ("sslrootcert", "/ca.pem")], "sslmode=disable does not make"),
            (vec![("sslmode", "require"), ("sslrootcert", "system")], "add sslmode=verify-full"),
            (vec![("sslmode", "verify-ca")], "or name the file of your own authority"),
            (vec![("sslcert", "/a.pem")], "sslcert is given without sslkey"),
            (vec![("sslkey", "/a.pem")], "sslkey is given without sslcert"),
        ] {
            let error = of(&given).unwrap_err();
            assert!(error.contains(part), "{given:?}: {error}");
        }
    }
}
