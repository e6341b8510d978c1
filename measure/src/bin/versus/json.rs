//! Everything that was measured, as JSON.

use measure::machine::Machine;
use serde_json::{Value, json};

use crate::comparison::Results;
use crate::grid::{Heads, Keys, Transport};
use crate::results::Sample;

/// Every sample of every round.
pub(crate) fn render(results: &Results, machine: &Machine) -> String {
    let cells: Vec<Value> = results
        .cells
        .iter()
        .map(|cell| {
            let group = cell.group;
            json!({
                "transport": match group.setup.transport { Transport::Tcp => "tcp", Transport::Unix => "unix" },
                "value_bytes": group.setup.value_bytes,
                "keys": group.setup.keys(results.keys),
                "distribution": match group.keys { Keys::Uniform => "uniform", Keys::Zipf => "zipf:0.99" },
                "write_percent": group.write_percent,
                "heads": match group.heads { Heads::Plain => "plain", Heads::Differing => "differing" },
                "depth": cell.depth,
                "rounds": by_server(results, &cell.samples),
            })
        })
        .collect();
    let loads: Vec<Value> = results
        .steps
        .iter()
        .map(|step| json!({ "share": step.share, "rounds": by_server(results, &step.samples) }))
        .collect();
    let servers: Vec<Value> = results
        .servers
        .iter()
        .map(|server| json!({ "name": server.name, "version": server.version, "stores": server.stores() }))
        .collect();
    let document = json!({
        "date": machine.date,
        "commit": machine.commit,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "virtual": machine.hypervisor.is_some(),
        "kernel": machine.kernel,
        "command": results.command,
        "connections": results.connections,
        "seconds": results.seconds,
        "server_cores": results.server_cores,
        "load_cores": results.load_cores,
        "servers": servers,
        "cells": cells,
        "loads": loads,
    });
    format!("{document:#}\n")
}

fn by_server(results: &Results, samples: &[Vec<Option<Sample>>]) -> Value {
    let named = results.servers.iter().zip(samples).map(|(server, rounds)| {
        let rounds: Vec<Value> =
            rounds.iter().map(|round| round.as_ref().map_or(Value::Null, sample)).collect();
        (server.name.clone(), Value::Array(rounds))
    });
    Value::Object(named.collect())
}

fn sample(sample: &Sample) -> Value {
    let rounded = |number: f64| (number * 1e3).round() / 1e3;
    let [p50, p99, p999, max] = sample.latency_us;
    json!({
        "requests": sample.requests,
        "seconds": rounded(sample.seconds),
        "requests_per_second": sample.rate().round(),
        "cpu_ns": rounded(sample.cpu_ns),
        "user_ns": rounded(sample.user_ns),
        "kernel_ns": rounded(sample.cpu_ns - sample.user_ns),
        "server_busy": rounded(sample.server_busy),
        "load_busy": rounded(sample.load_busy),
        "latency_us": { "p50": p50, "p99": p99, "p999": p999, "max": max },
        "never_sent": sample.never_sent,
    })
}
