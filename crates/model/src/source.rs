use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use crate::{InvalidInput, SiteId};

/// The name of an ordered source of events, as a file or a partition of a topic: 1 to 255 visible ASCII characters. A
/// site has names of its own. Those of the daemon's own sources begin with `analyticsd:`, and clients cannot use them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    pub const PARAMETER: &'static str = "source";
    pub const ACCEPTED: &'static str =
        "a name of 1 to 255 visible ASCII characters without spaces that does not begin with analyticsd:";
    pub const MAX_LENGTH: usize = 255;
    const OF_THE_DAEMON: &'static str = "analyticsd:";

    pub fn new(name: impl Into<String>) -> Result<Self, InvalidInput> {
        let name = name.into();
        let fault = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > Self::MAX_LENGTH {
            format!("has {} bytes", name.len())
        } else if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            "holds a space or something that is not visible ASCII".to_owned()
        } else if name.starts_with(Self::OF_THE_DAEMON) {
            format!("begins with {}", Self::OF_THE_DAEMON)
        } else {
            return Ok(Self(name.into()));
        };
        Err(InvalidInput { parameter: Self::PARAMETER, fault, accepted: Self::ACCEPTED })
    }

    /// A source that the daemon reads itself.
    pub fn of_the_daemon(kind: &str, name: impl fmt::Display) -> Self {
        Self(format!("{}{kind}:{name}", Self::OF_THE_DAEMON).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a sender derived from the content of a source up to a position, as a hash: 1 to 32 bytes, written in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentCheck(Arc<[u8]>);

impl ContentCheck {
    pub const ACCEPTED: &'static str = "2 to 64 hexadecimal digits, an even number of them";
    pub const MAX_BYTES: usize = 32;

    /// None for no bytes, and for too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX_BYTES).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for ContentCheck {
    type Err = &'static str;

    /// The error says what is wrong.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.ok_or("holds something else than hexadecimal digits")?;
        let (pairs, rest) = digits.as_chunks();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        Self::new(&bytes).filter(|_| rest.is_empty()).ok_or("is not a whole number of bytes from 1 to 32")
    }
}

impl fmt::Display for ContentCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a source stands: everything before the position is stored. The sender decides what it counts, as bytes or
/// offsets; it begins at 0 and only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SourcePosition {
    pub position: u64,
    /// Of the content before the position. None for a sender that makes no checks, and where nothing is stored.
    pub check: Option<ContentCheck>,
}

impl SourcePosition {
    pub const ACCEPTED: &'static str = "an integer from 0 to 9223372036854775807";
    /// What the database can count to.
    pub const MAX: u64 = i64::MAX.cast_unsigned();
}

/// Where a source stands in a counter of several shards, each of which has a part of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStanding {
    /// Where the shard stands that has the least of it, and so the source.
    pub at: SourcePosition,
    /// Where parts end that other shards have already, ascending: the next parts must end there too.
    pub parts_end_at: Vec<u64>,
}

impl SourceStanding {
    /// In all shards.
    pub fn at(at: SourcePosition) -> Self {
        Self { at, parts_end_at: Vec::new() }
    }

    /// None for no shard.
    pub fn of_shards(stand: impl IntoIterator<Item = SourcePosition>) -> Option<Self> {
        let mut stand: Vec<SourcePosition> = stand.into_iter().collect();
        stand.sort_by_key(|at| at.position);
        let mut stand = stand.into_iter();
        let at = stand.next()?;
        let mut parts_end_at: Vec<u64> =
            stand.map(|at| at.position).filter(|&position| position > at.position).collect();
        parts_end_at.dedup();
        Some(Self { at, parts_end_at })
    }
}

/// The part of a source that a request brings, without a gap: it is stored if the source stands at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStep {
    /// For which site the request is. Its events may be of others too.
    pub site: SiteId,
    pub source: SourceName,
    pub from: SourcePosition,
    pub to: SourcePosition,
}

impl SourceStep {
    /// Whether it begins where the other ends.
    pub fn follows(&self, earlier: &Self) -> bool {
        self.is_of_the_source_of(earlier) && self.from == earlier.to
    }

    pub fn is_of_the_source_of(&self, other: &Self) -> bool {
        self.site == other.site && self.source == other.source
    }

    /// One step for each source, ascending by site and name, of steps of which each follows the one before it of the
    /// same source.
    pub fn joined<'a>(steps: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        let mut joined: BTreeMap<(SiteId, &SourceName), Self> = BTreeMap::new();
        for step in steps {
            let whole = joined.entry((step.site, &step.source)).or_insert_with(|| step.clone());
            whole.to = step.to.clone();
        }
        joined.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ContentCheck, SourceName, SourcePosition, SourceStep};
    use crate::SiteId;

    #[test]
    fn a_name_is_visible_ascii_and_not_one_of_the_daemon() {
        let fault = |name: &str| SourceName::new(name).map_err(|invalid| invalid.fault);
        for name in ["a", "nginx@web-1:/var/log/access.log", &"x".repeat(255)] {
            assert!(fault(name).is_ok(), "{name}");
        }
        assert_eq!(fault(""), Err("is empty".to_owned()));
        assert_eq!(fault(&"x".repeat(256)), Err("has 256 bytes".to_owned()));
        assert!(fault("a b").unwrap_err().starts_with("holds a space"));
        assert!(fault(SourceName::of_the_daemon("spool", "a").as_str()).unwrap_err().starts_with("begins with"));
    }

    #[test]
    fn a_check_is_bytes_in_hexadecimal() {
        for text in ["00", "0aff", &"7f".repeat(32)] {
            assert_eq!(text.parse::<ContentCheck>().unwrap().to_string(), text);
        }
        assert_eq!("FF".parse::<ContentCheck>().unwrap().as_bytes(), [255]);
        for text in ["", "0", "000", "0g", "é0", &"00".repeat(33)] {
            assert!(text.parse::<ContentCheck>().is_err(), "{text}");
        }
    }

    #[test]
    fn steps_of_one_source_are_joined() {
        let at = |position| SourcePosition { position, check: None };
        let step = |name: &str, from, to| SourceStep {
            site: SiteId::NAMELESS,
            source: SourceName::new(name).unwrap(),
            from: at(from),
            to: at(to),
        };
        let steps = [step("b", 0, 2), step("a", 4, 5), step("b", 2, 9)];
        assert!(steps[2].follows(&steps[0]) && !steps[0].follows(&steps[2]));
        assert_eq!(SourceStep::joined(&steps), [step("a", 4, 5), step("b", 0, 9)]);
    }
}
