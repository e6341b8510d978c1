//! The percentile distribution in HdrHistogram's text format, which its plotters read.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Lines per halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Renders a histogram of nanoseconds; the values in the text are milliseconds.
pub fn render(latency: &Histogram<u64>) -> String {
    let ms = |ns: f64| ns / 1e6;
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in latency.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let value = ms(step.value_iterated_to() as f64);
        let quantile = step.quantile_iterated_to();
        // Plotters expect a blank before the value, however long that is.
        let _ = write!(out, " {value:11.6} {quantile:14.12} {total:10}");
        // The last line is the maximum, an infinite distance away.
        if quantile < 1.0 {
            let _ = write!(out, " {:14.2}", 1.0 / (1.0 - quantile));
        }
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]",
        ms(latency.mean()),
        ms(latency.stdev())
    );
    let _ = writeln!(
        out,
        "#[Max     = {:12.6}, Total count    = {:12}]",
        ms(latency.max() as f64),
        latency.len()
    );
    let _ = writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        latency.buckets(),
        1_u32 << (u32::from(latency.sigfig()) * 10 / 3 + 1)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::latency_histogram;

    #[test]
    fn known_values_give_known_lines() {
        let mut latency = latency_histogram();
        for ms in 1..=100 {
            latency.record(ms * 1_000_000).unwrap();
        }
        let text = render(&latency);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        let fields =
            |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(fields(lines[2])[1..], ["0.000000000000", "1", "1.00"]);
        let median = lines
            .iter()
            .map(|line| fields(line))
            .find(|line| line.get(1).is_some_and(|quantile| quantile == "0.500000000000"));
        let median = median.unwrap();
        assert!(median[0].starts_with("50.0") && median[2] == "50" && median[3] == "2.00");
        let last = fields(lines[lines.len() - 4]);
        assert_eq!(last[1..], ["1.000000000000", "100"]);
        assert!(lines[lines.len() - 2].ends_with("Total count    =          100]"), "{text}");
        assert!(lines[lines.len() - 1].ends_with("SubBuckets     =         2048]"), "{text}");
    }

    #[test]
    fn a_blank_stands_before_every_value_however_long() {
        let mut latency = latency_histogram();
        for seconds in [1, 10, 100, 1000] {
            latency.record(seconds * 1_000_000_000).unwrap();
        }
        let text = render(&latency);
        let mut rows = text.lines().skip(2).take_while(|line| !line.starts_with('#'));
        assert!(rows.all(|row| row.starts_with(' ')), "{text}");
        assert!(text.contains("\n 10007.6"), "{text}");
    }

    #[test]
    fn an_empty_histogram_has_its_frame() {
        assert!(render(&latency_histogram()).contains("Total count    =            0"));
    }
}
