//! Holds what a pair of calls costs to recorded numbers of instructions, which repeat exactly where
//! times do not. Counted by callgrind, as the difference of two lengths of run, and taken above what
//! the C library itself needs: that part is not ours.
//!
//! A bound that a change exceeds is a finding. One that a change falls well below is recorded anew.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Link, Outcome, compile, folder, library, root, run_for};

const SHORT: u64 = 1000;
const LONG: u64 = 6000;

/// What says which hooks are in force: a variable and its value.
type Variable = (&'static str, &'static str);

/// What a configuration adds to a malloc and a free of 64 bytes, in instructions, callbacks included.
/// As counted with rustc 1.95 and gcc 12 on x86-64, and 2 % on top for other compilers.
const BOUNDS: [(&str, Option<Variable>, f64); 12] = [
    ("no hook", None, 4.0),
    ("one observer", Some(("BENCH_HOOKS", "o")), 93.0),
    ("four observers", Some(("BENCH_HOOKS", "oooo")), 268.0),
    ("one passing interceptor", Some(("BENCH_HOOKS", "i")), 131.0),
    ("four passing interceptors", Some(("BENCH_HOOKS", "iiii")), 971.0),
    ("accounting", Some(("BENCH_HOOKS", "a")), 159.0),
    ("one observer that keeps errno", Some(("BENCH_HOOKS", "O")), 81.0),
    ("four observers that keep errno", Some(("BENCH_HOOKS", "OOOO")), 256.0),
    ("one passing interceptor that keeps errno", Some(("BENCH_HOOKS", "I")), 119.0),
    ("accounting that keeps errno", Some(("BENCH_HOOKS", "A")), 147.0),
    ("the tool usage", Some(("MEMHOOK", "usage")), 167.0),
    ("the tool check", Some(("MEMHOOK", "check")), 266.0),
];

/// The same of the manual page's idiom in glibc's variables: compiled with the header, and as an object from before glibc
/// 2.34.
const VARIABLES: [(&str, &[&str], f64); 4] = [
    ("__malloc_hook, passing", &["-DSOURCE"], 618.0),
    ("__malloc_hook, accounting", &["-DSOURCE", "-DACCOUNTING"], 801.0),
    ("old binary, passing", &[], 628.0),
    ("old binary, accounting", &["-DACCOUNTING"], 810.0),
];

fn is_installed(program: &str) -> bool {
    let quiet = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn total(program: &Path, environment: &[(&str, String)], hooks: u64, operations: u64) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["pair", &format!("ops={operations}")]).envs(environment.iter().cloned());
    let Outcome { status, stdout, stderr } = run_for(&mut command, 120);
    assert_eq!(status, 0, "{stderr}");
    let [done, _, calls, callbacks]: [u64; 4] = stdout
        .split_whitespace()
        .take(4)
        .map(|word| word.parse().expect("the workload prints numbers"))
        .collect::<Vec<_>>()
        .try_into()
        .expect("four numbers");
    assert_eq!((done, calls), (operations, 2 * operations));
    assert_eq!(callbacks, calls * hooks, "every hook is called for every call");
    let counted = stderr.lines().find_map(|line| line.split("Collected : ").nth(1));
    counted.and_then(|count| count.trim().parse().ok()).expect("callgrind says what it collected")
}

fn per_pair(program: &Path, environment: &[(&str, String)], hooks: u64) -> f64 {
    let (short, long) = (total(program, environment, hooks, SHORT), total(program, environment, hooks, LONG));
    (long - short) as f64 / (LONG - SHORT) as f64
}

fn build(folder: &Path) -> (PathBuf, PathBuf) {
    let source = |name: &str| root().join("benches/c").join(name);
    let workload = compile(&source("workload.c"), &folder.join("workload"), Link::None).arg("-O2").run();
    let hooks = compile(&source("hooks.c"), &folder.join("hooks.so"), Link::Plugin).arg("-O2").run();
    (workload, hooks)
}

fn variables(folder: &Path, options: &[&str]) -> PathBuf {
    let from = root().join("benches/c/legacy.c");
    let to = folder.join(format!("variables{}.so", options.concat()));
    let build = if options.contains(&"-DSOURCE") {
        compile(&from, &to, Link::Plugin).arg("-include").arg("memhook/glibc.h")
    } else {
        compile(&from, &to, Link::None).arg("-shared").arg("-fPIC")
    };
    build.arg("-O2").args(options).run()
}

#[test]
fn instructions_per_pair_stay_within_their_bounds() {
    if !is_installed("valgrind") {
        eprintln!("skipped: instructions_per_pair_stay_within_their_bounds: valgrind is not installed");
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: instructions_per_pair_stay_within_their_bounds: the bounds are x86-64's");
        return;
    }
    let (workload, hooks) = build(&folder("cost"));
    let glibc = per_pair(&workload, &[], 0);
    let mut exceeded = Vec::new();
    let mut compare = |name: &str, preload: String, variable: Option<Variable>, hooks: u64, bound: f64| {
        let mut environment = vec![("LD_PRELOAD", preload)];
        environment.extend(variable.map(|(name, value)| (name, value.to_owned())));
        let added = per_pair(&workload, &environment, hooks) - glibc;
        println!("{name}: {added:.1} instructions over {glibc:.1}, at most {bound:.1} are allowed");
        if added > bound * 1.02 {
            exceeded.push(format!("{name}: {added:.1} instead of {bound:.1}"));
        }
    };
    for (name, what, bound) in BOUNDS {
        let mut preload = library().display().to_string();
        if what.is_some() {
            preload += &format!(":{}", hooks.display());
        }
        let count =
            what.filter(|(name, _)| *name == "BENCH_HOOKS").map_or(0, |(_, hooks)| hooks.len() as u64);
        compare(name, preload, what, count, bound);
    }
    for (name, options, bound) in VARIABLES {
        let object = variables(&folder("cost-variables"), options);
        compare(name, format!("{}:{}", library().display(), object.display()), None, 1, bound);
    }
    assert!(exceeded.is_empty(), "{}", exceeded.join("; "));
}
