use super::{
    axis::Axis,
    frame::{Picture, Sign},
    label::{self, float},
};

const ROW: f64 = 58.0;

/// The ratios of new figures to old ones.
pub(crate) struct Comparison {
    /// What each ratio is of, such as a round.
    pub(crate) each: &'static str,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: String,
    /// One for each round, in their order.
    pub(crate) ratios: Vec<f64>,
    pub(crate) median: f64,
    /// In which the median of many more rounds would be.
    pub(crate) interval: (f64, f64),
    pub(crate) bound: Option<Bound>,
    pub(crate) met: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Comparison {
    pub(crate) fn draw(&self) -> String {
        let all = self.rows.iter().flat_map(|row| {
            let bound = row.bound.map(Bound::value);
            row.ratios.iter().copied().chain([row.median, row.interval.0, row.interval.1]).chain(bound)
        });
        let x = Axis::ratios(all);
        let y = Axis::rows(self.rows.len());
        let mut picture = Picture::new("New compared with old");
        picture.legend([
            ((Sign::Dot, "s1"), self.each),
            ((Sign::Line, "s0"), "median"),
            ((Sign::Area, "s1"), "its interval"),
            ((Sign::Area, "bad"), "fails"),
        ]);
        let panel = picture.panel(ROW * y.ends().1, (&x, "ratio of new to old, the first one at the top"), (&y, ""));
        for (place, row) in self.rows.iter().enumerate() {
            let top = y.ends().1 - float(place);
            let (high, low) = (top - 0.45, top - 0.95);
            let colour = if row.met { "s1" } else { "bad" };
            if let Some(bound) = row.bound {
                let end = if matches!(bound, Bound::AtMost(_)) { x.ends().1 } else { x.ends().0 };
                picture.area((Sign::Area, "bad"), &panel, (bound.value(), low), (end, high));
                picture.line((Sign::Dashes, "bad"), &panel, [low, high].map(|y| Some((bound.value(), y))));
            }
            // Many dots would hide the interval.
            let middle = high - (high - low) * 0.3;
            picture.area((Sign::Area, colour), &panel, (row.interval.0, middle), (row.interval.1, high));
            for (number, &ratio) in row.ratios.iter().enumerate() {
                let y = middle - (float(number) + 0.5) / float(row.ratios.len()) * (middle - low);
                picture.point((Sign::Dot, colour), &panel, (ratio, y));
            }
            picture.line((Sign::Line, "s0"), &panel, [low, high].map(|y| Some((row.median, y))));
            picture.caption(&panel, top - 0.32, &row.caption());
        }
        picture.finish()
    }
}

impl Row {
    fn caption(&self) -> String {
        let [median, low, high] = [self.median, self.interval.0, self.interval.1].map(told);
        let bound = match self.bound {
            Some(Bound::AtMost(bound)) => format!(", ≤ {}", label::number(bound)),
            Some(Bound::AtLeast(bound)) => format!(", ≥ {}", label::number(bound)),
            None => String::new(),
        };
        format!("{}: {median} ({low} to {high}){bound}", self.name)
    }
}

/// Ratios are near 1, where a thousandth says something.
fn told(ratio: f64) -> String {
    if (0.1..100.0).contains(&ratio) { format!("{ratio:.3}") } else { label::number(ratio) }
}

impl Bound {
    fn value(self) -> f64 {
        match self {
            Self::AtMost(bound) | Self::AtLeast(bound) => bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Comparison, Row};
    use crate::report::charts::tests::body;

    #[test]
    fn a_row_has_its_rounds_its_median_with_its_interval_and_its_bound() {
        let rows = vec![
            Row {
                name: "p99".to_owned(),
                ratios: vec![1.31, 1.18, 1.24],
                median: 1.24,
                interval: (1.18, 1.31),
                bound: Some(Bound::AtMost(1.1)),
                met: false,
            },
            Row {
                name: "answered a second".to_owned(),
                ratios: vec![0.97, 1.01],
                median: 0.99,
                interval: (0.97, 1.01),
                bound: Some(Bound::AtLeast(0.9)),
                met: true,
            },
            Row {
                name: "p50".to_owned(),
                ratios: vec![1.0],
                median: 1.0,
                interval: (1.0, 1.0),
                bound: None,
                met: true,
            },
        ];
        insta::assert_snapshot!(body(&Comparison { each: "a round", rows }.draw()));
    }
}
