//! Looks for the highest rate that a server keeps up with: in steps that double, then by bisection.

use serde::{Deserialize, Serialize};

/// The highest rate that is tried, as for --rate.
const HIGHEST: u32 = 1_000_000;

/// A machine is not quiet all the time. So a rate is decided by two outcomes that agree, of up to three.
const AGREE: usize = 2;

#[derive(Debug)]
pub(crate) struct Search {
    first: u32,
    /// How far above the rate that held the one that did not may be at the end, as a share of it.
    precision: f64,
    tried: Vec<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    rate: u32,
    held: bool,
}

impl Search {
    /// Rates are from 1 up.
    pub(crate) fn new(first: u32, precision: f64) -> Self {
        Self { first: first.clamp(1, HIGHEST), precision, tried: Vec::new() }
    }

    pub(crate) fn tell(&mut self, rate: u32, held: bool) {
        self.tried.push(Outcome { rate, held });
    }

    /// The rate to try next; none if the answer is found.
    pub(crate) fn next(&self) -> Option<u32> {
        let undecided = self.tried.last().map(|outcome| outcome.rate).filter(|&rate| self.decided(rate).is_none());
        if undecided.is_some() {
            return undecided;
        }
        match (self.held(), self.failed()) {
            (None, None) => Some(self.first),
            (Some(held), None) => (held < HIGHEST).then(|| held.saturating_mul(2).min(HIGHEST)),
            (None, Some(failed)) => (failed > 1).then_some(failed / 2),
            (Some(held), Some(failed)) => {
                let is_near = f64::from(failed - held) <= f64::from(held) * self.precision || failed - held <= 1;
                (!is_near).then(|| held.midpoint(failed))
            }
        }
    }

    /// The highest rate that held, below all that did not.
    pub(crate) fn held(&self) -> Option<u32> {
        let failed = self.failed().unwrap_or(u32::MAX);
        self.rates().filter(|&rate| rate < failed && self.decided(rate) == Some(true)).max()
    }

    /// The answer so far: the highest rate that held at all, below all that did not, if none is certain.
    pub(crate) fn best(&self) -> Option<u32> {
        let failed = self.failed().unwrap_or(u32::MAX);
        let never_failed = |rate: u32| !self.tried.iter().any(|outcome| outcome.rate == rate && !outcome.held);
        self.held().or_else(|| self.rates().filter(|&rate| rate < failed && never_failed(rate)).max())
    }

    /// The lowest rate that did not hold.
    pub(crate) fn failed(&self) -> Option<u32> {
        self.rates().filter(|&rate| self.decided(rate) == Some(false)).min()
    }

    /// While the rate doubles, one outcome is enough for a rate that held: the next one asks for more. The last of them
    /// is tried again once a rate has failed.
    fn decided(&self, rate: u32) -> Option<bool> {
        let count = |held| self.tried.iter().filter(|outcome| **outcome == Outcome { rate, held }).count();
        let doubles = !self.tried.iter().any(|outcome| !outcome.held);
        match (count(true), count(false)) {
            (held, 0) if held >= 1 && doubles => Some(true),
            (held, _) if held >= AGREE => Some(true),
            (_, failed) if failed >= AGREE => Some(false),
            _ => None,
        }
    }

    fn rates(&self) -> impl Iterator<Item = u32> {
        self.tried.iter().map(|outcome| outcome.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HIGHEST, Search};

    /// Searches on a server that keeps up with this rate, and returns what held, what did not, and the tries.
    fn search(capacity: u32, first: u32, lies: &[usize]) -> (Option<u32>, Option<u32>, usize) {
        let mut search = Search::new(first, 0.05);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            search.tell(rate, (rate <= capacity) != lies.contains(&tries));
            tries += 1;
            assert!(tries < 200, "it ends");
        }
        (search.held(), search.failed(), tries)
    }

    proptest! {
        #[test]
        fn the_answer_is_within_the_precision_whatever_the_first_rate(capacity in 1..HIGHEST, first in 1..HIGHEST) {
            let (held, failed, tries) = search(capacity, first, &[]);
            let (held, failed) = (held.unwrap(), failed.unwrap());
            prop_assert!(held <= capacity && capacity < failed);
            prop_assert!(failed - held <= 1 || f64::from(failed - held) <= 0.05 * f64::from(held));
            prop_assert!(tries <= 60, "{tries}");
        }

        /// What a disturbance made fail once holds the second and the third time.
        #[test]
        fn one_disturbance_does_not_change_the_answer(capacity in 100..100_000_u32, lie in 0..20_usize) {
            let (held, _, _) = search(capacity, 100, &[]);
            let (disturbed, _, _) = search(capacity, 100, &[lie]);
            let (held, disturbed) = (held.unwrap(), disturbed.unwrap());
            prop_assert!(disturbed.abs_diff(held) * 10 <= held, "{held} {disturbed}");
        }
    }

    #[test]
    fn a_search_that_is_cut_short_knows_what_held() {
        let mut search = Search::new(100, 0.05);
        for (rate, held) in [(100, true), (200, true), (400, false)] {
            search.tell(rate, held);
        }
        assert_eq!((search.best(), search.failed()), (Some(200), None));
    }

    #[test]
    fn a_server_that_keeps_up_with_nothing_or_with_everything_is_told_too() {
        assert_eq!((search(0, 100, &[]).0, search(0, 100, &[]).1), (None, Some(1)));
        assert_eq!((search(u32::MAX, 100, &[]).0, search(u32::MAX, 100, &[]).1), (Some(HIGHEST), None));
    }
}
