//! Takes the library's own source text and puts the model's parts under it.
//!
//! Every substitution must match as often as it says; text that has moved on stops the build
//! here, not silently in a model of something else. No substitution adds or removes a line, so
//! that a place in the generated text is the place in `src/`.

use std::{env, fs, path::Path};

/// Room, text in it, what the model has instead, how often it stands there (0: at least once).
const SUBSTITUTIONS: &[(&str, &str, &str, usize)] = &[
    // One look before sleeping is as good as 64 to a model, and 64 times cheaper.
    ("grace", "for _ in 0..64 {", "for _ in 0..1 {", 1),
    // Asking threads to give way orders nothing, and each of its accesses would be one more place to preempt.
    ("grace", "barrier::hurry(true);", "();", 1),
    // As above.
    ("grace", "barrier::hurry(false);", "();", 2),
    // As above.
    ("grace", "let hurry = barrier::hurried();", "let hurry = 0;", 1),
    // No process forks.
    ("grace", "FORKS.load(Ordering::Relaxed)", "0", 1),
    // Scans of 4095 owner lists would be as many atomic loads; the models need few.
    ("ownership", "const MAX_LISTS: usize = 4095;", "const MAX_LISTS: usize = 4;", 1),
    // loom's `fetch_or` is used as it is, on what begins with 0.
    ("guard", "AtomicU32::new(MEMHOOK_DURING_STARTUP)", "AtomicU32::new(0)", 1),
    // As above; `choose` sets it.
    ("sys/barrier", "AtomicU32::new(FENCED | ALL_FENCED)", "AtomicU32::new(0)", 1),
    // Marks for 16 MiB of addresses, not for all: the table is zeroed in every execution.
    ("ownership", "const ADDRESS_BITS: u32 = 48;", "const ADDRESS_BITS: u32 = 24;", 1),
    // As above.
    ("ownership", "const BRANCH_BITS: u32 = 35;", "const BRANCH_BITS: u32 = 19;", 1),
    // As above.
    ("ownership", "const LEAF_BITS: u32 = 22;", "const LEAF_BITS: u32 = 14;", 1),
    // As above: places for marks that are looked through.
    (
        "ownership",
        "[AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024]",
        "[AtomicU64; 4] = [const { AtomicU64::new(0) }; 4]",
        1,
    ),
    // A plain look at what another thread has made: told to loom.
    ("ownership", "unsafe { list.as_ref() }", "unsafe { crate::world::looked_at(list).as_ref() }", 1),
    // A plain write that must not meet a plain read: told to loom.
    ("chain/hook", "hook.fixed.get().write(", "hook.fixed.writing().write(", 1),
    // As above.
    ("chain/head", "head.view.get().write(", "head.view.writing().write(", 1),
    // As above.
    ("registry/objects", "&mut *self.0.hooks.get()", "&mut *self.0.hooks.writing()", 1),
];

const ROOMS: [&str; 14] = [
    "abi",
    "chain/head",
    "chain/hook",
    "chain/mod",
    "grace",
    "guard",
    "ownership",
    "registry/array",
    "registry/mod",
    "registry/objects",
    "registry/removal",
    "roster",
    "scratch",
    "sys/barrier",
];

fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let mut index = String::new();
    for room in &ROOMS {
        let path = format!("../../src/{room}.rs");
        println!("cargo::rerun-if-changed={path}");
        let mut text = fs::read_to_string(&path).unwrap();
        text = text.replace("core::sync::atomic::", "crate::facade::");
        text = text.replace("use core::cell::UnsafeCell;", "use crate::facade::UnsafeCell;");
        for (_, from, to, times) in SUBSTITUTIONS.iter().filter(|s| s.0 == *room) {
            let found = text.matches(from).count();
            assert!(found == *times || (*times == 0 && found != 0), "{path}: {found} times {from:?}");
            text = text.replace(from, to);
        }
        let to = Path::new(&out).join(format!("{room}.rs"));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let name = match *room {
            "chain/mod" => "chain".to_owned(),
            "registry/mod" => "registry".to_owned(),
            other => other.replace('/', "_"),
        };
        fs::write(&to, text).unwrap();
        // Declared by the module that they are parts of.
        let part = room.starts_with("chain/") || room.starts_with("registry/");
        if part && !room.ends_with("/mod") {
            continue;
        }
        // `scratch` is modelled by itself; under the others lies one that finds misuse.
        let module = if name == "scratch" { "free_list" } else { name.as_str() };
        index += &format!(
            "#[path = {to:?}]\n#[allow(dead_code, unused_imports, non_camel_case_types, reason = \"a part of it is modelled\")]\npub(crate) mod {module};\n"
        );
    }
    println!("cargo::rustc-env=MODEL_TEXT={out}");
    println!("cargo::rustc-env=MODEL_ROOMS={}", ROOMS.map(|room| format!("{room}.rs")).join(" "));
    fs::write(Path::new(&out).join("rooms.rs"), index).unwrap();
}
