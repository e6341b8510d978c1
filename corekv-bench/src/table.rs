//! Tables and numbers as the original prints them.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// A table with a box of ASCII characters around it.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Bold cyan, as the original's column heads.
const HEAD_COLOR: &str = "\x1b[1;36m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|title| title.to_uppercase()).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn render(&self, out: &mut String, color: bool) {
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                std::iter::once(&self.header)
                    .chain(&self.rows)
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let rule =
            widths.iter().fold("+".to_owned(), |line, &width| line + &"-".repeat(width + 2) + "+")
                + "\n";
        out.push_str(&rule);
        line(out, &self.header, &widths, |text, width, _| {
            paint(&format!("{text:^width$}"), HEAD_COLOR, color)
        });
        out.push_str(&rule);
        for row in &self.rows {
            line(out, row, &widths, |text, width, column| match column {
                0 => paint(&format!("{text:<width$}"), BOLD, color),
                _ if is_number(text) => format!("{text:>width$}"),
                _ => format!("{text:<width$}"),
            });
        }
        out.push_str(&rule);
    }
}

fn line(
    out: &mut String,
    cells: &[String],
    widths: &[usize],
    format: impl Fn(&str, usize, usize) -> String,
) {
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let _ = write!(out, "| {} ", format(cell, width, column));
    }
    out.push_str("|\n");
}

/// Numbers are set flush right, everything with a unit flush left.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

pub(super) fn paint(text: &str, code: &str, color: bool) -> String {
    if color { format!("{code}{text}{PLAIN}") } else { text.to_owned() }
}

/// A duration with the unit that suits it: `850 ns`, `12.3 µs`, `4.56 ms`, `1.23 s`.
pub(super) fn time(ns: f64) -> String {
    let (value, unit) = if ns < 1e3 {
        return format!("{ns:.0} ns");
    } else if ns < 1e6 {
        (ns / 1e3, "µs")
    } else if ns < 1e9 {
        (ns / 1e6, "ms")
    } else {
        (ns / 1e9, "s")
    };
    format!("{value:.*} {unit}", decimals(value))
}

/// A time of these latencies with its unit, or a dash if there are none.
pub(super) fn latency(latencies: &Histogram<u64>, ns: f64) -> String {
    if latencies.is_empty() { "-".to_owned() } else { time(ns) }
}

/// A percentile of these latencies with its unit, or a dash if there are none.
pub(super) fn percentile(latencies: &Histogram<u64>, percent: f64) -> String {
    latency(latencies, latencies.value_at_percentile(percent) as f64)
}

/// A number of bytes in powers of 1000, as the original counts.
pub(super) fn bytes(count: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 9.95 {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// Thousands from a thousand on, as the original counts.
pub(super) fn big(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{}k", (count + 500) / 1000) }
}

/// Three significant digits.
fn decimals(value: f64) -> usize {
    if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_adapt() {
        for (ns, expected) in [
            (0.0, "0 ns"),
            (999.0, "999 ns"),
            (1_000.0, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (850_000.0, "850 µs"),
            (1_000_000.0, "1.00 ms"),
            (99_990_000.0, "100 ms"),
            (1_500_000_000.0, "1.50 s"),
        ] {
            assert_eq!(time(ns), expected);
        }
        for (count, expected) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "1.0 kB"),
            (12_345_678.0, "12 MB"),
            (999_900.0, "1.0 MB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        for (count, expected) in [(0, "0"), (999, "999"), (1499, "1k"), (1500, "2k")] {
            assert_eq!(big(count), expected);
        }
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let mut table = Table::new(&["Stat", "50%"]);
        table.row(vec!["Req/Sec".into(), "1".into()]);
        table.row(vec!["Bytes/Sec".into(), "12 MB".into()]);
        let mut out = String::new();
        table.render(&mut out, false);
        assert_eq!(
            out,
            "+-----------+-------+\n\
             |   STAT    |  50%  |\n\
             +-----------+-------+\n\
             | Req/Sec   |     1 |\n\
             | Bytes/Sec | 12 MB |\n\
             +-----------+-------+\n"
        );
    }
}
