use model::{EventKind, Hour, Timestamp};
use rand::{Rng, RngExt};
use serde::Serialize;

use crate::workload::{
    kind::{Age, Kind, Method},
    visitors::{Visitor, Visitors},
};

const MILLIS_PER_HOUR: i64 = 3_600_000;

/// Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MixSettings {
    /// Of requests, the share that sends events. The others get counts.
    pub(crate) post_share: f64,
    /// Of requests with events, the share for the current hour.
    pub(crate) post_current: f64,
    /// Of requests for counts, the share for the current hour.
    pub(crate) get_current: f64,
    /// How many hours before the current one the other requests may be for.
    pub(crate) past_hours: u32,
    /// Of two past hours that are this many hours apart, the older one is half as likely.
    pub(crate) past_half_life_hours: f64,
    pub(crate) click_share: f64,
    pub(crate) visitors: u32,
    /// The exponent of Zipf's law, by which some visitors come more often than others.
    pub(crate) zipf: f64,
    /// Of requests with events, the share of batches.
    pub(crate) batch_share: f64,
    /// In events.
    pub(crate) batch_size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedEvent {
    pub(crate) at: Timestamp,
    pub(crate) visitor: Visitor,
    pub(crate) kind: EventKind,
}

impl PlannedEvent {
    pub(crate) fn hour(&self) -> Hour {
        Hour::containing(self.at)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    Post(PlannedEvent),
    Batch(Vec<PlannedEvent>),
    /// The counts of the hour that contains this time.
    Get(Timestamp),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) age: Age,
    pub(crate) task: Task,
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        let method = match &self.task {
            Task::Post(_) => Method::Post,
            Task::Batch(_) => Method::Batch,
            Task::Get(_) => Method::Get,
        };
        Kind { method, age: self.age }
    }
}

/// Chooses requests. The same seed gives the same choices at any time: past hours are counted back from the present.
#[derive(Debug)]
pub(crate) struct Mix {
    settings: MixSettings,
    visitors: Visitors,
    /// How likely a past hour is, relative to the one after it; below 1.
    decay: f64,
}

impl Mix {
    pub(crate) fn new(settings: MixSettings) -> Self {
        let visitors = Visitors::new(settings.visitors, settings.zipf);
        let decay = (-settings.past_half_life_hours.recip()).exp2();
        Self { settings, visitors, decay }
    }

    pub(crate) fn choose(&self, rng: &mut impl Rng, now: Timestamp) -> Request {
        let MixSettings { post_share, post_current, get_current, batch_share, batch_size, .. } = self.settings;
        if !rng.random_bool(post_share) {
            let age = choose_age(rng, get_current);
            return Request { age, task: Task::Get(self.choose_instant(rng, age, now)) };
        }
        let is_batch = rng.random_bool(batch_share);
        let age = choose_age(rng, post_current);
        let task = if is_batch {
            Task::Batch((0..batch_size).map(|_| self.choose_event(rng, age, now)).collect())
        } else {
            Task::Post(self.choose_event(rng, age, now))
        };
        Request { age, task }
    }

    fn choose_event(&self, rng: &mut impl Rng, age: Age, now: Timestamp) -> PlannedEvent {
        let at = self.choose_instant(rng, age, now);
        let visitor = self.visitors.choose(rng);
        let click = rng.random_bool(self.settings.click_share);
        PlannedEvent { at, visitor, kind: if click { EventKind::Click } else { EventKind::Impression } }
    }

    /// The present, or any instant of a past hour.
    fn choose_instant(&self, rng: &mut impl Rng, age: Age, now: Timestamp) -> Timestamp {
        if age == Age::Current {
            return now;
        }
        let hours_back = i64::from(self.choose_hours_back(rng));
        let within = rng.random_range(0..MILLIS_PER_HOUR);
        let at = Hour::containing(now).start().millis() - hours_back * MILLIS_PER_HOUR + within;
        Timestamp::from_millis(at).expect("the present is longer after 1970 than the most past hours")
    }

    /// How many hours back, from 1 on: a geometric distribution, cut off at the last past hour.
    fn choose_hours_back(&self, rng: &mut impl Rng) -> u32 {
        let hours = self.settings.past_hours;
        let whole = 1.0 - self.decay.powf(f64::from(hours));
        let chosen = (1.0 - rng.random::<f64>() * whole).ln() / self.decay.ln();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and the hours")]
        let before = chosen as u32;
        // Rounding may reach the end, which is just behind the last hour.
        before.min(hours - 1) + 1
    }
}

fn choose_age(rng: &mut impl Rng, current_share: f64) -> Age {
    if rng.random_bool(current_share) { Age::Current } else { Age::Past }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use model::{EventKind, Hour, Timestamp};
    use rand::{SeedableRng, rngs::StdRng};

    use super::{Mix, MixSettings, PlannedEvent, Request, Task};
    use crate::{settings::contract_mix, workload::kind::Age};

    const DRAWS: usize = 100_000;

    /// Requests chosen at the first, a middle and the last millisecond of an hour.
    fn requests(settings: MixSettings, seed: u64) -> Vec<(Timestamp, Request)> {
        let mix = Mix::new(settings);
        let mut rng = StdRng::seed_from_u64(seed);
        let start = 1_431_856_800_000;
        let present = [start, start + 303_000, start + 3_599_999].map(|millis| Timestamp::from_millis(millis).unwrap());
        present.iter().cycle().take(DRAWS).map(|&now| (now, mix.choose(&mut rng, now))).collect()
    }

    fn events(requests: &[(Timestamp, Request)]) -> Vec<PlannedEvent> {
        let events = requests.iter().flat_map(|(_, request)| match &request.task {
            Task::Post(event) => std::slice::from_ref(event),
            Task::Batch(events) => events,
            Task::Get(_) => &[],
        });
        events.copied().collect()
    }

    fn instants(request: &Request) -> Vec<Timestamp> {
        match &request.task {
            Task::Post(event) => vec![event.at],
            Task::Batch(events) => events.iter().map(|event| event.at).collect(),
            Task::Get(at) => vec![*at],
        }
    }

    /// Five standard deviations to either side of what is expected of so many draws.
    fn is_about(seen: usize, draws: usize, share: f64) -> bool {
        let (seen, draws) = (f64::from(u32::try_from(seen).unwrap()), f64::from(u32::try_from(draws).unwrap()));
        (seen - draws * share).abs() <= 5.0 * (draws * share * (1.0 - share)).sqrt()
    }

    #[test]
    fn half_are_posts_and_of_either_five_percent_are_for_past_hours() {
        let requests = requests(contract_mix(), 1);
        let gets = requests.iter().filter(|(_, request)| matches!(request.task, Task::Get(_)));
        let (gets, past_gets) = (gets.clone().count(), gets.filter(|(_, request)| request.age == Age::Past).count());
        let past = requests.iter().filter(|(_, request)| request.age == Age::Past).count();
        assert!(is_about(gets, DRAWS, 0.5), "{gets}");
        assert!(is_about(past_gets, gets, 0.05), "{past_gets} of {gets}");
        assert!(is_about(past - past_gets, DRAWS - gets, 0.05), "{}", past - past_gets);
    }

    #[test]
    fn every_share_is_as_it_was_asked_for() {
        let settings = MixSettings {
            post_share: 0.8,
            post_current: 0.7,
            get_current: 0.4,
            click_share: 0.3,
            batch_share: 0.25,
            batch_size: 3,
            ..contract_mix()
        };
        let requests = requests(settings, 2);
        let posts: Vec<_> = requests.iter().filter(|(_, request)| !matches!(request.task, Task::Get(_))).collect();
        assert!(is_about(posts.len(), DRAWS, 0.8));
        let batches = posts.iter().filter(|(_, request)| matches!(request.task, Task::Batch(_))).count();
        assert!(is_about(batches, posts.len(), 0.25), "{batches}");
        let current = posts.iter().filter(|(_, request)| request.age == Age::Current).count();
        assert!(is_about(current, posts.len(), 0.7), "{current}");
        let gets = requests.iter().filter(|(_, request)| matches!(request.task, Task::Get(_)));
        let current = gets.filter(|(_, request)| request.age == Age::Current).count();
        assert!(is_about(current, DRAWS - posts.len(), 0.4), "{current}");
        let events = events(&requests);
        assert_eq!(events.len(), posts.len() - batches + 3 * batches, "a batch holds as many events as were asked for");
        let clicks = events.iter().filter(|event| event.kind == EventKind::Click).count();
        assert!(is_about(clicks, events.len(), 0.3), "{clicks}");
    }

    #[test]
    fn the_present_is_asked_for_as_it_is_and_the_past_never_lies_in_the_current_hour() {
        for (now, request) in requests(contract_mix(), 3) {
            for at in instants(&request) {
                match request.age {
                    Age::Current => assert_eq!(at, now),
                    Age::Past => {
                        let hours = (Hour::containing(now).start().millis() - Hour::containing(at).start().millis())
                            / 3_600_000;
                        assert!((1..=72).contains(&hours), "{hours}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_hour_is_half_as_likely_as_one_a_half_life_later() {
        let settings = MixSettings {
            get_current: 0.0,
            post_share: 0.0,
            past_hours: 4,
            past_half_life_hours: 1.0,
            ..contract_mix()
        };
        let mut turns: HashMap<i64, usize> = HashMap::new();
        for (now, request) in requests(settings, 4) {
            let Task::Get(at) = request.task else { panic!("only counts are asked for") };
            let back = Hour::containing(now).start().millis() - Hour::containing(at).start().millis();
            *turns.entry(back / 3_600_000).or_default() += 1;
        }
        for (back, share) in [(1, 8.0 / 15.0), (2, 4.0 / 15.0), (3, 2.0 / 15.0), (4, 1.0 / 15.0)] {
            assert!(is_about(turns[&back], DRAWS, share), "{turns:?}");
        }
        assert_eq!(turns.len(), 4, "{turns:?}");
    }

    #[test]
    fn the_same_seed_makes_the_same_choices_at_another_time_too() {
        assert_eq!(requests(contract_mix(), 5), requests(contract_mix(), 5));
        assert_ne!(requests(contract_mix(), 5), requests(contract_mix(), 6));
        let mix = Mix::new(contract_mix());
        let choices = |start: i64| {
            let mut rng = StdRng::seed_from_u64(7);
            let requests = (0..1_000).map(|_| mix.choose(&mut rng, Timestamp::from_millis(start).unwrap()));
            let choices = requests.map(|request| {
                let instants = instants(&request).into_iter().map(|at| at.millis() - start);
                (request.kind().to_string(), instants.collect::<Vec<_>>())
            });
            choices.collect::<Vec<_>>()
        };
        assert_eq!(choices(1_431_856_800_000), choices(1_800_000_000_000));
    }
}
