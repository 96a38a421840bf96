use clap::value_parser;
use model::SiteName;

use super::values::{skew, weight};

#[derive(Debug, clap::Args)]
pub(super) struct SiteArgs {
    /// Spread the requests over this many sites, which are load-1, load-2 and so on.
    ///
    /// A site that the daemon does not know is made by an event before the run: that needs --new-sites of the daemon,
    /// and a token for all sites.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000), conflicts_with_all = ["site_names", "replay"])]
    sites: Option<u32>,

    /// Spread the requests over these sites, with commas between their names.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "replay")]
    site_names: Vec<SiteName>,

    /// How unequally often requests are for the sites, the first of which is the most frequent: the exponent of Zipf's
    /// law; with 0 all are equally frequent.
    #[arg(long, default_value_t = 1.0, value_name = "EXPONENT", value_parser = skew)]
    pub(super) site_zipf: f64,

    /// How often requests are for each of the sites, relative to one another: a number for each, with commas.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', value_parser = weight, conflicts_with = "site_zipf")]
    pub(super) site_shares: Vec<f64>,
}

impl SiteArgs {
    /// Each name once; none for the site without a name.
    pub(super) fn names(&self) -> Vec<SiteName> {
        let name = |number| SiteName::new(format!("load-{number}")).expect("it is short and of the right letters");
        let mut names: Vec<SiteName> = (1..=self.sites.unwrap_or_default()).map(name).collect();
        for name in &self.site_names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::settings::Args;

    #[test]
    fn sites_are_numbered_or_named_and_each_is_there_once() {
        let sites = |arguments: &[&str]| {
            let settings = Args::parse_from(["loadtest"].iter().chain(arguments)).into_settings();
            settings.mix.sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sites(&[]), "");
        assert_eq!(sites(&["--sites", "3"]), "load-1 load-2 load-3");
        assert_eq!(sites(&["--site-names", "shop,blog,shop"]), "shop blog");
    }

    #[test]
    fn each_site_has_a_share_or_none_has() {
        for (arguments, is_accepted) in [
            (["--sites=3", "--site-shares=70,20,10"], true),
            (["--sites=3", "--site-shares=70,20"], false),
            (["--sites=1", "--site-shares=0"], false),
            (["--site-zipf=1", "--site-shares=1"], false),
        ] {
            let read = Args::try_parse_from(["loadtest"].iter().chain(&arguments)).and_then(Args::into_asked);
            assert_eq!(read.is_ok(), is_accepted, "{arguments:?}");
        }
    }
}
