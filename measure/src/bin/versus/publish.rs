//! Puts the results where readers look for them: `docs/versus`, and the marked parts of two documents.

use std::fs;
use std::path::Path;

use measure::machine::{Machine, root};

use crate::comparison::Results;
use crate::markdown::{circumstances, cpu_table, grouped};
use crate::results::spread;

const BEGIN: &str = "<!-- versus: written by `versus --publish` -->\n";
const END: &str = "<!-- versus: end -->\n";

/// Files of the results.
const FILES: [&str; 5] = ["README.md", "results.json", "cpu.svg", "throughput.svg", "latency.svg"];

/// Lines of the table in README.
const SERVERS_MAX: usize = 6;

pub(crate) fn publish(results: &Results, machine: &Machine, out: &Path) -> Result<(), String> {
    let folder = root().join("docs/versus");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in FILES.iter().filter(|file| out.join(file).exists()) {
        fs::copy(out.join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    replace("README.md", &readme(results, machine))?;
    replace("docs/performance.md", &performance(results, machine))
}

/// One plot and six lines.
fn readme(results: &Results, machine: &Machine) -> String {
    let cells = results.of(results.groups()[0]);
    let mut out = String::from(
        "![CPU per request](docs/versus/cpu.svg)\n\n| CPU per request, ns (in user mode) |",
    );
    for cell in &cells {
        out.push_str(&format!(" pipelining {} |", cell.depth));
    }
    out.push_str(&format!("\n|---|{}\n", "---|".repeat(cells.len())));
    for server in results.present(&cells).into_iter().take(SERVERS_MAX) {
        let about = &results.servers[server];
        out.push_str(&format!("| {} |", about.label()));
        for cell in &cells {
            let total = spread(&cell.samples[server], |sample| sample.cpu_ns);
            let user = spread(&cell.samples[server], |sample| sample.user_ns);
            let text = total.zip(user).map_or_else(String::new, |(total, user)| {
                format!("{} ({})", grouped(total.median), grouped(user.median))
            });
            out.push_str(&format!(" {text} |"));
        }
        out.push('\n');
    }
    out.push_str(&format!(
        "\n{}, commit {}, {}, Linux {}: [all figures, with ranges](docs/versus/README.md).\n",
        machine.date, machine.commit, machine.cpu, machine.kernel
    ));
    out
}

fn performance(results: &Results, machine: &Machine) -> String {
    let base = results.groups()[0];
    let latency = if results.steps.is_empty() {
        ""
    } else {
        "\n![Latency against load](versus/latency.svg)\n"
    };
    format!(
        "{}\nCPU per request, ns (in user mode), ratio to the floor, range. {base}. All figures are in \
         [versus/README.md](versus/README.md).\n\n{}\n\
         ![CPU per request](versus/cpu.svg)\n{latency}",
        circumstances(results, machine),
        cpu_table(results, base)
    )
}

/// Replaces what stands between the marks in a document.
fn replace(document: &str, text: &str) -> Result<(), String> {
    let path = root().join(document);
    let old = fs::read_to_string(&path).map_err(|error| format!("{document}: {error}"))?;
    let (before, rest) = old.split_once(BEGIN).ok_or_else(|| format!("{document} has no mark"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("{document} has no end mark"))?;
    let new = format!("{before}{BEGIN}\n{text}\n{END}{after}");
    fs::write(&path, new).map_err(|error| format!("{document}: {error}"))
}
