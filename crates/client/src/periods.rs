use std::ops::RangeInclusive;

use model::{Calendar, Hour, Period, PeriodsPage, Step, Totals, wire};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Client, ClientError};

/// Every period of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Periods {
    /// Ascending; zeros for those without events.
    pub periods: Vec<Period>,
    /// How many unique users all of them have together.
    pub unique_users: UniqueUsers,
    /// The hours without which nobody can tell the unique users of their periods, nor those of the range.
    pub unknown_in: Vec<Hour>,
}

/// The unique users of a whole range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UniqueUsers {
    Exactly(u64),
    /// Nobody can tell.
    #[default]
    Unknown,
    /// The server counts over the periods of a page, and the range has more. Those of pages do not add up.
    NotAsked,
}

impl Periods {
    /// Sums over all of them.
    pub fn totals(&self) -> Totals {
        Totals {
            clicks: self.periods.iter().map(|period| period.clicks).sum(),
            impressions: self.periods.iter().map(|period| period.impressions).sum(),
        }
    }
}

impl Client {
    /// The periods from the one that holds the first hour to the one that holds the last, each as a whole.
    pub async fn periods(
        &self,
        range: &RangeInclusive<Hour>,
        step: Step,
        calendar: Calendar,
    ) -> Result<Periods, ClientError> {
        let (first, last, site) = (range.start(), range.end(), self.site_parameter('&'));
        let (path, name) = (wire::PERIODS_PATH, calendar.to_string());
        let zone = utf8_percent_encode(&name, NON_ALPHANUMERIC);
        let mut next = Some(format!("{path}?from={first}&to={last}&step={step}&time_zone={zone}{site}"));
        let mut all = Periods::default();
        let mut pages = 0;
        while let Some(path) = next {
            let page: PeriodsPage = self.page_at(&path, |page: &PeriodsPage| page.periods.is_empty()).await?;
            all.periods.extend(page.periods);
            all.unknown_in.extend(page.unique_users_unknown_in);
            pages += 1;
            all.unique_users = match page.unique_users {
                _ if pages > 1 || page.next.is_some() => UniqueUsers::NotAsked,
                Some(users) => UniqueUsers::Exactly(users),
                None => UniqueUsers::Unknown,
            };
            next = page.next;
        }
        Ok(all)
    }
}
