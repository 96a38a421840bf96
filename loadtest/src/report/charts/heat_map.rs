use std::{fmt::Write, time::Duration};

use hdrhistogram::Histogram;

use super::{
    axis::Axis,
    frame::{Picture, Sign},
    label::{self, float, of_count},
};

/// From few requests to many.
const COLOURS: [&str; 7] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6"];
/// Rows of a factor of ten. More would be finer than histograms over time.
const ROWS: f64 = 40.0;
const MOST_ROWS: f64 = 48.0;

/// How many requests took how long, over the time of a run.
pub(crate) struct HeatMap<'a> {
    pub(crate) step: Duration,
    /// One for each step of time, in microseconds.
    pub(crate) latencies: Vec<&'a Histogram<u64>>,
}

impl HeatMap<'_> {
    pub(crate) fn draw(&self) -> String {
        let steps = self.latencies.len();
        let x = Axis::seconds(self.step.as_secs_f64() * float(steps.max(1)));
        let recorded = self.latencies.iter().filter(|latency| !latency.is_empty());
        let ends = recorded.flat_map(|latency| [latency.min().max(1), latency.max()]);
        let y = Axis::log(ends.map(|micros| of_count(micros) / 1e3), label::millis);
        let cells = Cells::new(&self.latencies, &y);
        let levels = levels(cells.counts.iter().copied().max().unwrap_or_default());
        let colour = |level: usize| COLOURS[level * (COLOURS.len() - 1) / (levels.len() - 1).max(1)];

        let mut picture = Picture::new("Latency over time");
        let names: Vec<String> = levels.iter().map(|&level| label::number(of_count(level))).collect();
        picture.legend(names.iter().enumerate().map(|(level, name)| ((Sign::Cell, colour(level)), name.as_str())));
        let panel = picture.panel(280.0, (&x, "colour: at least so many requests"), (&y, ""));
        let transform = panel.transform(steps.max(1), cells.rows);
        picture.push(&format!("<g shape-rendering=\"crispEdges\" transform=\"{transform}\">"));
        for level in 0..levels.len() {
            let path = cells.path(|count| levels.iter().rposition(|&least| count >= least) == Some(level));
            picture.push(&format!("<path class=\"cell {}\" d=\"{path}\"/>", colour(level)));
        }
        picture.push("</g>");
        picture.finish()
    }
}

/// Row by row, from the fastest.
struct Cells {
    rows: usize,
    steps: usize,
    counts: Vec<u64>,
}

impl Cells {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows are few")]
    fn new(latencies: &[&Histogram<u64>], y: &Axis) -> Self {
        let (from, to) = y.ends();
        let (rows, steps) = (((to / from).log10() * ROWS).clamp(8.0, MOST_ROWS) as usize, latencies.len());
        let mut counts = vec![0; rows * steps];
        for (step, latency) in latencies.iter().enumerate() {
            for value in latency.iter_recorded() {
                let row = (y.place(of_count(value.value_iterated_to()) / 1e3) * float(rows)) as usize;
                counts[row.min(rows - 1) * steps + step] += value.count_since_last_iteration();
            }
        }
        Self { rows, steps, counts }
    }

    /// Around the cells whose count is wanted. Neighbours in a row are one, which keeps a picture small.
    fn path(&self, is_wanted: impl Fn(u64) -> bool) -> String {
        let mut path = String::new();
        for (row, counts) in self.counts.chunks(self.steps.max(1)).enumerate() {
            let mut step = 0;
            for run in counts.chunk_by(|&one, &next| is_wanted(one) == is_wanted(next)) {
                if is_wanted(run[0]) {
                    let _ = write!(path, "M{step} {row}h{0}v1h-{0}z", run.len());
                }
                step += run.len();
            }
        }
        path
    }
}

/// The least count of each colour: of the numbers 1, 2, 5, 10 and so on, as many as there are colours.
fn levels(most: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
    let numbers = powers.flat_map(|power| [1, 2, 5].map(|factor| power.saturating_mul(factor)));
    let numbers: Vec<u64> = numbers.take_while(|&number| number <= most.max(1)).collect();
    let levels = COLOURS.len().min(numbers.len());
    (0..levels).map(|level| numbers[level * (numbers.len() - 1) / (levels - 1).max(1)]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HeatMap, levels};
    use crate::report::charts::tests::{body, histogram};

    #[test]
    fn a_cell_has_the_colour_of_its_count_and_steps_without_answers_have_none() {
        let steps = [histogram([(1_000, 400), (1_100, 30)]), histogram([]), histogram([(1_000, 400), (9_000, 1)])];
        let map = HeatMap { step: Duration::from_secs(1), latencies: steps.iter().collect() };
        insta::assert_snapshot!(body(&map.draw()));
    }

    #[test]
    fn levels_are_round_numbers() {
        assert_eq!(levels(0), [1]);
        assert_eq!(levels(60), [1, 2, 5, 10, 20, 50]);
        assert_eq!(levels(200), [1, 2, 5, 10, 20, 50, 200]);
        assert_eq!(levels(12_000), [1, 5, 20, 100, 500, 2_000, 10_000]);
        assert_eq!(levels(1_000_000), [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]);
        assert!(levels(u64::MAX).len() <= 7);
    }
}
