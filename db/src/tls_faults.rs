//! What is wrong where a TLS handshake fails.

use std::{error::Error, io};

/// What rustls says, among the causes of an error.
pub(crate) fn fault_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref() {
            return Some(fault);
        }
        // An error of input and output does not name what it wraps as its cause, but that one's.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

const UNTRUSTED: (&str, &str) = (
    "this program does not trust the server's certificate, since no authority that it trusts signed it",
    "name the file with the certificate of the authority, or with the server's own if nobody else signed that (sslrootcert=FILE), or sslrootcert=system for a \
     public authority; what lies between the authority and the server belongs into the server's ssl_cert_file",
);

/// Says of a handshake that failed what is wrong and what to do, where that is known.
pub(crate) fn explain(error: &rustls::Error) -> Option<(&'static str, &'static str)> {
    use rustls::{AlertDescription as Alert, CertificateError as Fault, Error};
    Some(match error {
        Error::InvalidCertificate(Fault::UnknownIssuer | Fault::BadSignature) => UNTRUSTED,
        Error::InvalidCertificate(Fault::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => UNTRUSTED,
        Error::InvalidCertificate(Fault::Expired | Fault::ExpiredContext { .. }) => {
            ("the server's certificate has expired", "have it renewed, and look at this machine's clock")
        }
        Error::InvalidCertificate(Fault::NotValidYet | Fault::NotValidYetContext { .. }) => (
            "the server's certificate is not valid yet",
            "look at this machine's clock, and at the server's when it was made",
        ),
        Error::InvalidCertificate(Fault::NotValidForName | Fault::NotValidForNameContext { .. }) => (
            "the server's certificate is for other host names",
            "name the host in the URL as the certificate does (its subjectAltName counts, its CN does not), or have one made for this name; sslmode=verify-ca \
             does without the name, and with it anybody whose certificate the same authority signed passes for the server",
        ),
        Error::InvalidCertificate(_) => (
            "this program cannot use the server's certificate",
            "have one made of X.509 version 3 with the host in its subjectAltName, signed with RSA of 2048 bits or more, ECDSA or Ed25519",
        ),
        Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => (
            "the server does not accept this program's certificate",
            "name one that an authority of the server's ssl_ca_file signed, with sslcert=FILE and sslkey=FILE",
        ),
        Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity)
        | Error::PeerIncompatible(_) => (
            "the server speaks no TLS that this program takes",
            "let it speak TLS 1.2 or later: ssl_min_protocol_version and ssl_ciphers in postgresql.conf",
        ),
        Error::InvalidMessage(_) => {
            ("what answers there speaks no TLS", "look at host and port, and at what stands between")
        }
        _ => return None,
    })
}
