//! Compiles the C parts into `target/bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches stands in the repository")
}

/// A source of ours.
pub fn source(name: &str) -> PathBuf {
    root().join("benches/c").join(name)
}

/// Where everything is built.
pub fn folder() -> PathBuf {
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder).expect("target is writable");
    folder
}

/// The library as `make` has built it.
pub fn library() -> PathBuf {
    let library = root().join("target/dist/lib/libmemhook.so.0");
    assert!(library.exists(), "{} is missing: run `make bench`", library.display());
    library
}

/// Runs a compiler; its complaint where it fails.
fn compile(compiler: &str, from: &Path, to: &Path, arguments: &[&str]) -> Result<PathBuf, String> {
    let output = Command::new(compiler)
        .args(["-O2", "-g", "-Wall", "-Wextra", "-pthread"])
        .arg(from)
        .args(arguments)
        .arg("-o")
        .arg(to)
        .output()
        .map_err(|error| format!("{compiler}: {error}"))?;
    if output.status.success() {
        return Ok(to.to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(complaint.lines().find(|l| l.contains("error") || l.contains("cannot find")).unwrap_or("").to_owned())
}

/// The program that runs the workloads.
pub fn workload(folder: &Path) -> PathBuf {
    compile("cc", &source("workload.c"), &folder.join("workload"), &["-ldl"]).expect("workload.c compiles")
}

/// A C++ program.
pub fn program(folder: &Path, name: &str) -> Result<PathBuf, String> {
    compile("g++", &source(&format!("{name}.cpp")), &folder.join(name), &[])
}

/// An object to be preloaded.
pub fn object(folder: &Path, from: &str, to: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let arguments: Vec<&str> = ["-shared", "-fPIC"].iter().chain(arguments).copied().collect();
    compile("cc", &source(from), &folder.join(to), &arguments)
}

/// Compiles with the library as `make` has built it, and hands on what is to be done with the arguments.
fn with_library<T>(then: impl FnOnce(&[&str]) -> T) -> T {
    let dist = root().join("target/dist");
    let include = format!("-I{}", dist.join("include").display());
    let lib = dist.join("lib");
    let (path, rpath) = (format!("-L{}", lib.display()), format!("-Wl,-rpath,{}", lib.display()));
    then(&[&include, &path, "-lmemhook", &rpath])
}

/// The hooks of memhook.
pub fn hooks(folder: &Path) -> PathBuf {
    with_library(|arguments| object(folder, "hooks.c", "hooks.so", arguments)).expect("hooks.c compiles")
}

/// Callbacks in glibc's variables, over the library: as an object from before glibc 2.34, or, with SOURCE, compiled with
/// the library's header.
pub fn with_variables(folder: &Path, to: &str, arguments: &[&str]) -> PathBuf {
    let built = if arguments.contains(&"-DSOURCE") {
        with_library(|linking| {
            object(folder, "legacy.c", to, &[arguments, &["-include", "memhook/glibc.h"], linking].concat())
        })
    } else {
        object(folder, "legacy.c", to, arguments)
    };
    built.expect("legacy.c compiles")
}

/// The program that measures what grows with what.
pub fn scaling(folder: &Path) -> PathBuf {
    let to = folder.join("scaling");
    with_library(|arguments| compile("cc", &source("scaling.c"), &to, arguments)).expect("scaling.c compiles")
}
