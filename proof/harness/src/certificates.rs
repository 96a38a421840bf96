use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use chrono::{Datelike, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority of a test's own, that signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Now,
    Expired,
    NotYet,
}

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[], Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("there is randomness");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("the parameters are valid") }
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// For a server with these host names and addresses.
    pub fn server(&self, hosts: &[&str], validity: Validity) -> Issued {
        let mut params = params(hosts.first().copied().unwrap_or_default(), hosts, validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// For a client whose login has this name.
    pub fn client(&self, login: &str) -> Issued {
        let mut params = params(login, &[], Validity::Now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are valid");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Issued {
    /// One that nobody but itself vouches for, and that is an authority at the same time, as the one that PostgreSQL's
    /// manual makes.
    pub fn by_itself(host: &str, validity: Validity) -> Self {
        let mut params = params(host, &[host], validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.self_signed(&key).expect("the parameters are valid");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes `NAME.pem` and `NAME.key` for the owner of the folder, as servers and clients ask for them.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        (write(folder, &format!("{name}.pem"), &self.certificate), write(folder, &format!("{name}.key"), &self.key))
    }
}

/// Writes a file at once, that nobody but the owner of the folder may read.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let (path, unfinished) = (folder.join(name), folder.join(format!("{name}.new")));
    std::fs::write(&unfinished, text).expect("the folder is the test's own");
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600)).expect("the file is the test's own");
    let owner = std::fs::metadata(folder).expect("the folder is there");
    chown(&unfinished, Some(owner.uid()), Some(owner.gid())).expect("the file is the test's own");
    std::fs::rename(&unfinished, &path).expect("the folder is the test's own");
    path
}

fn params(name: &str, hosts: &[&str], validity: Validity) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("the names are valid");
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |from_now: i64| {
        let days = Days::new(from_now.unsigned_abs());
        let today = Utc::now().date_naive();
        let date = if from_now < 0 { today - days } else { today + days };
        let small = |number: u32| u8::try_from(number).expect("months and days are small");
        date_time_ymd(date.year(), small(date.month()), small(date.day()))
    };
    (params.not_before, params.not_after) = match validity {
        Validity::Now => (day(-2), day(2)),
        Validity::Expired => (day(-4), day(-2)),
        Validity::NotYet => (day(2), day(4)),
    };
    params
}
