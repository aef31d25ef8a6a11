//! Runs the workloads, round by round.

use crate::Options;
use crate::configurations::{Configuration, GLIBC, Proof};
use crate::table::{Row, Sample};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// One workload as it is asked for.
pub struct Workload {
    pub title: &'static str,
    name: &'static str,
    threads: u32,
    /// Whether one thread does the same by itself, so that both can be compared.
    scales: bool,
    /// Whether it consists of malloc and free of a few bytes, and nothing else.
    is_pair: bool,
}

const fn workload(title: &'static str, name: &'static str, threads: u32) -> Workload {
    let is_pass = matches!(name.as_bytes(), b"pass");
    Workload {
        title,
        name,
        threads,
        scales: threads > 1 && !is_pass,
        is_pair: matches!(name.as_bytes(), b"pair"),
    }
}

pub const PAIR: &str = "64-byte pair";

pub const WORKLOADS: [Workload; 7] = [
    workload(PAIR, "pair", 1),
    workload("64-byte pair, 2 threads", "pair", 2),
    workload("mix, 100,000 live blocks", "mix", 1),
    workload("mix, 2 threads", "mix", 2),
    workload("pass between 2 threads", "pass", 2),
    workload("realloc, 16 B to 64 KiB", "realloc", 1),
    workload("calloc, 1 MiB", "calloc", 1),
];

/// What `c/workload.c` prints.
struct Report {
    operations: u64,
    nanoseconds: u64,
    calls: u64,
    callbacks: u64,
    exact: bool,
}

fn parse(text: &str) -> Option<Report> {
    let mut words = text.split_whitespace();
    let mut number = || words.next()?.parse().ok();
    let (operations, nanoseconds, calls, callbacks) = (number()?, number()?, number()?, number()?);
    Some(Report { operations, nanoseconds, calls, callbacks, exact: words.next() == Some("check") })
}

/// Whether the hooks or the tool saw what the workload did; otherwise what they saw.
fn check(
    report: &Report,
    kind: &Workload,
    configuration: &Configuration,
    errors: &str,
) -> Result<(), String> {
    let at_least = |seen: u64, wanted: u64| {
        if seen >= wanted { Ok(()) } else { Err(format!("saw {seen} of {wanted} calls")) }
    };
    match configuration.proof {
        Proof::None => at_least(0, report.callbacks),
        Proof::Hooks(hooks) => at_least(report.callbacks, report.calls * hooks),
        Proof::NotEveryRealloc if kind.name == "realloc" => at_least(report.callbacks, 1),
        Proof::NotEveryRealloc => at_least(report.callbacks, report.calls),
        Proof::Exact => report.exact.then_some(()).ok_or_else(|| "did not check".to_owned()),
        Proof::Summary => {
            // " malloc|", the end of a colour, the count.
            let counts = errors.lines().filter(|line| {
                ["malloc|", "calloc|", "realloc|", "free|"].iter().any(|name| line.contains(name))
            });
            let number = |line: &str| line.split('|').nth(1)?.split_whitespace().nth(1)?.parse::<u64>().ok();
            at_least(counts.filter_map(number).sum(), report.calls)
        }
        Proof::Binary => {
            let path = configuration.trace.as_deref().unwrap_or(Path::new(""));
            let seen = memhook_trace::Trace::open(path).map_or(0, |trace| trace.count());
            let _ = fs::remove_file(path);
            at_least(seen, report.calls)
        }
        Proof::Trace(mark) => {
            let path = configuration.trace.as_deref().unwrap_or(Path::new(""));
            let text = fs::read(path).unwrap_or_default();
            let _ = fs::remove_file(path);
            let lines = text.split(|&byte| byte == b'\n');
            let marked = lines.filter(|l| l.windows(mark.len()).any(|w| w == mark.as_bytes())).count() as u64;
            // Each record names a new block; its free has another, or the same with another sign.
            at_least(marked, report.calls / 2)
        }
    }
}

/// Runs a workload on so many threads; nanoseconds an operation.
fn run(
    kind: &Workload,
    threads: u32,
    configuration: &Configuration,
    program: &Path,
    ms: u64,
) -> Result<f64, String> {
    let output = Command::new(program)
        .args([kind.name, &format!("ms={ms}"), &format!("threads={threads}")])
        .envs(configuration.environment())
        .output()
        .map_err(|error| error.to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, errors.lines().next().unwrap_or("")));
    }
    let report = parse(&String::from_utf8_lossy(&output.stdout)).ok_or("printed nothing")?;
    check(&report, kind, configuration, &errors)?;
    Ok(report.nanoseconds as f64 / report.operations as f64)
}

/// The rows of one workload: every configuration in every round.
pub fn rounds(kind: &Workload, all: &[Configuration], program: &Path, options: &Options) -> Vec<Row> {
    let able = |c: &&Configuration| (c.threads || kind.threads == 1) && (kind.is_pair || !c.pair_only);
    let mut samples: HashMap<(&str, u32), Vec<Option<f64>>> = HashMap::new();
    let mut failures: HashMap<&str, String> = HashMap::new();
    for round in 0..options.rounds {
        crate::say(&format!("{}: round {} of {}", kind.title, round + 1, options.rounds));
        for configuration in all.iter().filter(able) {
            let name = configuration.name.as_str();
            if failures.contains_key(name) {
                continue;
            }
            let mut measure = |threads: u32| {
                let took = run(kind, threads, configuration, program, options.ms);
                if let Err(reason) = &took {
                    failures.insert(name, reason.clone());
                }
                samples.entry((name, threads)).or_default().push(took.ok());
            };
            measure(kind.threads);
            if kind.scales {
                measure(1);
            }
        }
    }
    let of = |name: &str, threads: u32| samples.get(&(name, threads)).cloned().unwrap_or_default();
    all.iter()
        .filter(able)
        .map(|c| {
            let alone = if kind.scales { of(&c.name, 1) } else { Vec::new() };
            let [own, glibc, base] = [&c.name, GLIBC, c.base].map(|name| of(name, kind.threads));
            let sample = match failures.get(c.name.as_str()) {
                Some(reason) => Err(reason.clone()),
                None => Ok(Sample::new(&own, &glibc, &base, &alone)),
            };
            Row::new(kind.title, &c.name, c.base, sample)
        })
        .collect()
}
