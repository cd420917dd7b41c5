//! The run as an SVG picture: time on the x axis, one panel per subject, outages and phases as marks.

use std::fmt::Write as _;
use std::time::Duration;

/// The width of the picture.
const WIDTH: f64 = 1200.0;
/// The height of one panel.
const PANEL: f64 = 210.0;
/// The space above each panel, for its title and legend.
const TITLE: f64 = 34.0;
/// The space at the left, for the numbers of the y axes.
const LEFT: f64 = 80.0;
/// The space at the right.
const RIGHT: f64 = 20.0;
/// The space above the first panel, for the title of all and the names of the phases.
const TOP: f64 = 64.0;
/// The space below the last panel, for the numbers of the x axis.
const BOTTOM: f64 = 50.0;
/// The number of steps of an axis, about.
const STEPS: f64 = 6.0;

/// A value at a time since the start.
pub(crate) type Point = (Duration, f64);

/// One line of a panel.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) colour: &'static str,
    /// In the order of time; a `NaN` interrupts the line.
    pub(crate) points: Vec<Point>,
}

/// The spacing of a panel's values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By powers of ten.
    Log,
}

/// One panel.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) scale: Scale,
    pub(crate) lines: Vec<Line>,
    /// A value that is marked across the panel, with its name.
    pub(crate) limit: Option<(f64, &'static str)>,
}

/// A span of time that is marked in all panels; a moment has no length.
pub(crate) struct Mark {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) colour: &'static str,
}

/// A name for the time from a moment on.
pub(crate) struct Caption {
    pub(crate) from: Duration,
    pub(crate) words: &'static str,
}

/// The whole picture.
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) length: Duration,
    pub(crate) captions: Vec<Caption>,
    pub(crate) marks: Vec<Mark>,
    /// The legend of the marks: names with their colours.
    pub(crate) mark_names: Vec<(&'static str, &'static str)>,
    pub(crate) panels: Vec<Panel>,
}

impl Picture {
    /// Returns the text of the file.
    pub(crate) fn svg(&self) -> String {
        let mut svg = Svg::new(self.height());
        svg.text((LEFT, 22.0), "start", 15.0, &self.title);
        self.mark_legend(&mut svg);
        for (number, panel) in self.panels.iter().enumerate() {
            let frame = self.frame(number, panel);
            self.marks(&mut svg, &frame);
            frame.draw(&mut svg, panel);
        }
        self.captions(&mut svg);
        self.time_axis(&mut svg);
        svg.end()
    }

    fn height(&self) -> f64 {
        let panels: f64 = self.panels.iter().map(|_| PANEL + TITLE).sum();
        TOP + panels + BOTTOM
    }

    fn x(&self, at: Duration) -> f64 {
        let part = at.as_secs_f64() / self.length.as_secs_f64().max(1.0);
        LEFT + part.min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn frame(&self, number: usize, panel: &Panel) -> Frame<'_> {
        let above: f64 = self.panels.iter().take(number).map(|_| PANEL + TITLE).sum();
        Frame {
            picture: self,
            top: TOP + above + TITLE,
            axis: Axis::of(panel),
        }
    }

    fn mark_legend(&self, svg: &mut Svg) {
        let mut x = LEFT;
        for (name, colour) in &self.mark_names {
            svg.rect((x, 32.0), (10.0, 10.0), colour, 0.8);
            svg.text((x + 14.0, 41.0), "start", 11.0, name);
            x += 130.0;
        }
    }

    fn marks(&self, svg: &mut Svg, frame: &Frame<'_>) {
        for mark in &self.marks {
            let x = self.x(mark.from);
            let width = (self.x(mark.to) - x).max(1.5);
            svg.rect((x, frame.top), (width, PANEL), mark.colour, 0.45);
        }
    }

    fn captions(&self, svg: &mut Svg) {
        for caption in &self.captions {
            let x = self.x(caption.from);
            svg.line((x, TOP - 6.0), (x, self.height() - BOTTOM), "#888", "4 4");
            svg.text((x + 3.0, TOP + 4.0), "start", 11.0, caption.words);
        }
    }

    fn time_axis(&self, svg: &mut Svg) {
        let minutes = self.length.as_secs_f64() / 60.0;
        let y = self.height() - BOTTOM + 18.0;
        let step = round_step(minutes / (2.0 * STEPS));
        let mut at = 0.0;
        while at <= minutes {
            let x = self.x(Duration::from_secs_f64(at * 60.0));
            svg.text((x, y), "middle", 11.0, &number(at));
            at += step;
        }
        svg.text(
            (WIDTH / 2.0, y + 18.0),
            "middle",
            12.0,
            "minutes since the start",
        );
    }
}

/// A panel's place in the picture.
struct Frame<'a> {
    picture: &'a Picture,
    top: f64,
    axis: Axis,
}

impl Frame<'_> {
    fn draw(&self, svg: &mut Svg, panel: &Panel) {
        svg.text((LEFT, self.top - 8.0), "start", 13.0, panel.title);
        let mut x = WIDTH - RIGHT;
        for line in panel.lines.iter().rev() {
            x -= 120.0;
            svg.rect((x, self.top - 16.0), (14.0, 4.0), line.colour, 1.0);
            svg.text((x + 18.0, self.top - 9.0), "start", 11.0, line.name);
        }
        for value in self.axis.steps() {
            let y = self.y(value);
            svg.line((LEFT, y), (WIDTH - RIGHT, y), "#ddd", "none");
            svg.text((LEFT - 6.0, y + 4.0), "end", 11.0, &number(value));
        }
        if let Some((value, name)) = panel.limit
            && value <= self.axis.to
        {
            let y = self.y(value);
            svg.line((LEFT, y), (WIDTH - RIGHT, y), "#c00", "6 4");
            svg.text((WIDTH - RIGHT, y - 4.0), "end", 11.0, name);
        }
        for line in &panel.lines {
            for part in line.points.split(|(_, value)| value.is_nan()) {
                let points = part.iter();
                let points = points.map(|(at, value)| (self.picture.x(*at), self.y(*value)));
                svg.polyline(points, line.colour);
            }
        }
        let size = (WIDTH - LEFT - RIGHT, PANEL);
        svg.outline((LEFT, self.top), size);
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - self.axis.part(value))
    }
}

/// The values that a panel shows.
struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(panel: &Panel) -> Self {
        let values = panel.lines.iter().flat_map(|line| &line.points);
        let values = values.map(|(_, value)| *value).filter(|value| *value > 0.0);
        let (least, most) = values.fold((f64::MAX, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        match panel.scale {
            Scale::Linear => {
                let step = round_step(most.max(1.0) / STEPS);
                Self {
                    scale: Scale::Linear,
                    from: 0.0,
                    to: (most.max(1.0) / step).ceil() * step,
                }
            }
            Scale::Log => Self {
                scale: Scale::Log,
                from: power_below(least.min(1.0)),
                to: power_below(most.max(10.0)) * 10.0,
            },
        }
    }

    /// Returns the place of a value, from 0 at the bottom to 1 at the top.
    fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => value / self.to,
            Scale::Log => {
                (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
            }
        };
        part.clamp(0.0, 1.0)
    }

    fn steps(&self) -> Vec<f64> {
        let mut steps = Vec::new();
        match self.scale {
            Scale::Linear => {
                let step = round_step(self.to / STEPS);
                let mut value = 0.0;
                while value <= self.to * 1.001 {
                    steps.push(value);
                    value += step;
                }
            }
            Scale::Log => {
                let mut value = self.from;
                while value <= self.to * 1.001 {
                    steps.push(value);
                    value *= 10.0;
                }
            }
        }
        steps
    }
}

/// Returns the power of ten that is not above a value.
fn power_below(value: f64) -> f64 {
    10_f64.powf(value.max(1e-3).log10().floor())
}

/// Returns 1, 2 or 5 times a power of ten, at least the value.
fn round_step(value: f64) -> f64 {
    let power = power_below(value);
    let factors = [1.0, 2.0, 5.0, 10.0];
    let enough = factors.into_iter().find(|factor| factor * power >= value);
    enough.unwrap_or(10.0) * power
}

/// Writes a number without needless digits.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The text of an SVG file in the making.
struct Svg(String);

impl Svg {
    fn new(height: f64) -> Self {
        let mut svg = Self(String::new());
        svg.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\">"
        ));
        svg.rect((0.0, 0.0), (WIDTH, height), "#fff", 1.0);
        svg
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{element}");
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, size: f64, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, dashes: &str) {
        self.add(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" \
             stroke-dasharray=\"{dashes}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    fn rect(&mut self, at: (f64, f64), size: (f64, f64), colour: &str, opacity: f64) {
        self.add(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\" \
             fill-opacity=\"{opacity}\"/>",
            at.0, at.1, size.0, size.1
        ));
    }

    fn outline(&mut self, at: (f64, f64), size: (f64, f64)) {
        self.add(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#333\"/>",
            at.0, at.1, size.0, size.1
        ));
    }

    fn polyline(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        let mut text = String::new();
        for (x, y) in points {
            // Writing to a string does not fail.
            let _ = write!(text, "{x:.1},{y:.1} ");
        }
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\"/>",
            text.trim_end()
        ));
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (value, step) in [
            (0.3, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (30.0, 50.0),
            (51.0, 100.0),
        ] {
            assert!((round_step(value) - step).abs() < 1e-9, "{value}");
        }
        assert_eq!(number(0.5), "0.5");
        assert_eq!(number(100.0), "100");
    }

    #[test]
    fn a_panel_has_its_lines_within_its_frame_and_interrupts_them_at_nan() {
        let points = [1.0, 250.0, f64::NAN, 4_000.0];
        let at = |(second, value): (u64, &f64)| (Duration::from_secs(second), *value);
        let panel = Panel {
            title: "a < b",
            scale: Scale::Log,
            lines: vec![Line {
                name: "p99",
                colour: "#00f",
                points: (0..).zip(&points).map(at).collect(),
            }],
            limit: None,
        };
        let picture = Picture {
            title: "a run".to_owned(),
            length: Duration::from_secs(3),
            captions: Vec::new(),
            marks: Vec::new(),
            mark_names: Vec::new(),
            panels: vec![panel],
        };
        let svg = picture.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a &lt; b"));
        // The least value is the bottom of the frame, and ten thousand the top.
        assert!(svg.contains(&format!("points=\"{LEFT:.1},{:.1} ", TOP + TITLE + PANEL)));
        assert!(svg.contains(">10000</text>"));
    }
}
