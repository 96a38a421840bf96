use std::borrow::Cow;

use model::UserName;
use rand::Rng;
use rand_distr::{Distribution, Zipf};

/// Numbered from 0, the most frequent visitor first, or the place in a replayed file's list of names. Unlike a hash
/// of the name it is exact, and it takes 8 bytes in the ledger.
pub(crate) type Visitor = u64;

#[derive(Debug)]
pub(crate) struct Visitors {
    popularity: Zipf<f64>,
}

impl Visitors {
    /// The n-th visitor (counted from 1) comes in proportion to `1 / n^skew`. With a skew of 0 all come equally often.
    pub(crate) fn new(count: u32, skew: f64) -> Self {
        let popularity = Zipf::new(f64::from(count), skew);
        Self { popularity: popularity.expect("the command line accepts only valid numbers") }
    }

    pub(crate) fn choose(&self, rng: &mut impl Rng) -> Visitor {
        let rank = self.popularity.sample(rng);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank is a whole number from 1 to 2^32"
        )]
        let rank = rank as u64;
        rank.saturating_sub(1)
    }
}

#[derive(Debug)]
pub(crate) enum Names {
    /// A prefix that only this run uses, and the number.
    Own(String),
    /// The names in a file, which may have been sent before.
    Listed(Vec<UserName>),
}

impl Names {
    /// They make the number of users exact.
    pub(crate) fn of_a_run() -> Self {
        Self::Own(format!("load-{:016x}", rand::random::<u64>()))
    }

    pub(crate) fn of(&self, visitor: Visitor) -> Cow<'_, str> {
        match self {
            Self::Own(prefix) => format!("{prefix}-{visitor}").into(),
            Self::Listed(names) => {
                let place = usize::try_from(visitor).expect("it is a place in the list");
                names[place].as_str().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::Visitors;

    const DRAWS: u32 = 100_000;

    fn visits(count: u32, skew: f64) -> Vec<u32> {
        let visitors = Visitors::new(count, skew);
        let mut rng = StdRng::seed_from_u64(20_150_517);
        let mut visits = vec![0; count as usize];
        for _ in 0..DRAWS {
            visits[usize::try_from(visitors.choose(&mut rng)).unwrap()] += 1;
        }
        visits
    }

    #[test]
    fn a_visitor_is_there_in_proportion_to_one_over_its_rank() {
        let visits = visits(1_000, 1.0);
        // The sum of 1/n up to 1,000 is 7.485, so the first is there 13,360 times, with a standard deviation of 108,
        // and so on.
        for (rank, expected, deviation) in [(1, 13_360, 108), (2, 6_680, 79), (10, 1_336, 37), (100, 134, 12)] {
            let seen = i64::from(visits[rank - 1]);
            assert!((seen - expected).abs() <= 5 * deviation, "{rank}: {seen} instead of about {expected}");
        }
    }

    #[test]
    fn without_skew_all_visitors_are_there_about_as_often() {
        // 1,000 are expected with a standard deviation of 32; the bounds are five of those away.
        assert!(visits(100, 0.0).iter().all(|visits| (840..=1_160).contains(visits)));
    }

    #[test]
    fn one_visitor_is_always_there() {
        assert_eq!(visits(1, 1.0), [DRAWS]);
    }
}
