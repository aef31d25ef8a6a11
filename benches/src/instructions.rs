//! Instructions for each pair of calls, counted by callgrind: the difference of two lengths of run.

use crate::configurations::{Configuration, Proof};
use crate::measure::PAIR;
use crate::table::Row;
use std::path::Path;
use std::process::Command;

const SHORT: u64 = 2000;
const LONG: u64 = 12000;

fn total(configuration: &Configuration, program: &Path, operations: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["pair", &format!("ops={operations}")])
        .envs(configuration.environment())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected : "))?.to_owned();
    line.rsplit(' ').next()?.parse().ok()
}

/// Instructions a pair by configuration, of those that run under valgrind.
pub fn count(all: &[Configuration], program: &Path) -> Result<Vec<(String, f64)>, String> {
    Command::new("valgrind").arg("--version").output().map_err(|_| "valgrind is not installed")?;
    let mut counts = Vec::new();
    for configuration in all.iter().filter(|c| !matches!(c.proof, Proof::Trace(_))) {
        crate::say(&format!("instructions: {:<40}", configuration.name));
        let (short, long) = (total(configuration, program, SHORT), total(configuration, program, LONG));
        if let (Some(short), Some(long)) = (short, long) {
            let each = (long.saturating_sub(short)) as f64 / (LONG - SHORT) as f64;
            counts.push((configuration.name.clone(), each));
        }
    }
    Ok(counts)
}

/// Writes the counts into the rows of the pair.
pub fn enter(counts: &[(String, f64)], rows: &mut [Row]) {
    for row in rows.iter_mut().filter(|row| row.workload == PAIR) {
        row.instructions =
            counts.iter().find(|(name, _)| *name == row.configuration).map(|&(_, count)| count);
    }
}
