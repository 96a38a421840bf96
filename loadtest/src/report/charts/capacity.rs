use super::{
    axis::Axis,
    frame::{Look, Picture, Sign},
    label,
};

const P50: &str = "s1";
const P99: &str = "s2";
const ERRORS: &str = "s4";

/// What a server does at each rate, and the highest rate at which it keeps the gates.
pub(crate) struct Capacity {
    /// In any order.
    pub(crate) steps: Vec<Step>,
    pub(crate) found: Option<Found>,
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

pub(crate) struct Found {
    pub(crate) rate: f64,
    /// The capacity is between so much less and so much more.
    pub(crate) error: f64,
}

impl Capacity {
    pub(crate) fn draw(&self) -> String {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let rates = steps.iter().map(|step| step.rate);
        let x = Axis::linear(rates.chain(self.found.iter().map(|found| found.rate + found.error)), label::number);
        let latencies = steps.iter().flat_map(|step| [step.p50_ms, step.p99_ms]).chain([self.p99_bound_ms]).flatten();
        let y = Axis::log(latencies, label::millis);
        let errors = Axis::linear(steps.iter().map(|step| step.errors), label::percent);

        let mut picture = Picture::new("Latency and errors by rate");
        let mut legend = vec![((Sign::Line, P50), "p50".to_owned()), ((Sign::Line, P99), "p99".to_owned())];
        legend.extend(self.p99_bound_ms.map(|bound| ((Sign::Dashes, P99), format!("bound: {}", label::millis(bound)))));
        legend.push(((Sign::Cross, "s0"), "a gate failed".to_owned()));
        legend.extend(self.found.as_ref().map(|Found { rate, error }| {
            ((Sign::Area, "s3"), format!("capacity: {} ± {}/s", label::number(*rate), label::number(*error)))
        }));
        picture.legend(legend.iter().map(|(look, name)| (*look, name.as_str())));

        let panel = picture.panel(230.0, (&x, ""), (&y, "latency"));
        self.draw_found(&mut picture, &panel);
        if let Some(bound) = self.p99_bound_ms {
            picture.line((Sign::Dashes, P99), &panel, [x.ends().0, x.ends().1].map(|x| Some((x, bound))));
        }
        for (colour, of) in [(P50, (|step| step.p50_ms) as fn(&Step) -> Option<f64>), (P99, |step| step.p99_ms)] {
            let point = |step: &&Step| Some((step.rate, of(step)?));
            picture.line(
                (Sign::Line, colour),
                &panel,
                steps.iter().filter(|step| step.held).filter_map(point).map(Some),
            );
            for step in &steps {
                if let Some(point) = point(step) {
                    picture.point(look(step, colour), &panel, point);
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

    fn draw_found(&self, picture: &mut Picture, panel: &super::frame::Panel<'_>) {
        if let Some(Found { rate, error }) = self.found {
            let (from, to) = panel.y.ends();
            picture.area((Sign::Area, "s3"), panel, (rate - error, from), (rate + error, to));
            picture.line((Sign::Line, "s3"), panel, [from, to].map(|y| Some((rate, y))));
        }
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
    fn steps_that_failed_are_apart_and_the_capacity_is_marked_with_its_error() {
        let step = |rate, p50, p99, errors, held| Step { rate, p50_ms: Some(p50), p99_ms: Some(p99), errors, held };
        let steps = vec![
            step(100.0, 0.4, 0.9, 0.0, true),
            step(400.0, 2.0, 70.0, 0.02, false),
            step(200.0, 0.5, 1.2, 0.0, true),
            Step { rate: 800.0, p50_ms: None, p99_ms: None, errors: 1.0, held: false },
        ];
        let found = Some(Found { rate: 250.0, error: 25.0 });
        insta::assert_snapshot!(body(&Capacity { steps, found, p99_bound_ms: Some(10.0) }.draw()));
    }
}
