use std::num::NonZero;

use sha2::{Digest, Sha256};

use crate::UserName;

/// How many databases hold a counter together: 1 to 256, the same for the counter's whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardCount(NonZero<u16>);

impl ShardCount {
    pub const MAX: u16 = 256;
    pub const ONE: Self = Self(NonZero::<u16>::MIN);

    /// None for zero, and for more than [`Self::MAX`].
    pub fn new(count: usize) -> Option<Self> {
        let count = u16::try_from(count).ok().filter(|&count| count <= Self::MAX)?;
        NonZero::new(count).map(Self)
    }

    pub fn get(self) -> usize {
        self.0.get().into()
    }

    /// The number of the shard that a visitor's events are in: the first four bytes of the SHA-256 sum of the name's bytes, as a
    /// big-endian number, modulo the number of shards. `docs/operate/scaling.md` has figures to compare with.
    pub fn shard_of(self, user: &UserName) -> usize {
        if self == Self::ONE {
            return 0;
        }
        let sum = Sha256::digest(user.as_str());
        let number = u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]);
        (number % u32::from(self.0.get())) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::ShardCount;
    use crate::UserName;

    #[test]
    fn a_visitor_is_in_the_shard_that_the_sum_of_the_name_says() {
        // The figures of docs/operate/scaling.md.
        for (name, of_4, of_16) in FIGURES {
            let user = UserName::new(name).unwrap();
            let shard = |count| ShardCount::new(count).unwrap().shard_of(&user);
            assert_eq!((shard(1), shard(4), shard(16)), (0, of_4, of_16), "{name}");
        }
    }

    /// A name, its shard of 4, and of 16.
    const FIGURES: [(&str, usize, usize); 4] = [("anna", 1, 5), ("ben", 0, 12), ("Zoë", 0, 8), ("203.0.113.7", 1, 5)];

    #[test]
    fn there_are_1_to_256_shards() {
        let counts: Vec<_> =
            [0, 1, 256, 257, 65_537].into_iter().map(|count| ShardCount::new(count).map(ShardCount::get)).collect();
        assert_eq!(counts, [None, Some(1), Some(256), None, None]);
    }

    #[test]
    fn visitors_spread_evenly() {
        let mut visitors = [0_u32; 16];
        let sixteen = ShardCount::new(16).unwrap();
        for number in 0..16_000 {
            visitors[sixteen.shard_of(&UserName::new(format!("visitor-{number}")).unwrap())] += 1;
        }
        assert!(visitors.iter().all(|visitors| (900..1_100).contains(visitors)), "{visitors:?}");
    }
}
