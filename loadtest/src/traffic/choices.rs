use std::sync::{Mutex, PoisonError};

use model::Timestamp;
use rand::{SeedableRng, rngs::StdRng};

use crate::workload::mix::{Mix, Request};

/// A seed repeats the choices of each user or, with a rate, of each request, which any user may make.
#[derive(Debug)]
pub(crate) struct Choices {
    seed: u64,
    /// One for each user, so that no user waits for the lock.
    of_users: Vec<Mutex<StdRng>>,
}

impl Choices {
    pub(crate) fn new(seed: u64, users: u32) -> Self {
        let of_users = (0..users).map(|user| Mutex::new(rng(seed, user.into()))).collect();
        Self { seed, of_users }
    }

    /// The next request of a user, or the request of this number.
    pub(super) fn choose(&self, mix: &Mix, user: usize, number: Option<u64>) -> Request {
        let now = Timestamp::now();
        if let Some(number) = number {
            return mix.choose(&mut rng(self.seed, number), now);
        }
        let mut rng = self.of_users[user % self.of_users.len()].lock().unwrap_or_else(PoisonError::into_inner);
        mix.choose(&mut *rng, now)
    }
}

fn rng(seed: u64, number: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests {
    use super::Choices;
    use crate::{
        settings::contract_mix,
        workload::mix::{Mix, Task},
    };

    /// Without the parts that depend on the time.
    fn chosen(choices: &Choices, mix: &Mix, user: usize, number: Option<u64>) -> String {
        let request = choices.choose(mix, user, number);
        match request.task {
            Task::Post(event) => format!("{} {}", request.kind(), event.visitor),
            _ => request.kind().to_string(),
        }
    }

    #[test]
    fn a_seed_repeats_the_requests_of_a_schedule_for_any_users() {
        let mix = Mix::new(contract_mix());
        let (forwards, backwards) = (Choices::new(7, 2), Choices::new(7, 3));
        let one: Vec<String> = (0..100).map(|number| chosen(&forwards, &mix, 0, Some(number))).collect();
        let mut other: Vec<String> = (0..100)
            .rev()
            .zip([0, 1, 2].into_iter().cycle())
            .map(|(n, user)| chosen(&backwards, &mix, user, Some(n)))
            .collect();
        other.reverse();
        assert_eq!(one, other);
    }

    #[test]
    fn a_seed_repeats_the_requests_of_each_user_without_a_schedule() {
        let mix = Mix::new(contract_mix());
        let (alone, together) = (Choices::new(7, 2), Choices::new(7, 2));
        let one: Vec<String> = (0..100).map(|_| chosen(&alone, &mix, 1, None)).collect();
        let other: Vec<String> =
            (0..200).map(|turn| chosen(&together, &mix, turn % 2, None)).skip(1).step_by(2).collect();
        assert_eq!(one, other);
    }
}
