use std::{fmt, ops::AddAssign, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{EventKind, Hour};

/// The exact counts of one hour; all zero for an hour without events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HourCounts {
    /// Distinct user names over clicks and impressions together.
    pub unique_users: u64,
    /// Clicks.
    pub clicks: u64,
    /// Impressions.
    pub impressions: u64,
}

impl HourCounts {
    /// The events of this kind.
    pub fn count(self, kind: EventKind) -> u64 {
        match kind {
            EventKind::Click => self.clicks,
            EventKind::Impression => self.impressions,
        }
    }
}

/// Of shards, which have no visitor in common.
impl AddAssign for HourCounts {
    fn add_assign(&mut self, more: Self) {
        self.unique_users += more.unique_users;
        self.clicks += more.clicks;
        self.impressions += more.impressions;
    }
}

/// What stands in the data of an event `counts` of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveCounts {
    pub hour: Hour,
    #[serde(flatten)]
    pub counts: HourCounts,
}

impl fmt::Display for HourCounts {
    /// The answer of `GET /analytics`: three lines of `name,number`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unique_users, clicks, impressions } = self;
        writeln!(f, "unique_users,{unique_users}\nclicks,{clicks}\nimpressions,{impressions}")
    }
}

/// A text that is not the answer of `GET /analytics`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected the three lines unique_users,N clicks,N impressions,N but read {0:?}")]
pub struct MalformedCounts(String);

impl FromStr for HourCounts {
    type Err = MalformedCounts;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines();
        let mut number = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(',')?.parse().ok();
        let counts = (|| {
            Some(Self {
                unique_users: number("unique_users")?,
                clicks: number("clicks")?,
                impressions: number("impressions")?,
            })
        })();
        counts.filter(|_| lines.next().is_none()).ok_or_else(|| MalformedCounts(text.chars().take(200).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::HourCounts;

    #[test]
    fn an_answer_is_three_lines_of_name_and_number() {
        let counts = HourCounts { unique_users: 3, clicks: 2, impressions: 5 };
        assert_eq!(counts.to_string(), "unique_users,3\nclicks,2\nimpressions,5\n");
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        for text in [
            "",
            "unique_users,3\nclicks,2\n",
            "unique_users,x\nclicks,2\nimpressions,5\n",
            "unique_users,3\nclicks,2\nimpressions,5\nmore,1\n",
        ] {
            assert!(text.parse::<HourCounts>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn counts_survive_the_way_over_the_wire(unique_users: u64, clicks: u64, impressions: u64) {
            let counts = HourCounts { unique_users, clicks, impressions };
            prop_assert_eq!(counts.to_string().parse(), Ok(counts));
        }
    }
}
