//! A plot of lines as an SVG element. Colours are classes, which the page defines.

use std::fmt::Write;

/// The size of the drawing, in the units of its coordinates.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 240.0;

/// Room around the axes for their labels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 24.0;

/// Points of a line that are drawn; of more, the highest of each group is.
const DRAWN_MAX: usize = 1000;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Equal differences are equally far, from 0 on.
    Linear,
    /// Equal ratios are equally far.
    Logarithmic,
}

/// A line and its name.
#[derive(Debug)]
pub(super) struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// A line through these points, which are in the order of x.
    pub(super) fn new(name: &'static str, points: &[(f64, f64)]) -> Self {
        let group = points.len().div_ceil(DRAWN_MAX).max(1);
        let highest = |group: &[(f64, f64)]| {
            group.iter().copied().reduce(|one, other| if other.1 > one.1 { other } else { one })
        };
        Self { name, points: points.chunks(group).filter_map(highest).collect() }
    }
}

/// Writes a value beside its axis.
type Label = Box<dyn Fn(f64) -> String>;

/// A plot.
pub(super) struct Plot {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) label_x: Label,
    pub(super) label_y: Label,
    pub(super) lines: Vec<Line>,
}

/// One axis: its values, its ends on paper, and its ticks.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let high = values.clone().fold(0.0, f64::max);
        let (low, high) = match scale {
            Scale::Linear => (0.0, if high > 0.0 { high } else { 1.0 }),
            Scale::Logarithmic => {
                let low = values.filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min);
                let low = if low.is_finite() { low } else { 1.0 };
                let low = 10_f64.powf(low.log10().floor());
                (low, 10_f64.powf(high.max(low * 10.0).log10().ceil()))
            }
        };
        Self { scale, low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => {
                (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
            }
        };
        self.from + share * (self.to - self.from)
    }

    /// Powers of ten, or some round numbers.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Logarithmic => {
                let (first, last) = (self.low.log10().round(), self.high.log10().round());
                (first as i32..=last as i32).map(|power| 10_f64.powi(power)).collect()
            }
            Scale::Linear => {
                let rough = self.high / 5.0;
                let power = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0]
                    .map(|digit| digit * power)
                    .into_iter()
                    .find(|&step| step >= rough * 0.999)
                    .unwrap_or(power);
                let count = (self.high / step * 1.001).floor() as u32;
                (0..=count).map(|index| f64::from(index) * step).collect()
            }
        }
    }
}

impl Plot {
    /// The element.
    pub(super) fn svg(&self) -> String {
        let all = self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::new(self.x, all.clone().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::new(self.y, all.map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
        self.axes(&mut out, &x, &y);
        let drawn = self.lines.iter().filter(|line| !line.points.is_empty());
        let mut name_x = LEFT;
        for (line, color) in drawn.zip(["a", "b", "c", "d"].into_iter().cycle()) {
            let _ = write!(
                out,
                "<text x=\"{name_x}\" y=\"13\" class=\"k{color}\">{}</text>\n<polyline \
                 class=\"line {color}\" points=\"",
                line.name
            );
            name_x += 20.0 + 7.0 * line.name.len() as f64;
            for &(at, value) in &line.points {
                let _ = write!(out, "{:.1},{:.1} ", x.place(at), y.place(value));
            }
            out.push_str("\"/>\n");
            // A line of one point has no length.
            if let [(at, value)] = line.points[..] {
                let (at, value) = (x.place(at), y.place(value));
                let _ = writeln!(
                    out,
                    "<circle class=\"k{color}\" cx=\"{at:.1}\" cy=\"{value:.1}\" r=\"2.5\"/>"
                );
            }
        }
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in y.ticks() {
            let (at, label) = (y.place(tick), (self.label_y)(tick));
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{label}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        for tick in x.ticks() {
            let (at, label) = (x.place(tick), (self.label_x)(tick));
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{at:.1} {bottom}V{}\"/><text x=\"{at:.1}\" y=\"{}\" \
                 text-anchor=\"middle\">{label}</text>",
                bottom + 4.0,
                bottom + 16.0
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_values_have_their_places() {
        let axis = |scale, values: &[f64]| Axis::new(scale, values.iter().copied(), 0.0, 100.0);
        let linear = axis(Scale::Linear, &[3.0, 10.0]);
        assert_eq!(linear.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!([linear.place(0.0), linear.place(5.0), linear.place(10.0)], [0.0, 50.0, 100.0]);
        let logarithmic = axis(Scale::Logarithmic, &[20.0, 900.0]);
        assert_eq!(logarithmic.ticks(), [10.0, 100.0, 1000.0]);
        assert!((logarithmic.place(100.0) - 50.0).abs() < 1e-9);
        // Nothing to draw has axes all the same.
        assert_eq!(axis(Scale::Linear, &[]).ticks().len(), 6);
        assert_eq!(axis(Scale::Logarithmic, &[]).ticks(), [1.0, 10.0]);
    }

    #[test]
    fn of_many_points_the_highest_are_drawn() {
        let mut points: Vec<_> = (0..5000).map(|x| (f64::from(x), 1.0)).collect();
        points[1234].1 = 9.0;
        let line = Line::new("x", &points);
        assert_eq!(line.points.len(), DRAWN_MAX);
        assert!(line.points.contains(&(1234.0, 9.0)));
    }
}
