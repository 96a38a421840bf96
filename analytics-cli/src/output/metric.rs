use clap::ValueEnum;
use model::Period;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Metric {
    /// Distinct users.
    UniqueUsers,
    /// Clicks.
    Clicks,
    /// Impressions.
    Impressions,
}

impl Metric {
    pub(crate) const ALL: [Self; 3] = [Self::UniqueUsers, Self::Clicks, Self::Impressions];

    /// As in answers and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UniqueUsers => "unique_users",
            Self::Clicks => "clicks",
            Self::Impressions => "impressions",
        }
    }

    /// None where nobody can tell.
    pub(crate) fn of(self, period: &Period) -> Option<u64> {
        match self {
            Self::UniqueUsers => period.unique_users,
            Self::Clicks => Some(period.clicks),
            Self::Impressions => Some(period.impressions),
        }
    }
}
