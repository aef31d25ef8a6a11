//! Compiles C programs against the library in `target/dist` and runs them as processes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the repository")
}

/// Whether a program of this machine can be run; says so where it cannot.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// What a real program is given.
pub fn input(name: &str) -> PathBuf {
    root().join("tests/programs").join(name)
}

/// A script of the shell's.
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

/// Rust's name for the machine that is tested, where that is not this one: `MEMHOOK_TARGET`. Programs are cross-compiled
/// then and run under qemu's emulation of a process (tests/tools/aarch64.sh).
fn other_machine() -> Option<String> {
    std::env::var("MEMHOOK_TARGET").ok().filter(|target| !target.is_empty())
}

/// Whether programs run under an emulator.
pub fn is_emulated() -> bool {
    other_machine().is_some()
}

/// The compiler (`cc`, `g++`) or a program that comes with it (`nm`), for the machine that is tested.
pub fn tool(name: &str) -> String {
    match other_machine() {
        None => name.into(),
        Some(target) => {
            format!("{}-{}", target.replace("-unknown", ""), if name == "cc" { "gcc" } else { name })
        }
    }
}

/// Where the C library of the machine that is tested may have come with others.
pub fn library_folders() -> Vec<PathBuf> {
    match other_machine() {
        None => {
            let own = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
            [own.as_str(), "/usr/lib64", "/usr/lib", "/lib64"].map(PathBuf::from).into()
        }
        Some(target) => vec![Path::new("/usr").join(target.replace("-unknown", "")).join("lib")],
    }
}

fn target() -> PathBuf {
    other_machine().iter().fold(root().join("target"), |target, other| target.join(other))
}

/// What `make` has built.
pub fn dist() -> PathBuf {
    let dist = target().join("dist");
    assert!(dist.join("lib/libmemhook.a").exists(), "{} is missing: run `make` first", dist.display());
    dist
}

/// The shared library.
pub fn library() -> PathBuf {
    dist().join("lib/libmemhook.so.0")
}

/// A folder for one test's files, empty at first. It belongs to this process, as tests may run as
/// processes at the same time; those of processes that have ended are removed.
pub fn folder(name: &str) -> PathBuf {
    let all = root().join("target/tests");
    for other in fs::read_dir(&all).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(other.file_name()).exists() {
            let _ = fs::remove_dir_all(other.path());
        }
    }
    let folder = all.join(std::process::id().to_string()).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("target/tests is writable");
    folder
}

/// How a program is to be linked with the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// `-lmemhook`.
    Shared,
    /// `libmemhook.a` into a dynamic executable.
    Archive,
    /// A fully static executable with the linker options shipped for it.
    Static,
    /// A shared object that refers to `-lmemhook`.
    Plugin,
    /// Not at all: to be preloaded, or to run without.
    None,
}

/// A compiler run.
pub struct Build {
    command: Command,
    output: PathBuf,
    link: Link,
    native: bool,
}

/// Compiles a C or C++ source (by its ending) into `output`, with warnings as errors.
pub fn compile(source: &Path, output: &Path, link: Link) -> Build {
    let cxx = source.extension() == Some(OsStr::new("cpp"));
    let mut command = Command::new(tool(if cxx { "g++" } else { "cc" }));
    command.args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]);
    if is_emulated() {
        // What a process finds out about itself is then about the emulator too.
        command.arg("-DEMULATED");
    }
    command.arg("-I").arg(dist().join("include")).arg(source);
    if link == Link::Plugin {
        command.args(["-shared", "-fPIC"]);
    }
    Build { command, output: output.to_owned(), link, native: false }
}

impl Build {
    /// Has another compiler do it.
    pub fn by(mut self, compiler: &str) -> Build {
        let mut command = Command::new(compiler);
        command.args(self.command.get_args());
        self.command = command;
        self
    }

    /// Has a C program made for the machine that the tests run on, whichever is tested.
    pub fn native(self) -> Build {
        Build { native: true, ..self.by("cc") }
    }

    /// Adds a compiler option.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Build {
        self.command.arg(arg);
        self
    }

    /// Adds compiler options.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Build {
        self.command.args(args);
        self
    }

    /// Compiles; the program's path.
    pub fn run(mut self) -> PathBuf {
        let lib = dist().join("lib");
        let rpath = format!("-Wl,-rpath,{}", lib.display());
        match self.link {
            Link::Shared | Link::Plugin => {
                self.command.arg("-L").arg(&lib).args(["-lmemhook", &rpath]);
            }
            Link::Archive => {
                self.command.arg(lib.join("libmemhook.a"));
            }
            Link::Static => {
                let options = format!("@{}", lib.join("memhook/memhook-static.opt").display());
                self.command.args(["-static", &options]).arg(lib.join("libmemhook.a"));
            }
            Link::None => {}
        }
        let is_program =
            !self.command.get_args().any(|arg| ["-shared", "-c"].iter().any(|other| arg == *other));
        let output =
            if is_program && !self.native { program_output(&self.output) } else { self.output.clone() };
        self.command.args(["-ldl", "-lm"]).arg("-o").arg(output);
        let result = self.command.output().expect("the compiler runs");
        assert!(
            result.status.success(),
            "{:?} failed:\n{}",
            self.command,
            String::from_utf8_lossy(&result.stderr)
        );
        self.output
    }
}

/// Where a compiler is to put a program that is to be run as `program`. For another machine what runs it there comes in
/// its place: tests/tools/emulate.c.
pub fn program_output(program: &Path) -> PathBuf {
    let itself = itself(program);
    if itself == program {
        return itself;
    }
    fs::create_dir_all(itself.parent().expect("a folder")).expect("writable");
    let _ = fs::remove_file(program);
    fs::copy(target().join("emulate"), program).expect("tests/tools/aarch64.sh has made it");
    itself
}

/// The file that a compiled program is in: what is found at its path may be what runs it.
pub fn itself(program: &Path) -> PathBuf {
    match (other_machine(), program.parent(), program.file_name()) {
        (Some(_), Some(folder), Some(name)) => folder.join(".other").join(name),
        _ => program.to_owned(),
    }
}

/// What a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status, or minus the number of the signal that ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command to its end; kills it and fails the test after `seconds`.
pub fn run_for(command: &mut Command, seconds: u64) -> Outcome {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let read = |mut from: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("piped")));
    let stderr = read(Box::new(child.stderr.take().expect("piped")));
    let slower = if is_emulated() { 10 } else { 1 };
    let deadline = Instant::now() + Duration::from_secs(seconds * slower);
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            let out = stdout.join().unwrap_or_default();
            panic!("{shown}: still running after {seconds} s; stdout so far:\n{out}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut stderr = stderr.join().expect("reader");
    if is_emulated() {
        let is_emulators = |line: &&str| line.starts_with("qemu: uncaught target signal ");
        stderr = stderr.split_inclusive('\n').filter(|line| !is_emulators(line)).collect();
    }
    Outcome {
        status: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
        stdout: stdout.join().expect("reader"),
        stderr,
    }
}

/// Runs a command to its end, for a minute at most.
pub fn run(command: &mut Command) -> Outcome {
    run_for(command, 60)
}

/// Compiles `tests/c/<name>.c` (or `.cpp`), runs it, and expects exit status 0 and this output on
/// standard output, and nothing on standard error.
pub fn expect(name: &str, link: Link, stdout: &str) {
    let program = build(name, link);
    let outcome = run(&mut Command::new(program));
    assert_eq!(
        outcome,
        Outcome { status: 0, stdout: stdout.into(), stderr: String::new() },
        "{name} ({link:?})"
    );
}

/// Compiles `tests/c/<name>.c` (or `.cpp`) into a folder of its own.
pub fn build(name: &str, link: Link) -> PathBuf {
    let mut source = root().join("tests/c").join(format!("{name}.c"));
    if !source.exists() {
        source.set_extension("cpp");
    }
    let folder = folder(&format!("{name}-{link:?}"));
    compile(&source, &folder.join(name), link).run()
}
