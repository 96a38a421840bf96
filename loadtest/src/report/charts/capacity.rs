use super::{
    axis::Axis,
    frame::{Look, Panel, Picture, Sign},
    label,
};

const P50: &str = "s1";
const P99: &str = "s2";
const ERRORS: &str = "s4";
const FOUND: &str = "s3";

/// What a server does at each rate, and the highest rate at which it keeps the gates.
pub(crate) struct Capacity {
    /// In any order.
    pub(crate) steps: Vec<Step>,
    pub(crate) found: Option<Found>,
    pub(crate) p50_bound_ms: Option<f64>,
    pub(crate) p99_bound_ms: Option<f64>,
}

pub(crate) struct Step {
    /// Requests a second that were asked for.
    pub(crate) rate: f64,
    /// None without an answer.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// A share, from 0 to 1.
    pub(crate) errors: f64,
    /// Whether every gate was kept.
    pub(crate) held: bool,
}

/// The capacity is between these.
pub(crate) struct Found {
    pub(crate) held: f64,
    /// None if every rate held.
    pub(crate) failed: Option<f64>,
}

type Latency = fn(&Step) -> Option<f64>;

impl Capacity {
    pub(crate) fn draw(&self) -> String {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let rates = steps.iter().map(|step| step.rate);
        let x = Axis::linear(rates.chain(self.found.iter().filter_map(|found| found.failed)), label::number);
        let latencies = steps
            .iter()
            .flat_map(|step| [step.p50_ms, step.p99_ms])
            .chain([self.p50_bound_ms, self.p99_bound_ms])
            .flatten();
        let y = Axis::log(latencies, label::millis);
        let errors = Axis::linear(steps.iter().map(|step| step.errors), label::percent);

        let mut picture = Picture::new("Latency and errors by rate");
        let mut legend = vec![((Sign::Line, P50), "p50".to_owned()), ((Sign::Line, P99), "p99".to_owned())];
        let bounds = [("p50", P50, self.p50_bound_ms), ("p99", P99, self.p99_bound_ms)];
        let bounds = bounds.into_iter().filter_map(|(name, colour, bound)| Some((name, colour, bound?)));
        for (name, colour, bound) in bounds.clone() {
            legend.push(((Sign::Dashes, colour), format!("bound of {name}: {}", label::millis(bound))));
        }
        legend.push(((Sign::Cross, "s0"), "did not hold".to_owned()));
        legend.extend(self.found.as_ref().map(|found| ((Sign::Area, FOUND), found.in_words())));
        picture.legend(legend.iter().map(|(look, name)| (*look, name.as_str())));

        let panel = picture.panel(230.0, (&x, ""), (&y, "latency"));
        self.draw_found(&mut picture, &panel);
        for (_, colour, bound) in bounds {
            picture.line((Sign::Dashes, colour), &panel, [x.ends().0, x.ends().1].map(|x| Some((x, bound))));
        }
        for (colour, of) in [(P50, (|step| step.p50_ms) as Latency), (P99, |step| step.p99_ms)] {
            picture.line((Sign::Line, colour), &panel, self.curve(&steps, of).into_iter().map(Some));
            for step in &steps {
                if let Some(latency) = of(step) {
                    picture.point(look(step, colour), &panel, (step.rate, latency));
                }
            }
        }
        let panel = picture.panel(70.0, (&x, "requests a second, as asked for"), (&errors, "errors"));
        self.draw_found(&mut picture, &panel);
        for step in steps {
            picture.point(look(step, ERRORS), &panel, (step.rate, step.errors));
        }
        picture.finish()
    }

    /// Through the median of the tries of each rate, as far as rates held.
    fn curve(&self, by_rate: &[&Step], of: Latency) -> Vec<(f64, f64)> {
        let last = self.found.as_ref().map_or(0.0, |found| found.held);
        let held: Vec<&Step> = by_rate.iter().copied().filter(|step| step.held && step.rate <= last).collect();
        let median = |tries: &[&Step]| {
            let mut latencies: Vec<f64> = tries.iter().filter_map(|step| of(step)).collect();
            latencies.sort_by(f64::total_cmp);
            Some((tries[0].rate, *latencies.get(latencies.len() / 2)?))
        };
        held.chunk_by(|one, other| one.rate.total_cmp(&other.rate).is_eq()).filter_map(median).collect()
    }

    fn draw_found(&self, picture: &mut Picture, panel: &Panel<'_>) {
        if let Some(Found { held, failed }) = self.found {
            let (from, to) = panel.y.ends();
            picture.area((Sign::Area, FOUND), panel, (held, from), (failed.unwrap_or(panel.x.ends().1), to));
            picture.line((Sign::Line, FOUND), panel, [from, to].map(|y| Some((held, y))));
        }
    }
}

impl Found {
    fn in_words(&self) -> String {
        let held = label::number(self.held);
        self.failed.map_or_else(
            || format!("capacity: {held}/s or more"),
            |failed| format!("capacity: {held} to {}/s", label::number(failed)),
        )
    }
}

fn look(step: &Step, colour: &'static str) -> Look {
    (if step.held { Sign::Dot } else { Sign::Cross }, colour)
}

#[cfg(test)]
mod tests {
    use super::{Capacity, Found, Step};
    use crate::report::charts::tests::body;

    #[test]
    fn steps_that_failed_are_apart_and_the_capacity_is_marked_from_what_held_to_what_failed() {
        let step = |rate, p50, p99, errors, held| Step { rate, p50_ms: Some(p50), p99_ms: Some(p99), errors, held };
        let steps = vec![
            step(100.0, 0.4, 0.9, 0.0, true),
            step(400.0, 2.0, 70.0, 0.02, false),
            step(200.0, 0.5, 1.2, 0.0, true),
            step(200.0, 0.6, 1.4, 0.0, true),
            step(200.0, 9.0, 30.0, 0.0, false),
            Step { rate: 800.0, p50_ms: None, p99_ms: None, errors: 1.0, held: false },
        ];
        let found = Some(Found { held: 200.0, failed: Some(400.0) });
        insta::assert_snapshot!(body(&Capacity { steps, found, p50_bound_ms: None, p99_bound_ms: Some(10.0) }.draw()));
    }
}
