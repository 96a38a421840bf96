use std::{fmt, ops::RangeInclusive};

use model::{Calendar, Hour, Period, PeriodsPage, Step, StoredHours, Totals, wire};
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
}

impl Periods {
    /// Adds a page. Returns where the next one is.
    fn add(&mut self, page: PeriodsPage) -> Option<String> {
        self.periods.extend(page.periods);
        self.unknown_in.extend(page.unique_users_unknown_in);
        page.next
    }

    /// Sums over all of them.
    pub fn totals(&self) -> Totals {
        Totals {
            clicks: self.periods.iter().map(|period| period.clicks).sum(),
            impressions: self.periods.iter().map(|period| period.impressions).sum(),
        }
    }
}

impl Client {
    /// The periods from the one that holds the first hour to the one that holds the last. The first and the last have
    /// only their hours of the range.
    pub async fn periods(
        &self,
        range: &RangeInclusive<Hour>,
        step: Step,
        calendar: Calendar,
    ) -> Result<Periods, ClientError> {
        let (first, last, site) = (range.start(), range.end(), self.site_parameter('&'));
        let (path, name) = (wire::PERIODS_PATH, calendar.to_string());
        let zone = utf8_percent_encode(&name, NON_ALPHANUMERIC);
        let page_of = |from: &Hour, to: &Hour, step: Step, zone: &dyn fmt::Display| {
            format!("{path}?from={from}&to={to}&step={step}&time_zone={zone}&cut=true{site}")
        };
        let is_empty = |page: &PeriodsPage| page.periods.is_empty();
        let mut page = self.page_at(&page_of(first, last, step, &zone), is_empty).await?;
        let mut unique_users = page.unique_users;
        let mut all = Periods::default();
        while let Some(next) = all.add(page) {
            page = self.page_at(&next, is_empty).await?;
            unique_users = None;
        }
        if unique_users.is_none() && all.periods.len() > PeriodsPage::MAX_PERIODS && all.unknown_in.is_empty() {
            // Those of pages do not add up. There are few months, so that they are one page, and their zone means nothing.
            let (from, to) = (all.periods[0].from, all.periods[all.periods.len() - 1].to);
            let months = self.page_at(&page_of(&from, &to, Step::Month, &Calendar::UTC), is_empty).await?;
            unique_users = months.unique_users.filter(|_| months.next.is_none());
        }
        all.unique_users = unique_users.map_or(UniqueUsers::Unknown, UniqueUsers::Exactly);
        Ok(all)
    }

    /// The first and the last hour that have an event; none without one.
    pub async fn stored(&self) -> Result<Option<StoredHours>, ClientError> {
        // Every page says it, also one of a single period.
        let path = format!("{}?from=0&to=0&step=hour&time_zone=UTC{}", wire::PERIODS_PATH, self.site_parameter('&'));
        let page: PeriodsPage = self.page_at(&path, |page: &PeriodsPage| page.periods.is_empty()).await?;
        Ok(page.stored)
    }
}
