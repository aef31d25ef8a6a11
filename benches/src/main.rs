//! What an allocation call costs: without hooks, with hooks of memhook, and with what else can watch
//! allocations, measured side by side in one run and printed as one table.
//!
//! Every measurement is a process: a workload (`c/workload.c`) with the configuration preloaded. The
//! configurations take turns, round by round, so that what disturbs the machine disturbs all alike; a
//! ratio is taken within its round, and the table has the medians. A row counts only where its
//! callbacks were seen to be called as often as the workload made calls.
//!
//!     make bench              the table
//!     make bench WHOLE=1      and whole programs
//!     make bench SCALING=1    what grows with threads, hooks and blocks, instead
//!     memhook-bench --only pair --rounds 31 --ms 20 --config memhook

mod build;
mod configurations;
mod instructions;
mod measure;
mod programs;
mod table;

use std::io::IsTerminal;
use std::process::ExitCode;

/// What the command line says.
pub struct Options {
    whole: bool,
    scaling: bool,
    /// Only workloads and programs whose name contains this.
    only: Option<String>,
    /// Only configurations whose name contains this; glibc is always there to compare with.
    config: Option<String>,
    rounds: usize,
    ms: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options =
            Options { whole: false, scaling: false, only: None, config: None, rounds: 15, ms: 20 };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: a value is missing"));
            match word.as_str() {
                "--whole" => options.whole = true,
                "--scaling" => options.scaling = true,
                "--only" => options.only = Some(value()?),
                "--config" => options.config = Some(value()?),
                "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds takes a number")?,
                "--ms" => options.ms = value()?.parse().map_err(|_| "--ms takes a number")?,
                _ => return Err(format!("{word}: unknown; see the head of benches/src/main.rs")),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

/// Says on a terminal what is being done.
fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("memhook-bench: {error}");
            return ExitCode::from(2);
        }
    };
    let folder = build::folder();
    if options.scaling {
        let status = std::process::Command::new(build::scaling(&folder)).status();
        return if status.is_ok_and(|status| status.success()) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let workload = build::workload(&folder);
    let (mut all, skipped) = configurations::all(&folder);
    if let Some(only) = &options.config {
        all.retain(|c| c.name == configurations::GLIBC || c.name.contains(only.as_str()));
    }
    let mut rows = Vec::new();
    for kind in measure::WORKLOADS.iter().filter(|kind| options.wants(kind.title)) {
        rows.extend(measure::rounds(kind, &all, &workload, &options));
    }
    let mut missing = skipped;
    if options.wants("pair") {
        match instructions::count(&all, &workload) {
            Ok(counts) => instructions::enter(&counts, &mut rows),
            Err(reason) => missing.push(("instructions".into(), reason)),
        }
    }
    if options.whole {
        programs::rounds(&all, &folder, &options, &mut rows, &mut missing);
    }
    say("");
    table::print(&rows);
    for (name, reason) in missing {
        println!("skipped: {name}: {reason}");
    }
    ExitCode::SUCCESS
}
