use model::wire::MAX_BATCH_EVENTS;

use super::{
    sites::SiteArgs,
    values::{half_life, share, skew},
};
use crate::workload::mix::MixSettings;

#[derive(Debug, clap::Args)]
pub(super) struct MixArgs {
    /// The share of requests that send events, from 0 to 1.
    ///
    /// The others get counts.
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", value_parser = share)]
    post_share: f64,

    /// The share of requests with events that are for the current hour.
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = share)]
    post_current: f64,

    /// The share of requests for counts that are for the current hour.
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = share)]
    get_current: f64,

    /// How many hours before the current one the other requests may be for.
    #[arg(long, default_value_t = 72, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    past_hours: u32,

    /// Of two past hours that are this many hours apart, the older one is half as likely.
    #[arg(long, default_value_t = 12.0, value_name = "HOURS", value_parser = half_life)]
    past_half_life: f64,

    /// The share of events that are clicks.
    ///
    /// They take turns with impressions, so that a late event of one kind shows while the other is sent. The further
    /// this is from one half, the longer the more frequent kind hides one.
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", value_parser = share)]
    click_share: f64,

    /// The number of visitors.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    visitors: u32,

    /// How unequally often visitors come: the exponent of Zipf's law; with 0 all come equally often.
    #[arg(long, default_value_t = 1.0, value_name = "EXPONENT", value_parser = skew)]
    zipf: f64,

    /// The share of requests with events that send a batch.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    batch_share: f64,

    /// The number of events in a batch.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_BATCH_EVENTS as i64))]
    batch_size: u32,

    /// The share of batches that are of a source.
    ///
    /// Each user has a source of its own, whose batches follow one another.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    source_share: f64,

    /// The share of single events that pixels send: GET /analytics.gif.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    pixel_share: f64,

    /// The share of the other single events that are sent as the script for web pages does.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    script_share: f64,

    #[command(flatten)]
    sites: SiteArgs,
}

impl From<MixArgs> for MixSettings {
    fn from(args: MixArgs) -> Self {
        Self {
            post_share: args.post_share,
            post_current: args.post_current,
            get_current: args.get_current,
            past_hours: args.past_hours,
            past_half_life_hours: args.past_half_life,
            click_share: args.click_share,
            visitors: args.visitors,
            zipf: args.zipf,
            batch_share: args.batch_share,
            batch_size: args.batch_size as usize,
            source_share: args.source_share,
            pixel_share: args.pixel_share,
            script_share: args.script_share,
            sites: args.sites.names(),
            site_zipf: args.sites.site_zipf,
            site_shares: args.sites.site_shares,
        }
    }
}

/// The default mix.
#[cfg(test)]
pub(crate) fn contract_mix() -> MixSettings {
    use clap::Parser;

    super::Args::parse_from(["loadtest"]).into_settings().mix
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_mix_is_the_contract_s() {
        let mix = super::contract_mix();
        assert_eq!((mix.post_share.to_bits(), mix.post_current.to_bits()), (0.5_f64.to_bits(), 0.95_f64.to_bits()));
        assert_eq!(mix.get_current.to_bits(), 0.95_f64.to_bits());
    }
}
