//! Sets of visitors as the schema keeps them: Roaring bitmaps of their numbers, which unite exactly.

use roaring::RoaringBitmap;

use crate::StoreError;

/// Who was seen in an hour, a day or a range, by the numbers of `analytics.visitors`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct VisitorSet(RoaringBitmap);

impl VisitorSet {
    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// In the portable format without runs, as `functions/set_cardinality.sql` reads it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.serialized_size());
        let mut without_runs = self.0.clone();
        without_runs.remove_run_compression();
        without_runs.serialize_into(&mut bytes).expect("memory can be written to");
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        RoaringBitmap::deserialize_from(bytes)
            .map(Self)
            .map_err(|_| StoreError::Inconsistent("a set of visitors is not a Roaring bitmap"))
    }

    /// Adds those of another set.
    pub(crate) fn unite(&mut self, other: &Self) {
        self.0 |= &other.0;
    }
}

impl FromIterator<i32> for VisitorSet {
    fn from_iter<T: IntoIterator<Item = i32>>(numbers: T) -> Self {
        let mut numbers: Vec<u32> = numbers.into_iter().map(i32::cast_unsigned).collect();
        numbers.sort_unstable();
        // One number after the other in order is appended, not searched for.
        Self(numbers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::VisitorSet;

    proptest! {
        #[test]
        fn sets_unite_as_sets_do_and_come_back_from_their_bytes(
            one in prop::collection::vec(0..200_000, 0..5_000),
            other in prop::collection::vec(0..200_000, 0..5_000),
        ) {
            let mut united: VisitorSet = one.iter().copied().collect();
            united.unite(&VisitorSet::from_bytes(&other.iter().copied().collect::<VisitorSet>().to_bytes()).unwrap());
            let expected: BTreeSet<i32> = one.into_iter().chain(other).collect();
            prop_assert_eq!(united.len(), expected.len() as u64);
            prop_assert_eq!(united, expected.into_iter().collect());
        }
    }

    #[test]
    fn the_format_is_the_portable_one_without_runs() {
        let dense: VisitorSet = (0..100_000).collect();
        assert_eq!(dense.to_bytes()[..8], [0x3a, 0x30, 0, 0, 2, 0, 0, 0], "12346, and two containers");
        assert!(VisitorSet::from_bytes(b"no set").is_err());
    }
}
