//! Keeps the house rules true: who may use whom, and that ordering comments
//! agree with the code they explain.

use std::{collections::HashMap, fs, path::Path};

/// Each room and the rooms it may name. `chain` names `entry` for the addresses of the stubs,
/// which are data to it: the stubs in turn jump through the chain in force.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("abi", &[]),
    ("roster", &[]),
    ("scratch", &["sys"]),
    ("text", &["sys"]),
    ("guard", &["scratch", "roster", "abi", "sys"]),
    ("grace", &["guard", "sys"]),
    ("local", &["guard", "scratch"]),
    ("backend", &["abi", "sys"]),
    ("ownership", &["chain", "grace", "guard", "scratch", "sys"]),
    ("chain", &["entry", "ownership", "grace", "guard", "backend", "scratch", "roster", "abi"]),
    ("dispatch", &["chain", "ownership", "grace", "guard", "backend", "scratch", "abi", "sys"]),
    ("registry", &["chain", "ownership", "grace", "guard", "scratch", "roster", "abi", "sys"]),
    (
        "glibc",
        &[
            "registry",
            "dispatch",
            "chain",
            "ownership",
            "grace",
            "guard",
            "backend",
            "scratch",
            "roster",
            "abi",
            "sys",
        ],
    ),
    ("start", &["glibc", "registry", "dispatch", "chain", "grace", "guard", "backend", "abi", "sys"]),
    ("entry", &["start", "dispatch", "chain", "ownership", "grace", "guard", "backend", "api", "abi", "sys"]),
    ("selftest", &["entry", "registry", "dispatch", "guard", "backend", "abi", "sys"]),
    ("tools", &["api", "roster", "scratch", "text", "abi", "sys"]),
    (
        "api",
        &[
            "selftest", "start", "glibc", "registry", "dispatch", "chain", "local", "guard", "backend",
            "scratch", "text", "abi", "sys",
        ],
    ),
];

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&entry).unwrap();
            let path = entry.strip_prefix(support::root()).unwrap().to_str().unwrap().to_owned();
            found.push((path, text));
        }
    }
}

fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&support::root().join("src"), &mut found);
    found
}

fn room(path: &str) -> &str {
    path.trim_start_matches("src/").split(['/', '.']).next().unwrap()
}

#[test]
fn each_room_uses_only_rooms_below_it() {
    for (path, text) in all() {
        let Some((_, may)) = MAY_USE.iter().find(|(r, _)| *r == room(&path)) else {
            assert!(path == "src/lib.rs", "{path}: room not in MAY_USE");
            continue;
        };
        for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                assert!(used == room(&path) || may.contains(&used), "{path}:{}: may not use `{used}`", n + 1);
            }
        }
    }
}

#[test]
fn ordering_comments_name_the_ordering_in_the_code() {
    let mut edges: HashMap<String, Vec<String>> = HashMap::new();
    for (path, text) in all() {
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let used: Vec<_> =
                ORDERINGS.iter().filter(|o| code.contains(&format!("Ordering::{o}"))).collect();
            if used.is_empty() {
                continue;
            }
            let at = format!("{path}:{}", n + 1);
            // The nearest comment above, at most a statement away.
            let tag = lines[n.saturating_sub(12)..n].iter().rev().find(|l| l.contains("// ORDERING ["));
            let tag = tag.unwrap_or_else(|| panic!("{at}: no `// ORDERING [edge]: …` above"));
            for o in &used {
                assert!(tag.contains(**o), "{at}: the code says {o}, the comment does not");
            }
            let edge = tag.split('[').nth(1).unwrap().split(']').next().unwrap();
            let sites = edges.entry(edge.to_owned()).or_default();
            // An exchange that both acquires and releases meets itself in another thread.
            if used.iter().any(|o| **o == "AcqRel") {
                sites.push(format!("{at} (itself)"));
            }
            sites.push(at);
        }
    }
    for (edge, sites) in edges.iter().filter(|(e, _)| e.as_str() != "none") {
        assert!(sites.len() > 1, "edge [{edge}] has one end only: {sites:?}");
    }
}
