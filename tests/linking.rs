//! Every way of linking: the first call, what is exported, what is installed, the header, and
//! other allocators below.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{
    Build, Link, Outcome, compile, dist, folder, library, library_folders, program_output, root, run, tool,
};

fn source(name: &str) -> PathBuf {
    root().join("tests/c").join(name)
}

fn fine(stdout: &str) -> Outcome {
    Outcome { status: 0, stdout: stdout.into(), stderr: String::new() }
}

/// A way of linking that is more than a [`Link`].
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain(Link),
    ArchiveNoPie,
    StaticPie,
}

const DYNAMIC: [Way; 3] = [Way::Plain(Link::Shared), Way::Plain(Link::Archive), Way::ArchiveNoPie];
const STATIC: [Way; 2] = [Way::Plain(Link::Static), Way::StaticPie];

fn compile_as(source: &Path, output: &Path, way: Way) -> Build {
    match way {
        Way::Plain(link) => compile(source, output, link),
        Way::ArchiveNoPie => compile(source, output, Link::Archive).arg("-no-pie"),
        Way::StaticPie => {
            let lib = dist().join("lib");
            compile(source, output, Link::None)
                .arg("-static-pie")
                .arg(format!("@{}", lib.join("memhook/memhook-static.opt").display()))
                .arg(lib.join("libmemhook.a"))
        }
    }
}

/// Builds `link_first.c` with these options in these ways and expects the output.
fn first_call(test: &str, ways: &[Way], options: &[&str], stdout: &str) {
    let folder = folder(test);
    for way in ways {
        let build = compile_as(&source("link_first.c"), &folder.join(format!("{way:?}")), *way);
        let program = options.iter().fold(build, |build, option| build.arg(option)).run();
        assert_eq!(run(&mut Command::new(program)), fine(stdout), "{way:?}");
    }
}

fn first_of_main(seen_first: &str) -> String {
    format!(
        "\
runs before main: 0
runs: 1, at last 1
suspended inside: 1, seen there: 0
seen first: {seen_first}
seen afterwards: 2 allocated, 2 freed
suspended: 0, errno: 4711
"
    )
}

#[test]
fn first_call_is_malloc_in_main() {
    first_call("first_malloc", &DYNAMIC, &[], &first_of_main("malloc of 12345, number 1"));
}

#[test]
fn first_call_is_calloc_in_main() {
    first_call("first_calloc", &DYNAMIC, &["-DBY_CALLOC"], &first_of_main("calloc of 12345, number 1"));
}

#[test]
fn first_call_is_free_in_main() {
    first_call("first_free", &DYNAMIC, &["-DBY_FREE"], &first_of_main("malloc of 12345, number 1"));
}

#[test]
fn first_call_is_the_librarys_own() {
    first_call("first_library", &DYNAMIC, &["-DIN_LIBRARY"], &first_of_main("malloc of 12345, number 1"));
}

#[test]
fn first_call_is_in_a_constructor() {
    let stdout = first_of_main("malloc of 12345, number 1").replace("main: 0", "main: 1");
    first_call("first_constructor", &DYNAMIC, &["-DIN_CONSTRUCTOR"], &stdout);
}

#[test]
fn first_call_is_the_c_librarys_in_static_programs() {
    let stdout = first_of_main("another").replace("main: 0", "main: 1");
    first_call("first_static", &STATIC, &["-DC_LIBRARY_FIRST"], &stdout);
    let options = ["-DC_LIBRARY_FIRST", "-DIN_CONSTRUCTOR"];
    first_call("first_static_constructor", &STATIC, &options, &stdout);
}

#[test]
fn others_go_on_while_the_initialize_hook_runs() {
    let folder = folder("others_go_on");
    for way in DYNAMIC {
        let program = compile_as(&source("link_others_go_on.c"), &folder.join(format!("{way:?}")), way);
        let outcome = run(&mut Command::new(program.run()));
        assert_eq!(outcome, fine("runs: 1, threads served: 4, calls seen: 1\n"), "{way:?}");
    }
}

#[test]
fn threads_race_for_the_first_call() {
    let folder = folder("race");
    let program = compile(&source("link_race.c"), &folder.join("program"), Link::Archive)
        .arg("-Wl,--exclude-libs,ALL")
        .run();
    for _ in 0..50 {
        let outcome = run(&mut Command::new(&program));
        assert_eq!(outcome, fine("runs: 1, some of the first calls seen, all later ones: yes\n"));
    }
}

/// Runs a program that knows nothing of the library under these preloaded objects.
fn preloaded(program: &Path, objects: &[&Path]) -> Outcome {
    let list: Vec<&OsStr> = objects.iter().map(|path| path.as_os_str()).collect();
    run(Command::new(program).env("LD_PRELOAD", list.join(OsStr::new(":"))))
}

#[test]
fn preloaded_tools_register_in_both_orders() {
    let folder = folder("preloaded");
    let victim = compile(&source("link_victim.c"), &folder.join("victim"), Link::None).run();
    let constructor = compile(&source("link_tool.c"), &folder.join("constructor.so"), Link::Plugin).run();
    let hook = compile(&source("link_tool.c"), &folder.join("hook.so"), Link::Plugin);
    let hook = hook.arg("-DINITIALIZE").run();
    // Without a reference to the library: the dynamic linker finds it among the preloaded ones.
    let loose = compile(&source("link_tool.c"), &folder.join("loose.so"), Link::None);
    let loose = loose.arg("-shared").arg("-fPIC").run();
    let expected = Outcome {
        status: 0,
        stdout: "done\n".into(),
        stderr: "tool: begun 1 times, 10 allocated, 10 freed\n".into(),
    };
    for tool in [&constructor, &hook, &loose] {
        for objects in [[library().as_path(), tool], [tool, library().as_path()]] {
            assert_eq!(preloaded(&victim, &objects), expected, "{objects:?}");
        }
    }
    assert_eq!(preloaded(&victim, &[&library()]), fine("done\n"));
}

/// Where the distribution keeps a shared library.
fn installed(name: &str) -> Option<PathBuf> {
    library_folders().iter().map(|place| place.join(name)).find(|path| path.exists())
}

fn stands_before(allocator: &str) {
    let Some(path) = installed(allocator) else {
        println!("skipped: {allocator} is not installed");
        return;
    };
    let program = compile(&source("link_stack.c"), &folder(allocator).join("program"), Link::None).run();
    let list = format!("{}:{}", library().display(), path.display());
    let outcome = run(Command::new(program).arg(&path).env("LD_PRELOAD", list));
    let stdout = "\
seen: 3
malloc: its own
memalign: its own
realloc: its own
freed: 3
threads: seen
unregister: 0
";
    assert_eq!(outcome, fine(stdout), "{allocator}");
}

#[test]
fn stands_before_jemalloc() {
    stands_before("libjemalloc.so.2");
}

#[test]
fn stands_before_tcmalloc() {
    stands_before("libtcmalloc_minimal.so.4");
}

#[test]
fn stands_before_mimalloc() {
    stands_before("libmimalloc.so.2");
}

/// glibc's checking allocator, whose definitions all have an old version: it goes on checking.
/// A program's own allocator comes before every preloaded one.
#[test]
fn stands_behind_a_programs_own_allocator() {
    let output = folder("link-own-malloc").join("program");
    let program = compile(&source("link_own_malloc.c"), &output, Link::None).arg("-fno-builtin").run();
    assert_eq!(preloaded(&program, &[&library()]), fine("nothing before main\n"));
    let mut with_tool = Command::new(&program);
    with_tool.env("LD_PRELOAD", library()).env("MEMHOOK", "fail=every:1");
    assert_eq!(run(&mut with_tool), fine("nothing before main\n"));
}

/// Builds `link_untyped.c` and a program over it with these options, and expects that its functions are found.
fn finds_untyped(test: &str, options: [&str; 3]) {
    let folder = folder(test);
    let below = compile(&source("link_untyped.c"), &folder.join("libuntyped.so"), Link::None)
        .args(options)
        .args(["-shared", "-fPIC", "-fno-builtin"])
        .run();
    for link in [Link::Shared, Link::Archive] {
        let output = folder.join(format!("{link:?}"));
        let program = compile(&source("link_untyped_user.c"), &output, link).args(options).arg(&below).run();
        let front = if link == Link::Shared { library() } else { PathBuf::new() };
        let list = [front.as_os_str(), below.as_os_str()].join(OsStr::new(":"));
        let outcome = run(Command::new(program).env("LD_PRELOAD", list));
        assert_eq!(outcome, fine("found\n"), "{link:?}");
    }
}

#[test]
fn stands_before_an_allocator_written_in_assembler() {
    finds_untyped("link-untyped", ["-O1"; 3]);
}

/// Where the program lies there, the allocator lies below: by a negative difference.
#[test]
fn stands_before_an_allocator_that_was_linked_for_a_higher_place() {
    finds_untyped("link-high", ["-fPIE", "-pie", "-Wl,-Ttext-segment=0x7ffff0000000"]);
}

/// `memhook_backend_malloc()` and its fellows, and what the library asks for itself, over an allocator whose functions
/// call entry points.
#[test]
fn nothing_in_the_way_to_an_allocator_that_forwards() {
    let folder = folder("link-past-hooks");
    let below = compile(&source("link_forwards.c"), &folder.join("libforwards.so"), Link::None)
        .args(["-shared", "-fPIC", "-fno-builtin"])
        .run();
    for link in [Link::Shared, Link::Archive] {
        let program = compile(&source("link_past_hooks.c"), &folder.join(format!("{link:?}")), link)
            .arg("-fno-builtin")
            .run();
        // The shared library is to stand in front; the archive is in the executable, which does.
        let front = if link == Link::Shared { library() } else { PathBuf::new() };
        let list = [front.as_os_str(), below.as_os_str()].join(OsStr::new(":"));
        let outcome = run(Command::new(&program).env("LD_PRELOAD", list));
        assert_eq!(outcome, fine("past all hooks\n"), "{link:?}");
    }
}

#[test]
fn stands_before_libc_malloc_debug() {
    let Some(debug) = installed("libc_malloc_debug.so.0") else {
        println!("skipped: libc_malloc_debug is not installed");
        return;
    };
    let program =
        compile(&source("link_faulty.c"), &folder("malloc-debug").join("program"), Link::None).run();
    for objects in [vec![debug.as_path()], vec![library().leak(), debug.as_path()]] {
        let list: Vec<&OsStr> = objects.iter().map(|path| path.as_os_str()).collect();
        let mut command = Command::new(&program);
        command.arg("write").env("LD_PRELOAD", list.join(OsStr::new(":"))).env("MALLOC_CHECK_", "3");
        let outcome = run(&mut command);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (-libc::SIGABRT, "size known: yes\n"),
            "{list:?}"
        );
    }
}

/// One that forwards to the C library and has no malloc_usable_size of its own.
#[test]
fn stands_before_libmemusage() {
    let Some(memusage) = installed("libmemusage.so") else {
        println!("skipped: libmemusage is not installed");
        return;
    };
    let program = compile(&source("link_faulty.c"), &folder("memusage").join("program"), Link::None).run();
    let outcome = preloaded(&program, &[&library(), &memusage]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "size known: yes\nnot noticed\n"));
    assert!(outcome.stderr.contains("Memory usage summary"), "{}", outcome.stderr);
}

/// The linker takes from an archive only what somebody refers to.
#[test]
fn calls_arrive_from_programs_that_name_no_allocation_function() {
    let folder = folder("names_nothing");
    let source = source("link_names_nothing.c");
    for way in DYNAMIC.into_iter().chain(STATIC) {
        for options in [&[][..], &["-flto"], &["-ffunction-sections", "-Wl,--gc-sections"]] {
            let build = compile_as(&source, &folder.join("program"), way);
            let program = options.iter().fold(build, |build, option| build.arg(option)).run();
            assert_eq!(run(&mut Command::new(program)), fine("seen 3\n"), "{way:?} {options:?}");
        }
    }
}

#[test]
fn programs_may_be_linked_by_gold() {
    if run(Command::new(tool("cc")).args(["-fuse-ld=gold", "-Wl,--version"])).status != 0 {
        println!("skipped: ld.gold is not installed");
        return;
    }
    let folder = folder("gold");
    for way in DYNAMIC.into_iter().chain([Way::Plain(Link::Static)]) {
        let build = compile_as(&source("link_names_nothing.c"), &folder.join(format!("{way:?}")), way);
        let program = build.arg("-fuse-ld=gold").run();
        assert_eq!(run(&mut Command::new(program)), fine("seen 3\n"), "{way:?}");
    }
}

/// Runs a tool; its standard output.
fn output_of(command: &mut Command) -> String {
    let outcome = run(command);
    assert_eq!(outcome.status, 0, "{command:?}:\n{}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}

fn pkg_config(package: &str, path: &Path) -> Option<Vec<String>> {
    if run(Command::new("sh").args(["-c", "command -v pkg-config"])).status != 0 {
        println!("skipped: pkg-config is not installed");
        return None;
    }
    let mut command = Command::new("pkg-config");
    command.args(["--cflags", "--libs", package]).env("PKG_CONFIG_PATH", path);
    Some(output_of(&mut command).split_whitespace().map(str::to_owned).collect())
}

/// Compiles a program with what pkg-config says, and runs it.
fn with_pkg_config(test: &str, package: &str, name: &str, stdout: &str) {
    let Some(options) = pkg_config(package, &dist().join("lib/pkgconfig")) else { return };
    let program = folder(test).join(package);
    let mut compiler = Command::new(tool("cc"));
    compiler.arg(source(name)).args(options).arg("-o").arg(program_output(&program));
    output_of(&mut compiler);
    let outcome = run(Command::new(program).env("LD_LIBRARY_PATH", dist().join("lib")));
    assert_eq!(outcome, fine(stdout), "{package}");
}

const BEHIND: &str = "Success, missed 0\n  memhook: all allocation calls arrive\n";

#[test]
fn pkg_config_names_all_that_is_needed() {
    with_pkg_config("pkg_config", "memhook", "selftest_behind.c", BEHIND);
    with_pkg_config("pkg_config_static", "memhook-static", "selftest_behind.c", BEHIND);
    let Some(_) = pkg_config("memhook", &dist().join("lib/pkgconfig")) else { return };
    let version = ["--modversion", "memhook", "memhook-static"];
    let mut command = Command::new("pkg-config");
    command.args(version).env("PKG_CONFIG_PATH", dist().join("lib/pkgconfig"));
    assert_eq!(output_of(&mut command), "0.1.0\n0.1.0\n");
}

#[test]
fn pkg_config_for_a_program_that_allocates_nothing() {
    with_pkg_config("pkg_config_bare", "memhook", "header_alone.c", "");
}

#[test]
fn static_program_that_allocates_nothing() {
    with_pkg_config("pkg_config_bare_static", "memhook-static", "header_alone.c", "");
}

#[test]
fn make_install_puts_everything_where_programs_look() {
    let folder = folder("install");
    let setting = |name: &str, value: &Path| format!("{name}={}", value.display());
    // Not into target/dist, which other tests are using.
    let (own_dist, destination) = (folder.join("dist"), folder.join("the root"));
    let target = std::env::var("MEMHOOK_TARGET").unwrap_or_default();
    // As people have it: with an option, where it is not the name of a linker too.
    let options = if target.is_empty() { " -pipe" } else { "" };
    output_of(
        Command::new("make")
            .arg("install")
            .arg("PREFIX=/usr")
            .arg(setting("DESTDIR", &destination))
            .arg(setting("DIST", &own_dist))
            .arg(format!("CC={}{options}", tool("cc")))
            .arg(format!("TARGET={target}"))
            .current_dir(root()),
    );
    let usr = destination.join("usr");
    for (file, mode) in [
        ("lib/libmemhook.so.0", 0o755),
        ("lib/libmemhook-mmap.so", 0o755),
        ("lib/libmemhook.a", 0o644),
        ("lib/memhook/memhook-static.opt", 0o644),
        ("include/memhook.h", 0o644),
    ] {
        use std::os::unix::fs::PermissionsExt;
        let found = fs::symlink_metadata(usr.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
    }
    assert_eq!(fs::read_link(usr.join("lib/libmemhook.so")).unwrap(), Path::new("libmemhook.so.0"));
    for file in ["memhook", "memhook-static"] {
        let text = fs::read_to_string(usr.join(format!("lib/pkgconfig/{file}.pc"))).unwrap();
        assert!(text.starts_with("prefix=/usr\n"), "{text}");
        assert!(!text.contains(root().to_str().unwrap()), "{text}");
    }
    for (name, how) in [("shared", &["-lmemhook"][..]), ("archive", &["-l:libmemhook.a"])] {
        let program = folder.join(name);
        let mut compiler = Command::new(tool("cc"));
        compiler.arg("-I").arg(usr.join("include")).arg(source("header_alone.c"));
        compiler.arg("-L").arg(usr.join("lib")).args(how).arg("-o").arg(program_output(&program));
        output_of(&mut compiler);
        let outcome = run(Command::new(program).env("LD_LIBRARY_PATH", usr.join("lib")));
        assert_eq!(outcome, fine(""), "{name}");
    }
}

/// Compiles a header test by these standards, and runs it.
fn by_standards(name: &str, standards: &[&str], stderr: &str) {
    for standard in standards {
        let folder = folder(&format!("{name}-{standard}"));
        let program = compile(&source(name), &folder.join("program"), Link::Shared)
            .arg(format!("-std={standard}"))
            .arg("-pedantic")
            .run();
        let expected = Outcome { stderr: stderr.into(), ..fine("") };
        assert_eq!(run(&mut Command::new(program)), expected, "{name} as {standard}");
    }
}

const C: [&str; 4] = ["c99", "c11", "c17", "c2x"];
const CXX: [&str; 4] = ["c++11", "c++14", "c++17", "c++20"];

#[test]
fn header_stands_alone() {
    by_standards("header_alone.c", &C, "");
    by_standards("header_alone.cpp", &CXX, "");
}

#[test]
fn header_may_be_included_twice() {
    by_standards("header_twice.c", &C, "");
    by_standards("header_twice.cpp", &CXX, "");
}

#[test]
fn header_compiles_with_everything_used() {
    by_standards("header_all.c", &C, "0.1.0 0\n");
    by_standards("header_all.cpp", &CXX, "0.1.0 0\n");
}

#[test]
fn header_is_clean_under_strict_warnings() {
    for (name, standards) in
        [("header_strict.c", &C[..]), ("header_strict.cpp", &["c++98", "c++11", "c++17", "c++2b"])]
    {
        for standard in standards {
            let folder = folder(&format!("{name}-{standard}"));
            let build = compile(&source(name), &folder.join("program"), Link::Shared);
            let build = build.arg(format!("-std={standard}")).arg("-pedantic");
            let build =
                build.args(["-Wconversion", "-Wsign-conversion", "-Wcast-qual", "-Wshadow", "-Wundef"]);
            let language = if name.ends_with(".c") { "-Wstrict-prototypes" } else { "-Wold-style-cast" };
            let program = build.arg(language).run();
            assert_eq!(run(&mut Command::new(program)), fine(""), "{name}, {standard}");
        }
    }
}

#[test]
fn header_current() {
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    assert!(
        read(root().join("include/memhook.h")) == read(dist().join("include/memhook.h")),
        "include/memhook.h is not what was built last: run `make`"
    );
}

/// The names in a section of `tests/abi/symbols.txt`.
fn promised(section: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("tests/abi/symbols.txt")).unwrap();
    let lines = text.lines().skip_while(|line| *line != section).skip(1);
    lines.take_while(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn symbols(options: &[&str], file: &Path) -> Vec<String> {
    let text = output_of(Command::new(tool("nm")).args(options).arg(file));
    let name = |line: &str| match *line.split_whitespace().collect::<Vec<_>>() {
        [_, _, name] => Some(name.to_owned()),
        _ => None,
    };
    let mut names: Vec<String> = text.lines().filter_map(name).collect();
    names.sort();
    names
}

#[test]
fn symbols_are_those_promised() {
    let shared = symbols(&["-D", "--defined-only"], &library());
    assert_eq!(shared, promised("# Dynamic symbols of libmemhook.so.0"));
    let archive = symbols(&["-g", "--defined-only"], &dist().join("lib/libmemhook.a"));
    assert_eq!(archive, promised("# Global symbols of libmemhook.a"));
}

#[test]
fn shared_library_is_as_it_should_be() {
    let dynamic = output_of(Command::new(tool("readelf")).arg("-dW").arg(library()));
    let has = |what: &str| dynamic.lines().any(|line| line.contains(what));
    assert!(has("(SONAME)") && has("[libmemhook.so.0]"), "{dynamic}");
    assert!(dynamic.lines().any(|l| l.contains("(FLAGS_1)") && l.contains("NODELETE")), "{dynamic}");
    assert!(!has("TEXTREL"), "{dynamic}");
    assert!(!has("(RPATH)") && !has("(RUNPATH)"), "{dynamic}");
    let segments = output_of(Command::new(tool("readelf")).arg("-lW").arg(library()));
    let stack = segments.lines().find(|l| l.contains("GNU_STACK")).expect("a GNU_STACK segment");
    assert!(stack.contains(" RW ") && !stack.contains("RWE"), "{stack}");
    assert!(!segments.lines().any(|l| l.contains("LOAD") && l.contains("RWE")), "{segments}");
}

#[test]
fn archive_needs_nothing_of_rusts_runtime() {
    let text = output_of(Command::new(tool("nm")).arg("-u").arg(dist().join("lib/libmemhook.a")));
    let rust = |line: &&str| {
        let name = line.trim_start().trim_start_matches(['U', 'w']).trim_start();
        name.starts_with("_R")
            || name.starts_with("_ZN")
            || name.starts_with("rust_")
            || name.contains("panic")
    };
    assert_eq!(text.lines().filter(rust).collect::<Vec<_>>(), [""; 0]);
    // Nor an executable stack: each member says so.
    let sections = output_of(Command::new(tool("readelf")).arg("-SW").arg(dist().join("lib/libmemhook.a")));
    let members = sections.matches("File: ").count();
    assert_eq!(sections.matches(".note.GNU-stack").count(), members, "{sections}");
}
