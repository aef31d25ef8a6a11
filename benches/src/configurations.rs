//! What is measured: allocators, hooks and tools, each as a set of preloaded objects and variables.

use crate::build;
use std::path::{Path, PathBuf};

/// The configuration that all others are compared with.
pub const GLIBC: &str = "glibc";

/// How it is known that the hooks or the tool saw the workload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// There is nothing to be called.
    None,
    /// So many callbacks at least were called for each allocation call.
    Hooks(u64),
    /// As one hook; but not every realloc is told.
    NotEveryRealloc,
    /// The allocator knows sizes to the byte.
    Exact,
    /// libmemusage's summary on standard error counts the calls.
    Summary,
    /// The trace has as many records as there were calls: lines with this in them.
    Trace(&'static str),
    /// The same of memhook's binary form.
    Binary,
}

/// One way of running a program.
pub struct Configuration {
    pub name: String,
    /// The configuration with the same allocator and no hooks.
    pub base: &'static str,
    preload: Vec<PathBuf>,
    variables: Vec<(&'static str, String)>,
    pub proof: Proof,
    /// Whether it can be used with more than one thread.
    pub threads: bool,
    /// Whether it is measured on the pair of calls only: too slow for more, or too much is written.
    pub pair_only: bool,
    /// Where the tool writes.
    pub trace: Option<PathBuf>,
}

impl Configuration {
    fn new(name: impl Into<String>) -> Configuration {
        Configuration {
            name: name.into(),
            base: GLIBC,
            preload: Vec::new(),
            variables: Vec::new(),
            proof: Proof::None,
            threads: true,
            pair_only: false,
            trace: None,
        }
    }

    fn preload(mut self, objects: &[&Path]) -> Configuration {
        self.preload = objects.iter().map(|&object| object.to_owned()).collect();
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Configuration {
        self.variables.push((name, value.into()));
        self
    }

    fn on(self, base: &'static str) -> Configuration {
        Configuration { base, ..self }
    }

    fn proof(self, proof: Proof) -> Configuration {
        Configuration { proof, ..self }
    }

    fn one_thread(self) -> Configuration {
        Configuration { threads: false, ..self }
    }

    fn pair_only(self) -> Configuration {
        Configuration { pair_only: true, ..self }
    }

    fn tracing(mut self, variable: &'static str, to: PathBuf) -> Configuration {
        self.variables.push((variable, to.display().to_string()));
        Configuration { trace: Some(to), ..self }
    }

    /// The environment of a program that runs so.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = self.variables.clone();
        if !self.preload.is_empty() {
            let objects: Vec<String> = self.preload.iter().map(|o| o.display().to_string()).collect();
            all.push(("LD_PRELOAD", objects.join(":")));
        }
        all
    }
}

/// A library of the system, where it is installed.
fn installed(names: &[&str]) -> Result<PathBuf, String> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
        "/usr/lib/heaptrack",
    ];
    let all = folders.iter().flat_map(|folder| names.iter().map(move |name| Path::new(folder).join(name)));
    all.into_iter().find(|path| path.exists()).ok_or_else(|| format!("{} is not installed", names.join(", ")))
}

/// Configurations, and what is missing with the reason.
pub fn all(folder: &Path) -> (Vec<Configuration>, Vec<(String, String)>) {
    let library = build::library();
    let stub = build::object(folder, "stub.S", "stub.so", &[]).expect("stub.S compiles");
    let hooks = build::hooks(folder);
    let mut all = vec![
        Configuration::new(GLIBC),
        Configuration::new("forwarding stub").preload(&[&stub]),
        Configuration::new("memhook, no hook").preload(&[&library]),
    ];
    for (name, file, argument, calls) in [
        ("bare observer", "bare-1.so", Some("-DOBSERVERS=1"), 1),
        ("four bare observers", "bare-4.so", Some("-DOBSERVERS=4"), 4),
        ("bare interceptor", "bare-i.so", None, 1),
    ] {
        let arguments: Vec<&str> = argument.into_iter().collect();
        let bare = build::object(folder, "bare.c", file, &arguments).expect("bare.c compiles");
        all.push(Configuration::new(name).preload(&[&bare]).proof(Proof::Hooks(calls)).pair_only());
    }
    for (name, letters) in [
        ("memhook, one observer", "o"),
        ("memhook, four observers", "oooo"),
        ("memhook, one interceptor", "i"),
        ("memhook, four interceptors", "iiii"),
        ("memhook, accounting", "a"),
        ("memhook, one observer that keeps errno", "O"),
        ("memhook, four observers that keep errno", "OOOO"),
        ("memhook, one interceptor that keeps errno", "I"),
        ("memhook, accounting that keeps errno", "A"),
    ] {
        let hooked = Configuration::new(name).preload(&[&library, &hooks]).variable("BENCH_HOOKS", letters);
        all.push(hooked.proof(Proof::Hooks(letters.len() as u64)));
    }
    for (name, file, arguments) in [
        ("memhook, __malloc_hook, passing", "variables.so", &["-DSOURCE"][..]),
        ("memhook, __malloc_hook, accounting", "variables-accounting.so", &["-DSOURCE", "-DACCOUNTING"]),
        ("memhook, old binary, passing", "old.so", &[]),
        ("memhook, old binary, accounting", "old-accounting.so", &["-DACCOUNTING"]),
    ] {
        let object = build::with_variables(folder, file, arguments);
        let hooked = Configuration::new(name).preload(&[&library, &object]);
        all.push(hooked.proof(Proof::NotEveryRealloc).pair_only());
    }
    let usage = Configuration::new("memhook, usage").preload(&[&library]).variable("MEMHOOK", "usage");
    all.push(usage.proof(Proof::Summary));
    all.push(
        Configuration::new("memhook, check")
            .preload(&[&library])
            .variable("MEMHOOK", "check")
            .proof(Proof::Exact),
    );
    all.push(
        Configuration::new("memhook, trace as text")
            .preload(&[&library])
            .variable("BENCH_MTRACE", "1")
            .tracing("MALLOC_TRACE", folder.join("trace.text"))
            .proof(Proof::Trace(" "))
            .pair_only(),
    );
    let binary = folder.join("trace.bin");
    let word = format!("trace={},binary", binary.display());
    all.push(
        Configuration {
            trace: Some(binary),
            ..Configuration::new("memhook, trace, binary").preload(&[&library]).variable("MEMHOOK", word)
        }
        .proof(Proof::Binary)
        .pair_only(),
    );
    let mut skipped = Vec::new();
    for (name, peer) in [
        ("gperftools MallocHook", gperftools as fn(&Path) -> Result<Vec<Configuration>, String>),
        ("jemalloc experimental.hooks", jemalloc),
        ("libc_malloc_debug", malloc_debug),
        ("libmemusage", memusage),
        ("heaptrack", heaptrack),
    ] {
        match peer(folder) {
            Ok(some) => all.extend(some),
            Err(reason) => skipped.push((name.to_owned(), reason)),
        }
    }
    (all, skipped)
}

fn gperftools(folder: &Path) -> Result<Vec<Configuration>, String> {
    let allocator = installed(&["libtcmalloc.so.4"])?;
    let hooks = build::object(folder, "gperftools.c", "gperftools.so", &["-ltcmalloc"])?;
    Ok(vec![
        Configuration::new("tcmalloc").preload(&[&allocator]),
        Configuration::new("tcmalloc, MallocHook")
            .preload(&[&allocator, &hooks])
            .on("tcmalloc")
            .proof(Proof::NotEveryRealloc),
    ])
}

fn jemalloc(folder: &Path) -> Result<Vec<Configuration>, String> {
    let allocator = installed(&["libjemalloc.so.2"])?;
    let hooks = build::object(folder, "jemalloc.c", "jemalloc.so", &["-ljemalloc"])?;
    Ok(vec![
        Configuration::new("jemalloc").preload(&[&allocator]),
        Configuration::new("jemalloc, hooks")
            .preload(&[&allocator, &hooks])
            .on("jemalloc")
            .proof(Proof::Hooks(1)),
    ])
}

fn malloc_debug(folder: &Path) -> Result<Vec<Configuration>, String> {
    let debug = installed(&["libc_malloc_debug.so.0"])?;
    let shown = debug.display().to_string();
    let passing = build::object(folder, "legacy.c", "legacy.so", &[&shown])?;
    let accounting = build::object(folder, "legacy.c", "legacy-accounting.so", &["-DACCOUNTING", &shown])?;
    let hooked = |name: &str, object: &Path| {
        let hooked = Configuration::new(name).preload(&[&debug, object]);
        hooked.proof(Proof::NotEveryRealloc).one_thread()
    };
    let mut all = vec![hooked("__malloc_hook, passing", &passing)];
    all.push(hooked("__malloc_hook, accounting", &accounting).pair_only());
    all.push(
        Configuration::new("MALLOC_CHECK_=3")
            .preload(&[&debug])
            .variable("MALLOC_CHECK_", "3")
            .proof(Proof::Exact),
    );
    all.push(
        Configuration::new("mtrace")
            .preload(&[&debug])
            .variable("BENCH_MTRACE", "1")
            .tracing("MALLOC_TRACE", folder.join("mtrace.out"))
            .proof(Proof::Trace(" "))
            .pair_only(),
    );
    Ok(all)
}

fn memusage(_folder: &Path) -> Result<Vec<Configuration>, String> {
    let tool = installed(&["libmemusage.so"])?;
    Ok(vec![Configuration::new("libmemusage").preload(&[&tool]).proof(Proof::Summary)])
}

fn heaptrack(folder: &Path) -> Result<Vec<Configuration>, String> {
    let tool = installed(&["libheaptrack_preload.so"])?;
    Ok(vec![
        Configuration::new("heaptrack")
            .preload(&[&tool])
            .tracing("DUMP_HEAPTRACK_OUTPUT", folder.join("heaptrack.out"))
            .proof(Proof::Trace("+"))
            .pair_only(),
    ])
}
