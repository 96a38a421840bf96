use model::{EventKind, Hour, SiteName, Timestamp};
use rand::{Rng, RngExt};
use serde::{Serialize, Serializer};

use crate::workload::{
    kind::{Age, Kind, Method},
    phases::Phase,
    sites::{Site, SiteChoice, SiteHour},
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
    /// Of batches, the share of those that are of a source.
    pub(crate) source_share: f64,
    /// Of single events, the share that pixels send.
    pub(crate) pixel_share: f64,
    /// Of the other single events, the share that scripts send.
    pub(crate) script_share: f64,
    /// The first is the most frequent; none: all is for the site without a name.
    #[serde(serialize_with = "names")]
    pub(crate) sites: Vec<SiteName>,
    /// The exponent of Zipf's law, by which some sites get more requests than others.
    pub(crate) site_zipf: f64,
    /// How frequent each is relative to the others; none: by Zipf's law.
    pub(crate) site_shares: Vec<f64>,
}

fn names<S: Serializer>(sites: &[SiteName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(sites.iter().map(SiteName::as_str))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedEvent {
    pub(crate) site: Site,
    pub(crate) at: Timestamp,
    pub(crate) visitor: Visitor,
    pub(crate) kind: EventKind,
}

impl PlannedEvent {
    pub(crate) fn hour(&self) -> SiteHour {
        SiteHour { site: self.site, hour: Hour::containing(self.at) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    Post(PlannedEvent),
    Pixel(PlannedEvent),
    Script(PlannedEvent),
    Batch(Vec<PlannedEvent>),
    /// A batch of the user's source.
    Source(Vec<PlannedEvent>),
    /// The counts of an hour.
    Get(SiteHour),
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
            Task::Pixel(_) => Method::Pixel,
            Task::Script(_) => Method::Script,
            Task::Batch(_) => Method::Batch,
            Task::Source(_) => Method::Source,
            Task::Get(_) => Method::Get,
        };
        Kind { method, age: self.age }
    }
}

/// Chooses requests. The same seed gives the same choices at any time: past hours are counted back from the present. Only
/// whether events are clicks or impressions depends on the time.
#[derive(Debug)]
pub(crate) struct Mix {
    settings: MixSettings,
    visitors: Visitors,
    sites: SiteChoice,
    /// How likely a past hour is, relative to the one after it; below 1.
    decay: f64,
}

impl Mix {
    pub(crate) fn new(settings: MixSettings) -> Self {
        let visitors = Visitors::new(settings.visitors, settings.zipf);
        let sites = SiteChoice::new(settings.sites.len(), settings.site_zipf, &settings.site_shares);
        let decay = (-settings.past_half_life_hours.recip()).exp2();
        Self { settings, visitors, sites, decay }
    }

    pub(crate) fn choose(&self, rng: &mut impl Rng, now: Timestamp) -> Request {
        let MixSettings { post_share, post_current, get_current, batch_share, batch_size, source_share, .. } =
            self.settings;
        if !rng.random_bool(post_share) {
            let age = choose_age(rng, get_current);
            let (site, at) = (self.sites.choose(rng), self.choose_instant(rng, age, now));
            return Request { age, task: Task::Get(SiteHour { site, hour: Hour::containing(at) }) };
        }
        let is_batch = rng.random_bool(batch_share);
        let age = choose_age(rng, post_current);
        let task = if is_batch {
            let is_of_source = source_share > 0.0 && rng.random_bool(source_share);
            let events = (0..batch_size).map(|_| self.choose_event(rng, age, now)).collect();
            if is_of_source { Task::Source(events) } else { Task::Batch(events) }
        } else {
            self.choose_sender(rng)(self.choose_event(rng, age, now))
        };
        Request { age, task }
    }

    /// The kind of event of which none is on its way, if there should be one, and since when.
    pub(crate) fn silent(&self, now: Timestamp) -> Option<(EventKind, Phase)> {
        let since = Phase::silent_since(now, self.settings.click_share)?;
        let silent = match since.kind(self.settings.click_share) {
            EventKind::Click => EventKind::Impression,
            EventKind::Impression => EventKind::Click,
        };
        Some((silent, since))
    }

    fn choose_event(&self, rng: &mut impl Rng, age: Age, now: Timestamp) -> PlannedEvent {
        let site = self.sites.choose(rng);
        let at = self.choose_instant(rng, age, now);
        let visitor = self.visitors.choose(rng);
        PlannedEvent { site, at, visitor, kind: Phase::at(now).kind(self.settings.click_share) }
    }

    fn choose_sender(&self, rng: &mut impl Rng) -> fn(PlannedEvent) -> Task {
        let MixSettings { pixel_share, script_share, .. } = self.settings;
        if pixel_share > 0.0 && rng.random_bool(pixel_share) {
            Task::Pixel
        } else if script_share > 0.0 && rng.random_bool(script_share) {
            Task::Script
        } else {
            Task::Post
        }
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

    use model::{Hour, Timestamp};
    use rand::{SeedableRng, rngs::StdRng};

    use super::{Mix, MixSettings, PlannedEvent, Request, Task};
    use crate::{
        settings::contract_mix,
        workload::{kind::Age, sites::Site},
    };

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
            Task::Post(event) | Task::Pixel(event) | Task::Script(event) => std::slice::from_ref(event),
            Task::Batch(events) | Task::Source(events) => events,
            Task::Get(_) => &[],
        });
        events.copied().collect()
    }

    fn instants(request: &Request) -> Vec<Timestamp> {
        match &request.task {
            Task::Post(event) | Task::Pixel(event) | Task::Script(event) => vec![event.at],
            Task::Batch(events) | Task::Source(events) => events.iter().map(|event| event.at).collect(),
            Task::Get(asked) => vec![asked.hour.start()],
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
            batch_share: 0.25,
            batch_size: 3,
            source_share: 0.4,
            pixel_share: 0.2,
            script_share: 0.5,
            ..contract_mix()
        };
        let requests = requests(settings, 2);
        let posts: Vec<_> = requests.iter().filter(|(_, request)| !matches!(request.task, Task::Get(_))).collect();
        assert!(is_about(posts.len(), DRAWS, 0.8));
        let batches = posts.iter().filter(|(_, request)| matches!(request.task, Task::Batch(_) | Task::Source(_)));
        let of_sources = batches.clone().filter(|(_, request)| matches!(request.task, Task::Source(_))).count();
        let batches = batches.count();
        assert!(is_about(batches, posts.len(), 0.25), "{batches}");
        assert!(is_about(of_sources, batches, 0.4), "{of_sources}");
        let pixels = posts.iter().filter(|(_, request)| matches!(request.task, Task::Pixel(_))).count();
        let scripts = posts.iter().filter(|(_, request)| matches!(request.task, Task::Script(_))).count();
        assert!(is_about(pixels, posts.len() - batches, 0.2), "{pixels}");
        assert!(is_about(scripts, posts.len() - batches, 0.4), "{scripts}");
        let current = posts.iter().filter(|(_, request)| request.age == Age::Current).count();
        assert!(is_about(current, posts.len(), 0.7), "{current}");
        let gets = requests.iter().filter(|(_, request)| matches!(request.task, Task::Get(_)));
        let current = gets.filter(|(_, request)| request.age == Age::Current).count();
        assert!(is_about(current, DRAWS - posts.len(), 0.4), "{current}");
        let events = events(&requests);
        assert_eq!(events.len(), posts.len() - batches + 3 * batches, "a batch holds as many events as were asked for");
    }

    #[test]
    fn while_one_kind_is_sent_the_other_is_silent() {
        let mix = Mix::new(MixSettings { post_share: 1.0, ..contract_mix() });
        let mut rng = StdRng::seed_from_u64(2);
        let now = Timestamp::from_millis(1_431_856_800_050).unwrap();
        let (silent, _) = mix.silent(now).unwrap();
        for _ in 0..100 {
            let Task::Post(event) = mix.choose(&mut rng, now).task else { panic!("all are single events") };
            assert_ne!(event.kind, silent);
        }
    }

    #[test]
    fn the_present_is_asked_for_as_it_is_and_the_past_never_lies_in_the_current_hour() {
        for (now, request) in requests(contract_mix(), 3) {
            // Counts are those of an hour, whatever the instant.
            let present = if matches!(request.task, Task::Get(_)) { Hour::containing(now).start() } else { now };
            for at in instants(&request) {
                match request.age {
                    Age::Current => assert_eq!(at, present),
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
            let Task::Get(asked) = request.task else { panic!("only counts are asked for") };
            let back = Hour::containing(now).start().millis() - asked.hour.start().millis();
            *turns.entry(back / 3_600_000).or_default() += 1;
        }
        for (back, share) in [(1, 8.0 / 15.0), (2, 4.0 / 15.0), (3, 2.0 / 15.0), (4, 1.0 / 15.0)] {
            assert!(is_about(turns[&back], DRAWS, share), "{turns:?}");
        }
        assert_eq!(turns.len(), 4, "{turns:?}");
    }

    #[test]
    fn sites_are_chosen_for_events_and_counts_by_zipfs_law() {
        sites_are_chosen_for_events_and_counts(vec![], [6.0 / 11.0, 3.0 / 11.0, 2.0 / 11.0]);
    }

    #[test]
    fn sites_are_chosen_for_events_and_counts_by_their_shares() {
        sites_are_chosen_for_events_and_counts(vec![2.0, 7.0, 1.0], [0.2, 0.7, 0.1]);
    }

    fn sites_are_chosen_for_events_and_counts(site_shares: Vec<f64>, expected: [f64; 3]) {
        let sites = ["shop", "blog", "wiki"].map(|name| name.parse().unwrap()).to_vec();
        let settings =
            MixSettings { batch_share: 0.5, batch_size: 2, sites, site_zipf: 1.0, site_shares, ..contract_mix() };
        let requests = requests(settings, 8);
        let events: Vec<Site> = events(&requests).iter().map(|event| event.site).collect();
        let gets = requests.iter().filter_map(|(_, request)| match request.task {
            Task::Get(asked) => Some(asked.site),
            _ => None,
        });
        for chosen in [events, gets.collect()] {
            for (site, share) in (0..).zip(expected) {
                let seen = chosen.iter().filter(|&&chosen| chosen == site).count();
                assert!(is_about(seen, chosen.len(), share), "{site}: {seen} of {}", chosen.len());
            }
        }
    }

    #[test]
    fn without_names_all_is_for_the_site_without_one() {
        assert!(events(&requests(contract_mix(), 8)).iter().all(|event| event.site == 0));
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
