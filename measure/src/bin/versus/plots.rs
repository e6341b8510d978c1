//! The plots, as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::comparison::Results;
use crate::markdown::grouped;
use crate::results::{Cell, Sample, Step, spread};

/// Size of a plot, in pixels, but for the height of bars.
const WIDTH: u32 = 1080;
const TITLE: u32 = 60;
const ROW: u32 = 30;
const LATENCY_HEIGHT: u32 = 420;

/// Kernel and user mode.
const KERNEL: RGBColor = RGBColor(154, 176, 201);
const USER: RGBColor = RGBColor(214, 96, 60);

/// Servers, in order; told apart by people who see fewer colours as well (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(120, 120, 120),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// All plots: name of the file, and what is in it.
pub(crate) fn all(results: &Results) -> Result<Vec<(&'static str, String)>, String> {
    let base = results.of(results.groups()[0]);
    let failed = |error: Box<dyn std::error::Error>| format!("a plot can't be drawn: {error}");
    let title = |what: &str| format!("{what}: {}", base[0].group);
    let cpu = bars(results, &base, &title("CPU per request, ns"), |sample| {
        [sample.cpu_ns - sample.user_ns, sample.user_ns]
    });
    let rate = bars(results, &base, &title("Requests per second"), |sample| [sample.rate(), 0.0]);
    let mut plots =
        vec![("cpu.svg", cpu.map_err(failed)?), ("throughput.svg", rate.map_err(failed)?)];
    if !results.steps.is_empty() {
        plots.push(("latency.svg", latency(results).map_err(failed)?));
    }
    Ok(plots)
}

/// Stacked bars, a panel for each depth.
fn bars(
    results: &Results,
    cells: &[&Cell],
    title: &str,
    parts: impl Fn(&Sample) -> [f64; 2],
) -> Result<String, Box<dyn std::error::Error>> {
    let mut picture = String::new();
    let servers = results.present(cells);
    {
        let size = (WIDTH, TITLE + 40 + ROW * servers.len() as u32);
        let root = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        root.fill(&WHITE)?;
        let text = ("sans-serif", 17).into_font().into_text_style(&root);
        root.draw_text(title, &text, (12, 10))?;
        let has_parts = cells.iter().any(|cell| {
            cell.samples.iter().flatten().flatten().any(|sample| parts(sample)[1] > 0.0)
        });
        if has_parts {
            legend(&root)?;
        }
        let panels = root.margin(36, 0, 0, 0).split_evenly((1, cells.len()));
        for (panel, cell) in panels.iter().zip(cells) {
            draw_bars(panel, results, cell, &servers, &parts)?;
        }
        root.present()?;
    }
    Ok(picture)
}

fn legend(root: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let small = ("sans-serif", 14).into_font().into_text_style(root);
    for (x, colour, name) in [(WIDTH - 190, KERNEL, "kernel"), (WIDTH - 95, USER, "user")] {
        let x = x as i32;
        root.draw(&Rectangle::new([(x, 12), (x + 14, 26)], colour.filled()))?;
        root.draw_text(name, &small, (x + 20, 11))?;
    }
    Ok(())
}

fn draw_bars(
    panel: &Area<'_>,
    results: &Results,
    cell: &Cell,
    servers: &[usize],
    parts: impl Fn(&Sample) -> [f64; 2],
) -> Result<(), Box<dyn std::error::Error>> {
    let small = ("sans-serif", 13).into_font().into_text_style(panel);
    let right = small.pos(Pos::new(HPos::Right, VPos::Center));
    let left = small.pos(Pos::new(HPos::Left, VPos::Center));
    let (width, _) = panel.dim_in_pixel();
    panel.draw_text(&format!("depth {}", cell.depth), &small, (96, 4))?;
    let medians: Vec<Option<[f64; 2]>> = servers
        .iter()
        .map(|&server| {
            let rounds = &cell.samples[server];
            let first = spread(rounds, |sample| parts(sample)[0])?;
            let second = spread(rounds, |sample| parts(sample)[1])?;
            Some([first.median, second.median])
        })
        .collect();
    let longest = medians.iter().flatten().map(|[a, b]| a + b).fold(1.0, f64::max);
    // Names on the left, figures behind the bars.
    let (start, space) = (96, f64::from(width) - 96.0 - 84.0);
    for (row, (&server, median)) in servers.iter().zip(&medians).enumerate() {
        let top = 24 + row as i32 * ROW as i32;
        let (middle, bottom) = (top + ROW as i32 / 2 - 3, top + ROW as i32 - 8);
        panel.draw_text(&results.servers[server].name, &right, (start - 6, middle))?;
        let Some([first, second]) = median else { continue };
        let pixels = |figure: f64| (figure / longest * space) as i32;
        let (mid, end) = (start + pixels(*first), start + pixels(first + second));
        panel.draw(&Rectangle::new([(start, top), (mid, bottom)], KERNEL.filled()))?;
        panel.draw(&Rectangle::new([(mid, top), (end, bottom)], USER.filled()))?;
        panel.draw_text(&grouped(first + second), &left, (end + 6, middle))?;
    }
    Ok(())
}

/// Latency against the rate of requests, a panel for each percentile.
fn latency(results: &Results) -> Result<String, Box<dyn std::error::Error>> {
    let mut picture = String::new();
    {
        let root =
            SVGBackend::with_string(&mut picture, (WIDTH, LATENCY_HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        let text = ("sans-serif", 17).into_font().into_text_style(&root);
        root.draw_text("Latency against load, µs, requests at random times", &text, (12, 10))?;
        let (plots, names) = root.margin(36, 0, 0, 0).split_vertically(LATENCY_HEIGHT - 36 - 36);
        let panels = plots.split_evenly((1, 3));
        for (which, name) in ["50 %", "99 %", "99.9 %"].into_iter().enumerate() {
            draw_latency(&panels[which], results, which, name)?;
        }
        let small = ("sans-serif", 14).into_font().into_text_style(&names);
        for (server, about) in results.servers.iter().enumerate() {
            let x = 40 + 130 * server as i32;
            let colour = COLOURS[server % COLOURS.len()];
            names.draw(&Rectangle::new([(x, 10), (x + 18, 14)], colour.filled()))?;
            names.draw_text(&about.name, &small, (x + 24, 4))?;
        }
        root.present()?;
    }
    Ok(picture)
}

fn draw_latency(
    panel: &Area<'_>,
    results: &Results,
    which: usize,
    name: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<Vec<(f64, f64)>> =
        (0..results.servers.len()).map(|server| points(&results.steps, server, which)).collect();
    let all = || lines.iter().flatten();
    let rate_max = all().map(|(rate, _)| *rate).fold(1.0, f64::max);
    let latency_min = all().map(|(_, latency)| *latency).fold(f64::INFINITY, f64::min).max(1.0);
    let latency_max = all().map(|(_, latency)| *latency).fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(48)
        .caption(name, ("sans-serif", 15))
        .build_cartesian_2d(
            0.0..rate_max,
            (latency_min.min(latency_max) * 0.8..latency_max * 1.2).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_labels(5)
        .x_desc("requests per second")
        .x_label_formatter(&|rate| format!("{:.0}k", rate / 1e3))
        .y_label_formatter(&|latency| grouped(*latency))
        .light_line_style(WHITE)
        .draw()?;
    for (server, points) in lines.into_iter().enumerate() {
        let style = COLOURS[server % COLOURS.len()].stroke_width(2);
        chart.draw_series(LineSeries::new(points, style))?;
    }
    Ok(())
}

/// What a server reached at each load, up to the first that was too much for it.
fn points(steps: &[Step], server: usize, which: usize) -> Vec<(f64, f64)> {
    let kept = steps.iter().take_while(|step| {
        step.samples[server].iter().flatten().next().is_some()
            && !step.samples[server].iter().flatten().any(Sample::fell_behind)
    });
    kept.filter_map(|step| {
        let rate = spread(&step.samples[server], Sample::rate)?;
        let latency = spread(&step.samples[server], |sample| sample.latency_us[which])?;
        Some((rate.median, latency.median))
    })
    .collect()
}
