//! What all pictures share: colours for light and dark, a title, a legend, and panels with axes.

use super::{axis::Axis, label::float};

/// Its ground is drawn too, since a viewer may have another than the reader's scheme asks for. The colours of lines are
/// those of Okabe and Ito, which colour-blind readers can tell apart, made darker or brighter for each ground.
const STYLE: &str = include_str!("style.css");

const WIDTH: f64 = 640.0;
const MARGIN: f64 = 16.0;
/// Room for the numbers beside a panel, with the large letters of a narrow screen.
const LEFT: f64 = 92.0;
const RIGHT: f64 = 24.0;
const PANEL: f64 = WIDTH - LEFT - RIGHT;
const ROW: f64 = 24.0;
/// How wide a letter of the legend may be there, and a sign with the space around it.
const LETTER: f64 = 11.5;
const SIGN: f64 = 46.0;
const LONGEST_NAME: usize = 40;
const LONGEST_CAPTION: usize = 62;

/// Grows downwards.
#[derive(Debug)]
pub(super) struct Picture {
    title: String,
    body: String,
    height: f64,
}

#[derive(Debug)]
pub(super) struct Panel<'a> {
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    top: f64,
    height: f64,
}

/// How something is drawn, in a panel and in the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Line,
    Dashes,
    Dot,
    Cross,
    /// Pale, so that what is behind it is seen.
    Area,
    Cell,
}

/// A sign, and its colour as a class of the style.
pub(super) type Look = (Sign, &'static str);

/// Lines differ by their colours, and more than these by dashes.
pub(super) fn line(place: usize) -> Look {
    const COLOURS: [&str; 6] = ["s1", "s2", "s3", "s4", "s5", "s6"];
    let sign = if (place / COLOURS.len()).is_multiple_of(2) { Sign::Line } else { Sign::Dashes };
    (sign, COLOURS[place % COLOURS.len()])
}

impl Picture {
    pub(super) fn new(title: &str) -> Self {
        let title = escaped(title);
        let body = format!("<text class=\"title\" x=\"{MARGIN}\" y=\"27\">{title}</text>\n");
        Self { title, body, height: 40.0 }
    }

    /// In as many rows as it takes.
    pub(super) fn legend<'n>(&mut self, entries: impl IntoIterator<Item = (Look, &'n str)>) {
        let mut x = MARGIN;
        let mut y = self.height + ROW / 2.0;
        for ((sign, colour), name) in entries {
            let name = shortened(name, LONGEST_NAME);
            let width = SIGN + LETTER * float(name.chars().count());
            if x > MARGIN && x + width > WIDTH {
                (x, y) = (MARGIN, y + ROW);
            }
            match sign {
                Sign::Line | Sign::Dashes => self.path((sign, colour), &format!("M{x:.1} {y:.1}h22")),
                Sign::Area | Sign::Cell => self.path((sign, colour), &format!("M{x:.1} {:.1}h22v12h-22z", y - 6.0)),
                Sign::Dot | Sign::Cross => self.mark((sign, colour), (x + 11.0, y)),
            }
            self.text("", (x + 28.0, y + 5.0), &name);
            x += width;
        }
        self.height = y + ROW / 2.0;
    }

    /// Draws the axes too. Names are above the panel and below it, and may be empty.
    pub(super) fn panel<'a>(
        &mut self,
        height: f64,
        (x, x_name): (&'a Axis, &str),
        (y, y_name): (&'a Axis, &str),
    ) -> Panel<'a> {
        if !y_name.is_empty() {
            self.text("", (LEFT, self.height + 18.0), y_name);
            self.height += 14.0;
        }
        let panel = Panel { x, y, top: self.height + 14.0, height };
        let (right, bottom) = (WIDTH - RIGHT, panel.bottom());
        let ticks = y.ticks().count();
        for (number, (place, name)) in y.ticks().enumerate() {
            let is_inner = number > 0 && number + 1 < ticks;
            if is_inner && height < 20.0 * float(ticks - 1) {
                continue;
            }
            let at = bottom - place * height;
            self.push(&format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
            self.text("end", (LEFT - 8.0, at + 5.0), name);
        }
        let ticks = x.ticks().count();
        for (number, (place, name)) in x.ticks().enumerate() {
            let at = LEFT + place * PANEL;
            self.push(&format!("<path class=\"grid\" d=\"M{at:.1} {:.1}V{bottom:.1}\"/>", panel.top));
            // A narrow screen has room for half of them.
            let class = if ticks > 4 && number % 2 == 1 { " wide" } else { "" };
            let (class, at) =
                if place > 0.96 { (format!("end{class}"), WIDTH - 6.0) } else { (format!("middle{class}"), at) };
            self.text(&class, (at, bottom + 22.0), name);
        }
        self.height = bottom + 32.0;
        if !x_name.is_empty() {
            self.text("middle", (f64::midpoint(LEFT, right), bottom + 46.0), x_name);
            self.height += 24.0;
        }
        panel
    }

    /// Has a gap where there is no point, or one that is no number. A point between gaps is a dot.
    pub(super) fn line(&mut self, look: Look, panel: &Panel<'_>, points: impl IntoIterator<Item = Option<(f64, f64)>>) {
        let points: Vec<_> = points.into_iter().map(|point| point.and_then(|point| panel.at(point))).collect();
        for line in points.split(Option::is_none) {
            let line: Vec<(f64, f64)> = line.iter().flatten().copied().collect();
            match line[..] {
                [] => {}
                [point] => self.mark((Sign::Dot, look.1), point),
                _ => {
                    let points: Vec<String> = line.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
                    self.path(look, &format!("M{}", points.join("L")));
                }
            }
        }
    }

    /// From one corner to the other.
    pub(super) fn area(&mut self, look: Look, panel: &Panel<'_>, one: (f64, f64), other: (f64, f64)) {
        if let (Some((left, bottom)), Some((right, top))) = (panel.at(one), panel.at(other)) {
            self.path(look, &format!("M{left:.1} {bottom:.1}H{right:.1}V{top:.1}H{left:.1}z"));
        }
    }

    /// A dot or a cross.
    pub(super) fn point(&mut self, look: Look, panel: &Panel<'_>, point: (f64, f64)) {
        if let Some(point) = panel.at(point) {
            self.mark(look, point);
        }
    }

    /// Above what a panel has at this height.
    pub(super) fn caption(&mut self, panel: &Panel<'_>, y: f64, text: &str) {
        self.text(
            "caption",
            (MARGIN, panel.bottom() - panel.y.place(y) * panel.height),
            &shortened(text, LONGEST_CAPTION),
        );
    }

    /// For what a picture draws by itself.
    pub(super) fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    pub(super) fn finish(self) -> String {
        let Self { title, body, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
             <style>\n{STYLE}</style>\n<rect class=\"cell ground\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
        )
    }

    fn mark(&mut self, (sign, colour): Look, (x, y): (f64, f64)) {
        match sign {
            Sign::Cross => self.path((Sign::Line, colour), &format!("M{:.1} {:.1}l9 9m0-9l-9 9", x - 4.5, y - 4.5)),
            _ => self.push(&format!("<circle class=\"cell {colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")),
        }
    }

    fn path(&mut self, (sign, colour): Look, path: &str) {
        let class = match sign {
            Sign::Dashes => "line dashes",
            Sign::Area => "area",
            Sign::Cell => "cell",
            _ => "line",
        };
        self.push(&format!("<path class=\"{class} {colour}\" d=\"{path}\"/>"));
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.push(&format!("<text{class} x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text)));
    }
}

impl Panel<'_> {
    /// Where a point is, or the nearest that is within the panel. None if it is no number.
    fn at(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let at = (LEFT + self.x.place(x) * PANEL, self.bottom() - self.y.place(y) * self.height);
        (!x.is_nan() && !y.is_nan()).then_some(at)
    }

    /// For what is drawn in cells, counted from the lower left corner.
    pub(super) fn transform(&self, columns: usize, rows: usize) -> String {
        let (width, height) = (PANEL / float(columns), self.height / float(rows));
        format!("translate({LEFT} {:.1}) scale({width:.4} -{height:.4})", self.bottom())
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}

/// A control character has no place in XML.
fn escaped(text: &str) -> String {
    let visible: String = text.chars().filter(|character| !character.is_control()).collect();
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
