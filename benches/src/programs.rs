//! Whole programs: how long they run, and what redis answers meanwhile.

use crate::Options;
use crate::build;
use crate::configurations::{Configuration, GLIBC, Proof};
use crate::table::{Row, Sample};
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const PORT: &str = "16399";

/// Named numbers of one run: seconds, or requests a second and the like.
type Figures = Vec<(&'static str, &'static str, f64)>;

struct Program {
    name: &'static str,
    command: Vec<String>,
    input: String,
}

const PYTHON: &str = "
import json
words = {}
for i in range(60000):
    words['key %d' % (i % 5000)] = [str(i), {'n': i}, (i, i + 1)]
text = json.dumps(words)
for i in range(12):
    json.loads(text)
print(len(text), sum(len(str(x)) for x in sorted(words.items())))
";

/// The programs that are there, and what is missing.
fn programs(folder: &Path, missing: &mut Vec<(String, String)>) -> Vec<Program> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut sql = String::from("create table t(a integer primary key, b text, c real); begin;\n");
    for i in 0..60000 {
        sql += &format!("insert into t values({i}, 'row number {i} of the table', {i}.5);\n");
    }
    sql += "commit; create index i on t(b); select count(*), sum(length(b)) from t where b like '%9%';\n\
            select b, count(*) from t group by substr(b, 1, 14) order by 2 desc limit 3;\n";
    let source = build::source("workload.c").display().to_string();
    let mut all = vec![
        Program {
            name: "python3, json",
            command: vec!["python3".into(), "-c".into(), PYTHON.into()],
            input: "".into(),
        },
        Program { name: "gcc -O2 -c", command: words("gcc -O2 -c -o /dev/null"), input: "".into() },
        Program { name: "sqlite3", command: words("sqlite3 :memory:"), input: sql },
    ];
    all[1].command.push(source);
    match build::program(folder, "map") {
        Ok(path) => all.push(Program {
            name: "C++ std::map",
            command: vec![path.display().to_string()],
            input: "".into(),
        }),
        Err(reason) => missing.push(("C++ std::map".into(), reason)),
    }
    all.retain(|program| {
        let there = find(&program.command[0]).is_some();
        if !there {
            missing.push((program.name.into(), format!("{} is not installed", program.command[0])));
        }
        there
    });
    all
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.exists())
}

/// Keeps a process and its children on one processor.
fn pinned(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt;
    let pin = || {
        // SAFETY: an all-zero set is a valid, empty one; `set` is as large as is said.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let last = libc::sysconf(libc::_SC_NPROCESSORS_ONLN) - 1;
            libc::CPU_SET(last as usize, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
        Ok(())
    };
    // SAFETY: system calls only.
    unsafe { command.pre_exec(pin) };
    command
}

fn run(program: &Program, configuration: &Configuration, proof: &Path) -> Result<Figures, String> {
    let mut command = pinned(Command::new(&program.command[0]));
    command.args(&program.command[1..]).envs(configuration.environment()).env("BENCH_PROOF", proof);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut input = child.stdin.take().ok_or("no input")?;
    let _ = input.write_all(program.input.as_bytes());
    drop(input);
    let status = child.wait().map_err(|error| error.to_string())?;
    let seconds = begin.elapsed().as_secs_f64();
    if status.success() { Ok(vec![("", "ms", seconds * 1e3)]) } else { Err(status.to_string()) }
}

/// A child that is ended when it goes out of scope.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: a child of ours that has not been waited for: its number is its own.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        let _ = self.0.wait();
    }
}

fn redis(configuration: &Configuration, proof: &Path) -> Result<Figures, String> {
    let mut command = pinned(Command::new("redis-server"));
    command.args(["--port", PORT, "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.envs(configuration.environment()).env("BENCH_PROOF", proof);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().map_err(|error| error.to_string())?);
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(format!("127.0.0.1:{PORT}")).is_err() {
        if Instant::now() > deadline {
            return Err("redis-server does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = Command::new("redis-benchmark")
        .args(["-p", PORT, "-t", "lpush", "-n", "60000", "-c", "20", "-P", "8", "-d", "100", "--csv"])
        .output()
        .map_err(|error| error.to_string())?;
    drop(server);
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().find(|line| line.starts_with("\"LPUSH\"")).ok_or("redis-benchmark said nothing")?;
    let figures: Vec<f64> =
        line.split(',').filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    // Test, requests a second, then latencies in ms: average, least, p50, p95, p99, most.
    let (rate, p99) = (figures.first().ok_or("no rate")?, figures.get(5).ok_or("no p99")?);
    Ok(vec![(", requests", "1000/s", rate / 1e3), (", p99", "us", p99 * 1e3)])
}

/// Whether the hooks were called: the preloaded object appends its count at the process's end.
fn check(configuration: &Configuration, proof: &Path) -> Result<(), String> {
    let text = fs::read_to_string(proof).unwrap_or_default();
    let _ = fs::remove_file(proof);
    let called: u64 = text.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    match configuration.proof {
        Proof::Hooks(_) if called == 0 => Err("no callback was called".into()),
        _ => Ok(()),
    }
}

/// The rows of all programs.
pub fn rounds(
    all: &[Configuration],
    folder: &Path,
    options: &Options,
    rows: &mut Vec<Row>,
    missing: &mut Vec<(String, String)>,
) {
    let mut names: Vec<(&'static str, Option<Program>)> =
        programs(folder, missing).into_iter().map(|program| (program.name, Some(program))).collect();
    if find("redis-server").is_some() && find("redis-benchmark").is_some() {
        names.push(("redis", None));
    } else {
        missing.push(("redis".into(), "redis-server is not installed".into()));
    }
    let proof = folder.join("proof");
    let able: Vec<&Configuration> = all.iter().filter(|c| c.threads && !c.pair_only).collect();
    for (name, program) in names.iter().filter(|(name, _)| options.wants(name)) {
        let mut samples: HashMap<(&str, &str), Vec<Option<f64>>> = HashMap::new();
        let mut failures: HashMap<&str, String> = HashMap::new();
        let mut kinds: Vec<(&'static str, &'static str)> = Vec::new();
        for round in 0..ROUNDS {
            crate::say(&format!("{name}: round {} of {ROUNDS}", round + 1));
            for configuration in &able {
                let _ = fs::remove_file(&proof);
                let figures = match program {
                    Some(program) => run(program, configuration, &proof),
                    None => redis(configuration, &proof),
                };
                let counted = figures.and_then(|figures| check(configuration, &proof).map(|()| figures));
                match counted {
                    Ok(figures) => {
                        for (kind, unit, value) in figures {
                            if !kinds.contains(&(kind, unit)) {
                                kinds.push((kind, unit));
                            }
                            samples.entry((&configuration.name, kind)).or_default().push(Some(value));
                        }
                    }
                    Err(reason) => {
                        failures.insert(&configuration.name, reason);
                    }
                }
            }
        }
        let of = |name: &str, kind: &'static str| samples.get(&(name, kind)).cloned().unwrap_or_default();
        for &(kind, unit) in &kinds {
            for c in &able {
                let sample = match failures.get(c.name.as_str()) {
                    Some(reason) => Err(reason.clone()),
                    None => Ok(Sample::new(&of(&c.name, kind), &of(GLIBC, kind), &of(c.base, kind), &[])),
                };
                rows.push(Row::new(&format!("{name}{kind}"), &c.name, c.base, sample).unit(unit));
            }
        }
    }
}
