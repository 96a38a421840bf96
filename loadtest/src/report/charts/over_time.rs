use std::time::Duration;

use super::{
    axis::Axis,
    frame::{Picture, line},
    label::{self, float},
};

/// Lines over the time of a run.
pub(crate) struct OverTime<'a> {
    pub(crate) title: &'a str,
    pub(crate) unit: Unit,
    pub(crate) step: Duration,
    pub(crate) lines: Vec<Line<'a>>,
}

pub(crate) enum Unit {
    Number,
    Millis,
}

pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    /// One for each step of time; none makes a gap in the line.
    pub(crate) values: Vec<Option<f64>>,
}

impl OverTime<'_> {
    pub(crate) fn draw(&self) -> String {
        let step = self.step.as_secs_f64();
        let steps = self.lines.iter().map(|line| line.values.len()).max().unwrap_or_default().max(1);
        let x = Axis::seconds(step * float(steps));
        let values = self.lines.iter().flat_map(|line| &line.values).flatten().copied();
        let y = Axis::linear(
            values,
            match self.unit {
                Unit::Number => label::number,
                Unit::Millis => label::millis,
            },
        );
        let mut picture = Picture::new(self.title);
        if self.lines.len() > 1 {
            picture.legend(self.lines.iter().enumerate().map(|(place, of)| (line(place), of.name)));
        }
        let panel = picture.panel(240.0, (&x, ""), (&y, ""));
        for (place, Line { values, .. }) in self.lines.iter().enumerate() {
            // A step is drawn in its middle.
            let points =
                values.iter().enumerate().map(|(number, value)| Some(((float(number) + 0.5) * step, (*value)?)));
            picture.line(line(place), &panel, points);
        }
        picture.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Line, OverTime, Unit};
    use crate::report::charts::tests::body;

    fn picture(values: Vec<Option<f64>>) -> String {
        let lines = vec![Line { name: "n", values }];
        OverTime { title: "t", unit: Unit::Number, step: Duration::from_secs(1), lines }.draw()
    }

    #[test]
    fn lines_have_their_names_and_scales() {
        let lines = vec![
            Line { name: "p50", values: vec![Some(1.0), Some(2.0), Some(1.5)] },
            Line { name: "p99", values: vec![Some(4.0), Some(9.0), Some(3.0)] },
        ];
        let picture = OverTime { title: "Latency", unit: Unit::Millis, step: Duration::from_secs(2), lines };
        insta::assert_snapshot!(body(&picture.draw()));
    }

    #[test]
    fn a_line_has_gaps_where_there_is_nothing_to_draw_and_a_dot_between_gaps() {
        let picture = body(&picture(vec![Some(1.0), Some(1.0), None, None, Some(2.0), None]));
        let lines: Vec<&str> = picture.lines().filter(|line| line.contains("\"line ")).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
