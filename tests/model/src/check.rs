//! Running a model: on the library as it is, and on the library with one ordering weakened.

use crate::models::{MODELS, Model};
use crate::world::{self, Kind, Mutation, Site, Variant};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many executions of a model a mutation is looked for in where there are no preemptions.
const MOST_WITHOUT: usize = 256;

/// The same with preemptions where readers' fences, which in loom synchronize, hide most of it anyhow.
const MOST_FENCED: usize = 400;

/// After so long, a process that tries a mutation is ended.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a model came to: how many executions there were and whether those were all, or the failure.
struct Outcome {
    executions: usize,
    complete: bool,
    failure: Option<String>,
}

fn check(
    model: &Model,
    variant: Variant,
    preemptions: usize,
    mutation: Option<Mutation>,
    most: Option<usize>,
) -> Outcome {
    let count = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.max_permutations = most;
    builder.checkpoint_interval = 64;
    let run = model.run;
    world::mutate(mutation);
    world::set_variant(variant);
    let failure = loop {
        count.store(0, Ordering::Relaxed);
        let counted = count.clone();
        let execution = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            run();
        };
        let Err(error) = catch_unwind(AssertUnwindSafe(|| builder.check(execution))) else {
            break None;
        };
        let text = error.downcast_ref::<String>().cloned();
        let text = text.or_else(|| error.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        if !text.contains(world::AGAIN) {
            break Some(text);
        }
    };
    world::mutate(None);
    let executions = count.load(Ordering::Relaxed);
    Outcome { executions, complete: most.is_none_or(|most| executions + 1 < most), failure }
}

/// Panics are how loom and the models say no; what is worth saying is said by who called `check`.
fn be_silent() {
    if std::env::var_os("MEMHOOK_PANICS").is_none() {
        std::panic::set_hook(Box::new(|_| ()));
    }
}

/// The model holds, in every interleaving with as few preemptions as its row says.
/// `MEMHOOK_PREEMPTIONS` is another bound for one run, `MEMHOOK_TRACE` shows the execution that fails.
pub(crate) fn holds(name: &str, variant: Variant) {
    be_silent();
    let model = MODELS.iter().find(|m| m.name == name).unwrap();
    let bound = std::env::var("MEMHOOK_PREEMPTIONS").ok().and_then(|p| p.parse().ok());
    let bound = bound.unwrap_or(model.preemptions);
    let begin = Instant::now();
    let outcome = check(model, variant, bound, None, None);
    let trace = world::take_trace().join("\n");
    let passed = begin.elapsed();
    println!("{name}, {variant:?}: {} executions, {bound} preemptions, {passed:.1?}", outcome.executions);
    if let Some(failure) = outcome.failure {
        eprintln!("{trace}\n{name}: {failure}");
        std::panic::resume_unwind(Box::new(failure));
    }
}

const VARIANTS: [Variant; 2] = [Variant::Membarrier, Variant::Fenced];

/// What an ordering is weakened to, one at a time.
fn weaker(site: &Site) -> &'static [Ordering] {
    match (site.kind, site.order) {
        (Kind::Fence, _) => &[Ordering::Relaxed],
        (_, "AcqRel") => &[Ordering::Acquire, Ordering::Release],
        _ => &[Ordering::Relaxed],
    }
}

/// A mutation as one word, to be given to another process.
fn word(site: &Site, to: Ordering) -> String {
    format!("{}:{}:{:?}:{}:{to:?}", site.file, site.line, site.kind, site.order)
}

/// Tries one mutation in one model, in a process of its own: what it breaks may be the process.
#[test]
#[ignore = "a part of every_weakened_ordering_is_caught"]
fn one_mutation() {
    let Ok(chosen) = std::env::var("MEMHOOK_MUTATION") else {
        return;
    };
    be_silent();
    let (mutation, rest) = chosen.split_once('@').unwrap();
    let &[name, variant, bound] = rest.split('@').collect::<Vec<_>>().as_slice() else { panic!("{rest}") };
    let variant = VARIANTS.into_iter().find(|v| format!("{v:?}") == variant).unwrap();
    let model = MODELS.iter().find(|m| m.name == name).unwrap();
    let mutation = Mutation::parse(mutation);
    let bound = bound.parse().unwrap();
    let chosen = std::env::var("MEMHOOK_MOST").ok().and_then(|m| m.parse().ok());
    let most = chosen.unwrap_or(match (bound, variant) {
        (0, _) => MOST_WITHOUT,
        (_, Variant::Fenced) if model.functions.is_empty() => MOST_FENCED,
        _ => model.most,
    });
    let outcome = check(model, variant, bound, Some(mutation), Some(most));
    match outcome.failure {
        Some(text) => println!("CAUGHT {}", text.trim().lines().next().unwrap_or("")),
        None if outcome.complete => println!("UNNOTICED"),
        None => println!("TOO LONG"),
    }
}

/// What a model said of a mutation.
enum Said {
    Caught(String),
    Nothing,
    TooLong,
}

fn ask(mutation: &str, model: &Model, variant: Variant, bound: usize) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["check::one_mutation", "--exact", "--nocapture", "--ignored"])
        .env("MEMHOOK_MUTATION", format!("{mutation}@{}@{variant:?}@{bound}", model.name))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let caught = text.lines().find_map(|l| l.split_once("CAUGHT ").map(|(_, what)| what.to_owned()));
            return match caught {
                Some(what) => Said::Caught(what),
                None if text.contains("UNNOTICED") => Said::Nothing,
                None if text.contains("TOO LONG") => Said::TooLong,
                None => Said::Caught(format!("the process ended: {}", output.status)),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    Said::TooLong
}

/// The library's text of a room, as it was when this was built.
fn text(file: &str) -> Vec<String> {
    let path = format!("{}/{file}", env!("MODEL_TEXT"));
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// The name of the function that a line is in.
fn function(lines: &[String], line: usize) -> &str {
    let named = lines[..line].iter().rev().find_map(|l| {
        let name = l.trim_start().split_once("fn ").filter(|(before, _)| !before.contains("//"))?.1;
        name.split(['(', '<']).next().filter(|n| n.chars().all(|c| c.is_alphanumeric() || c == '_'))
    });
    named.unwrap_or("?")
}

/// Names that stay when lines move: file, function, access; numbered where there are several.
fn names(sites: &BTreeSet<Site>) -> BTreeMap<Site, String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut named = BTreeMap::new();
    for site in sites {
        let lines = text(site.file);
        let name =
            format!("{} {} {:?} {}", site.file, function(&lines, site.line as usize), site.kind, site.order);
        let number = seen.entry(name.clone()).or_insert(0);
        *number += 1;
        let name = if *number == 1 { name } else { name.replacen(' ', &format!(" #{number} "), 1) };
        named.insert(site.clone(), name);
    }
    named
}

/// Places in the modelled rooms with an ordering that no model comes to, as file and function.
fn unvisited(sites: &BTreeSet<Site>) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for file in env!("MODEL_ROOMS").split(' ') {
        let lines = text(file);
        for (n, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let strong = ["Acquire", "Release", "AcqRel", "SeqCst"];
            if code.contains("compiler_fence")
                || !strong.iter().any(|o| code.contains(&format!("Ordering::{o}")))
            {
                continue;
            }
            // A call may begin some lines above its ordering.
            let above =
                lines[..n].iter().rev().take_while(|l| !l.trim_end().ends_with([';', '{', '}'])).count();
            let here = n + 1 - above..=n + 1;
            if !sites.iter().any(|s| s.file == file && here.contains(&(s.line as usize))) {
                places.insert(format!("{file} {}", function(&lines, n + 1)));
            }
        }
    }
    places
}

/// `MEMHOOK_ONLY` restricts it to those whose names contain one of its words.
#[test]
#[ignore = "takes minutes"]
fn every_weakened_ordering_is_caught() {
    be_silent();
    let mut all: BTreeMap<Site, Vec<(&Model, Variant)>> = BTreeMap::new();
    for (variant, model) in VARIANTS.iter().flat_map(|v| MODELS.iter().map(move |m| (*v, m))) {
        world::take_visited();
        check(model, variant, 1, None, Some(256));
        for site in world::take_visited() {
            all.entry(site).or_default().push((model, variant));
        }
    }
    let sites: BTreeSet<Site> = all.keys().cloned().collect();
    let names = names(&sites);
    let only = std::env::var("MEMHOOK_ONLY").unwrap_or_default();
    let chosen = |name: &str| only.split(' ').any(|word| name.contains(word));
    let work: Vec<(&Site, Ordering)> = sites
        .iter()
        .flat_map(|s| weaker(s).iter().map(move |&to| (s, to)))
        .filter(|(s, to)| chosen(&format!("{} to {to:?}", names[*s])))
        .collect();
    let results: Mutex<BTreeMap<String, Result<String, bool>>> = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(&(site, to)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut result = Err(false);
                    // Most are noticed without any preemption, by what is read late.
                    let cheap = all[site].iter().map(|m| (*m, 0));
                    let function = function(&text(site.file), site.line as usize).to_owned();
                    let fits =
                        |m: &Model| m.functions.is_empty() || m.functions.split(' ').any(|f| f == function);
                    let dear = all[site].iter().filter(|m| fits(m.0));
                    let dear = dear.filter_map(|m| Some((*m, m.0.mutated.filter(|&p| p != 0)?)));
                    let mut tries: Vec<_> = cheap.chain(dear).collect();
                    tries.sort_by_key(|&((_, variant), bound)| (variant == Variant::Fenced, bound));
                    for ((model, variant), bound) in tries {
                        match ask(&word(site, to), model, variant, bound) {
                            Said::Caught(what) => {
                                let mode = if variant == Variant::Fenced { ", fenced" } else { "" };
                                result = Ok(format!("{}{mode}: {what}", model.name));
                                break;
                            }
                            Said::Nothing => {}
                            Said::TooLong => result = Err(true),
                        }
                    }
                    let name = format!("{} to {to:?}", names[site]);
                    println!("{} | {name} | {result:?}", site.line);
                    results.lock().unwrap().insert(name, result);
                }
            });
        }
    });
    let mut wrong = Vec::new();
    let mut caught = 0;
    println!("\n| weakened | noticed by |\n|---|---|");
    for (name, result) in results.into_inner().unwrap() {
        match result {
            Ok(by) => {
                caught += 1;
                println!("| {name} | {by} |");
            }
            Err(late) => wrong
                .push(format!("{name}: nobody notices{}", if late { ", in so few executions" } else { "" })),
        }
    }
    let unvisited = unvisited(&sites).into_iter().filter(|place| chosen(place));
    wrong.extend(unvisited.map(|place| format!("{place}: no model comes there")));
    println!("{caught} weakened orderings are caught");
    if !wrong.is_empty() {
        println!("{}", wrong.join("\n"));
        std::panic::resume_unwind(Box::new("an ordering can be weakened"));
    }
}
