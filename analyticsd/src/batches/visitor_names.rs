//! Names for visitors whose browsers run no script. A name is the same for a day on every replica. Without the salt it
//! cannot be traced to a visitor.

use std::{net::IpAddr, sync::Arc};

use model::{Timestamp, UserName};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::{
    digest,
    query::{counts::ReadError, reports::Reports},
};

const MILLIS_PER_DAY: i64 = 24 * 3_600_000;

/// Derives names.
pub(crate) struct VisitorNames {
    reports: Arc<Reports>,
    /// Read from the database once; it never changes.
    salt: OnceCell<String>,
}

impl VisitorNames {
    /// The first visitor's request reads the salt.
    pub(crate) fn new(reports: Arc<Reports>) -> Self {
        Self { reports, salt: OnceCell::new() }
    }

    /// The name of a client on the day of `at`. `browser` is its user agent.
    pub(crate) async fn of(&self, at: Timestamp, client: IpAddr, browser: &[u8]) -> Result<UserName, ReadError> {
        let salt = self.salt.get_or_try_init(|| self.reports.visitor_salt()).await?;
        Ok(name(salt, at, client, browser))
    }
}

fn name(salt: &str, at: Timestamp, client: IpAddr, browser: &[u8]) -> UserName {
    let mut sum = Sha256::new();
    sum.update(salt);
    sum.update((at.millis() / MILLIS_PER_DAY).to_be_bytes());
    // The first byte gives the length of the address, so that two different inputs never have the same bytes.
    match client.to_canonical() {
        IpAddr::V4(address) => {
            sum.update([4]);
            sum.update(address.octets());
        }
        IpAddr::V6(address) => {
            sum.update([6]);
            sum.update(address.octets());
        }
    }
    sum.update(browser);
    UserName::new(format!("anonymous-{}", digest::short(sum))).expect("a word and digits are a name")
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use model::Timestamp;

    use super::{MILLIS_PER_DAY, name};

    #[test]
    fn a_visitor_has_one_name_a_day_and_no_two_visitors_share_one() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = name("salt", at(0), address("192.0.2.1"), b"browser");
        assert_eq!(one, name("salt", at(MILLIS_PER_DAY - 1), address("::ffff:192.0.2.1"), b"browser"));
        for other in [
            name("other", at(0), address("192.0.2.1"), b"browser"),
            name("salt", at(MILLIS_PER_DAY), address("192.0.2.1"), b"browser"),
            name("salt", at(0), address("192.0.2.2"), b"browser"),
            name("salt", at(0), address("192.0.2.1"), b"another"),
        ] {
            assert_ne!(one, other);
        }
    }
}
