use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{Event, Hour, InvalidInput};

/// The name of a site: 1 to 64 letters, digits, dots, hyphens and underscores, of which the first is a letter or a
/// digit. Names are compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(String);

impl SiteName {
    pub const PARAMETER: &'static str = "site";
    pub const ACCEPTED: &'static str =
        "a name of 1 to 64 ASCII letters, digits, dots, hyphens and underscores that begins with a letter or a digit";
    pub const MAX_LENGTH: usize = 64;

    pub fn new(name: impl Into<String>) -> Result<Self, InvalidInput> {
        let name = name.into();
        let fault = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > Self::MAX_LENGTH {
            format!("has {} bytes", name.len())
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
            "holds something else than ASCII letters, digits, dots, hyphens and underscores".to_owned()
        } else if !name.as_bytes()[0].is_ascii_alphanumeric() {
            "begins with neither a letter nor a digit".to_owned()
        } else {
            return Ok(Self(name));
        };
        Err(InvalidInput { parameter: Self::PARAMETER, fault, accepted: Self::ACCEPTED })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteName {
    type Err = InvalidInput;

    fn from_str(name: &str) -> Result<Self, InvalidInput> {
        Self::new(name)
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a site, which the database gives once and never again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(i32);

impl SiteId {
    /// The site without a name, which every installation has.
    pub const NAMELESS: Self = Self(0);

    /// None for a negative number.
    pub fn new(number: i32) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    pub fn number(self) -> i32 {
        self.0
    }
}

/// An event and the site that counts it. What a client sends becomes one only where it was checked that the client may
/// use the site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteEvent {
    pub site: SiteId,
    pub event: Event,
}

impl SiteEvent {
    /// Of the site without a name.
    pub fn nameless(event: Event) -> Self {
        Self { site: SiteId::NAMELESS, event }
    }

    pub fn site_hour(&self) -> SiteHour {
        SiteHour { hour: self.event.hour(), site: self.site }
    }
}

/// An hour of a site: what is counted, settled and reopened as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteHour {
    pub hour: Hour,
    pub site: SiteId,
}

impl SiteHour {
    /// Of the site without a name.
    pub fn nameless(hour: Hour) -> Self {
        Self { hour, site: SiteId::NAMELESS }
    }

    /// The sites of each hour, in the order given.
    pub fn by_hour(all: impl IntoIterator<Item = Self>) -> BTreeMap<Hour, Vec<SiteId>> {
        let mut sites: BTreeMap<Hour, Vec<SiteId>> = BTreeMap::new();
        for Self { hour, site } in all {
            sites.entry(hour).or_default().push(site);
        }
        sites
    }
}

impl fmt::Display for SiteHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site {
            SiteId::NAMELESS => self.hour.fmt(f),
            SiteId(number) => write!(f, "{} of site {number}", self.hour),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SiteName;

    #[test]
    fn a_name_is_short_and_safe_in_a_url_a_label_and_a_file() {
        let fault = |name: &str| SiteName::new(name).map_err(|invalid| invalid.fault);
        for name in ["a", "7", "shop.example.org", "A-b_c", &"x".repeat(64)] {
            assert!(fault(name).is_ok(), "{name}");
        }
        assert_eq!(fault(""), Err("is empty".to_owned()));
        assert_eq!(fault(&"x".repeat(65)), Err("has 65 bytes".to_owned()));
        for name in ["a b", "ä", "a/b", "a\0", "a%", "\"", "a,b"] {
            assert!(fault(name).unwrap_err().starts_with("holds something else"), "{name}");
        }
        for name in [".", "-a", "_a"] {
            assert!(fault(name).unwrap_err().starts_with("begins with"), "{name}");
        }
    }
}
