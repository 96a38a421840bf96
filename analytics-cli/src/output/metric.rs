use clap::ValueEnum;
use model::HourCounts;

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

    pub(crate) fn of(self, counts: HourCounts) -> u64 {
        match self {
            Self::UniqueUsers => counts.unique_users,
            Self::Clicks => counts.clicks,
            Self::Impressions => counts.impressions,
        }
    }
}
