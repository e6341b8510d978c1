//! `--against`: two servers in turns, whose drift cancels.

mod util;

use corekv_bench::compare::{Comparison, Measured};
use corekv_bench::statistics::Verdict;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use util::{Double, Fault, bench, bench_json};

/// Turns of half a second on a machine that becomes slower by a fifth over the run: rates vary by
/// 2 %, latencies by 5 %. Returns the rounds of both servers, the second of which is this fast.
fn simulated(seed: u64, speed: f64) -> Comparison {
    const ROUNDS: usize = 12;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut normal = || {
        let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| unit()).sum::<f64>() - 6.0
    };
    let mut rounds: [[Vec<f64>; 2]; 3] = Default::default();
    for round in 0..ROUNDS {
        for (index, measured) in Measured::ALL.into_iter().enumerate() {
            let mut turn = |turn: usize, speed: f64| {
                let drift = 1.0 - 0.2 * (4 * round + turn) as f64 / (4 * ROUNDS) as f64;
                match measured {
                    Measured::Rate => 1e5 * speed * drift * (1.0 + 0.02 * normal()),
                    _ => 100.0 / speed / drift * (0.05 * normal()).exp(),
                }
            };
            let (a, b) = (turn(0, 1.0) + turn(3, 1.0), turn(1, speed) + turn(2, speed));
            rounds[index][0].push(a / 2.0);
            rounds[index][1].push(b / 2.0);
        }
    }
    Comparison::of_rounds(["a", "b"].map(str::to_owned), ROUNDS, |measured| {
        let [a, b] = rounds[measured as usize].clone();
        (a, b)
    })
}

#[test]
fn drift_makes_no_difference_and_hides_none() {
    let cases = || (0..100).map(|seed| (simulated(seed, 1.0), simulated(seed, 1.05)));
    let is_called = |comparison: &Comparison| {
        Measured::ALL.iter().any(|&one| comparison.verdict(one) != Verdict::Equal)
    };
    let wrong = cases().filter(|(equal, _)| is_called(equal)).count();
    assert!(wrong <= 5, "{wrong} of 100 equal pairs differ");
    let seen =
        cases().filter(|(_, faster)| faster.verdict(Measured::Rate) == Verdict::Higher).count();
    assert!(seen >= 95, "{seen} of 100 different pairs differ");
}

/// The verdicts that the turns of a run make by themselves, whatever the machine did meanwhile.
fn judged(json: &Value) -> Comparison {
    let turns = json["turns"].as_array().unwrap();
    let of_side = |measured: Measured, side: &str| {
        let mean = |round: &[Value]| {
            let turns = round.iter().filter(|turn| turn["side"] == side);
            turns.map(|turn| turn[measured.key()].as_f64().unwrap()).sum::<f64>() / 2.0
        };
        turns.chunks(4).map(mean).collect()
    };
    Comparison::of_rounds(["a", "b"].map(str::to_owned), turns.len() / 4, |measured| {
        (of_side(measured, "a"), of_side(measured, "b"))
    })
}

#[test]
fn a_slower_server_is_worse() {
    // B takes 15 ms for each request of a connection, A next to nothing on a machine that is not busy.
    let (fast, slow) = (Double::start(Fault::None), Double::start(Fault::Slow(15)));
    let load =
        "--keys 50 --connections 2 --pipelining 2 --write-ratio 0 --requests 160 --rounds 10";
    let folder = tempfile::tempdir().unwrap();
    let (table, page) = (folder.path().join("table"), folder.path().join("page"));
    let of_runs = ["series.csv", "hgrm", "hdr.log"].map(|name| folder.path().join(name));
    let [series, hgrm, hdr_log] = of_runs.each_ref().map(|path| path.display());
    let files = format!(
        "--csv {} --html {} --series {series} --hgrm {hgrm} --hdr-log {hdr_log}",
        table.display(),
        page.display()
    );
    let (run, json) =
        bench_json(&format!("{} --against {} {load} --strict {files}", fast.uri, slow.uri));
    let turns = json["turns"].as_array().unwrap();
    // A B B A, and what a side sums up is the sum of its turns.
    let sides: Vec<_> = turns.iter().map(|turn| turn["side"].as_str().unwrap()).collect();
    assert_eq!((sides.len(), &sides[..8]), (40, &["a", "b", "b", "a", "a", "b", "b", "a"][..]));
    for turn in turns.iter().filter(|turn| turn["side"] == "b") {
        let value = |measured: Measured| turn[measured.key()].as_f64().unwrap();
        assert!(value(Measured::P50) >= 15_000.0 && value(Measured::Rate) <= 134.0, "{json}");
    }
    for (name, double) in [("a", &fast), ("b", &slow)] {
        let side = &json[name];
        assert_eq!((&side["lost"], &side["errors"]), (&0.into(), &0.into()), "{json}");
        assert_eq!(
            (&side["target"], &side["requests"]),
            (&double.uri.as_str().into(), &160.into())
        );
        // Lead-ins were sent and are not counted: of a turn of eight, one.
        let gets = double.requests().iter().filter(|line| line.starts_with("GET")).count();
        assert_eq!(gets, 160 + 20, "{json}");
    }
    let lines = turns.iter().map(|turn| {
        let value = |measured: Measured| turn[measured.key()].as_f64().unwrap();
        let [rate, p50, p99] = Measured::ALL.map(value);
        let side = turn["side"].as_str().unwrap();
        format!("{side},{},{rate:.1},{p50:.3},{p99:.3}\n", turn["round"])
    });
    let header = "side,round,requests_per_second,p50_us,p99_us\n".to_owned();
    let lines: String = std::iter::once(header).chain(lines).collect();
    assert_eq!(std::fs::read_to_string(table).unwrap(), lines);
    let page = std::fs::read_to_string(page).unwrap();
    for measured in Measured::ALL {
        assert!(page.contains(&format!("<h2>{} by round</h2>", measured.label())), "{page}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    // Each server has files of its own, as if it had been measured alone.
    for (side, double) in [("a", &fast), ("b", &slow)] {
        let read = |name: String| std::fs::read_to_string(folder.path().join(name)).unwrap();
        // A line for each of its turns, and all requests of the server that takes long enough to count.
        let series = read(format!("series.{side}.csv"));
        let turns = series.lines().skip(1).map(|line| {
            let value = |column| line.split(',').nth(column).unwrap().parse::<f64>().unwrap();
            value(1) * value(2)
        });
        let answered = turns.clone().sum::<f64>();
        assert!(turns.count() == 20 && (side == "a" || (answered - 160.0).abs() < 8.0), "{series}");
        assert!(read(format!("hgrm.{side}")).contains("Total count    =          160]"));
        let log = folder.path().join(format!("hdr.{side}.log"));
        let merged = bench(&format!("merge {} --json -", log.display()));
        let merged: Value = serde_json::from_str(&merged.stdout).unwrap();
        assert_eq!(
            (&merged["requests"], merged["all"]["p50_us"].as_f64()),
            (&160.into(), json[side]["all"]["p50_us"].as_f64())
        );
        assert_eq!(merged["runs"][0]["target"], double.uri.as_str());
    }
    assert!(of_runs.iter().all(|path| !path.exists()));
    let expected = judged(&json);
    let worse: Vec<_> = expected.worse().collect();
    assert_eq!(run.code, Some(i32::from(!worse.is_empty())), "{run:?}");
    let complaint = format!("B is worse in {}", worse.join(", "));
    let complains = run
        .stderr
        .lines()
        .any(|line| line.starts_with("corekv-bench: ") && line.ends_with(&complaint));
    assert_eq!(complains, !worse.is_empty(), "{run:?}");
    let results = &json["comparison"]["results"];
    for measured in Measured::ALL {
        let verdict = match expected.verdict(measured) {
            Verdict::Lower => "lower",
            Verdict::Equal => "equal",
            Verdict::Higher => "higher",
        };
        assert_eq!(results[measured.key()]["verdict"], verdict, "{json}");
    }
    assert_eq!(json["comparison"]["unit"], "round");
}

#[test]
fn the_server_inside_can_be_compared_and_faults_have_a_side() {
    let double = Double::start(Fault::Lose);
    let load = "--keys 50 --write-ratio 0 --requests 20000 --rounds 10";
    let run = bench(&format!("--against {} {load}", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("B: 1 lost values"), "{run:?}");
    assert!(run.stdout.contains("A: ") && run.stdout.contains(", server "), "{run:?}");
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let double = Double::start(Fault::None);
    let run = bench(&format!("{} --against http://127.0.0.1:1 --keys 50", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("connection refused"), "{run:?}");
}

#[test]
fn turns_that_are_too_short_are_refused() {
    let run = bench("http://127.0.0.1:1 --against http://127.0.0.1:1 --duration 1");
    assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
    assert!(run.stderr.contains("less than 50 ms"), "{run:?}");
}
