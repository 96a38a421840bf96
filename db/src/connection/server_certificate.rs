//! What is checked of the server's certificate.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::{Certificate, der::Decode, ext::pkix::BasicConstraints};

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: it only takes part in the encryption.
    Nothing,
    /// That somebody whom we trust signed it, and when it is valid.
    Issuer,
    /// Its host name as well.
    IssuerAndName,
}

#[derive(Debug)]
pub(super) struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    trust: Option<Trust>,
}

#[derive(Debug)]
struct Trust {
    checks_name: bool,
    /// None where none of the certificates is one of an authority.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates that are trusted, for a server that shows one of these itself.
    certificates: Vec<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn of_nothing(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, trust: None }
    }

    /// `roots` are the certificates of authorities, `certificates` all that are trusted.
    pub(super) fn new(
        check: Check,
        roots: RootCertStore,
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let chain = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
            Some(builder.build().map_err(|error| Error::General(error.to_string()))?)
        };
        let trust = Trust { checks_name: check == Check::IssuerAndName, chain, certificates };
        Ok(Self { trust: Some(trust), ..Self::of_nothing(provider) })
    }
}

impl Trust {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.certificates.contains(certificate) {
            // One that signed itself may be an authority at the same time, as the one that PostgreSQL's manual makes, which is no certificate of a server
            // to those who look at chains.
            check_dates(certificate, now)?;
            if self.checks_name {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            }
            return Ok(());
        }
        let Some(chain) = &self.chain else { return Err(CertificateError::UnknownIssuer.into()) };
        match chain.verify_server_cert(certificate, intermediates, name, &[], now) {
            // The name is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(()),
            checked => checked.map(drop),
        }
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = read(certificate)?.tbs_certificate.validity;
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// Whether a certificate may have signed others, which the looking at chains takes for granted of what is trusted, as it does that it is still valid.
pub(super) fn is_of_authority(certificate: &CertificateDer<'_>) -> Result<bool, Error> {
    let read = read(certificate)?;
    let constraints = read.tbs_certificate.get::<BasicConstraints>().map_err(|_| CertificateError::BadEncoding)?;
    Ok(constraints.is_some_and(|(_, constraints)| constraints.ca) && check_dates(certificate, UnixTime::now()).is_ok())
}

fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.check(certificate, intermediates, name, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
