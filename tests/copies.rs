//! More than one copy of the library in a process, and a copy in an object that is unloaded.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, compile, folder, library, root, run};

/// A C program or object of `tests/c`, with a copy of the library where that is asked for.
fn built(folder: &Path, output: &str, source: &str, link: Link, arguments: &[&str]) -> PathBuf {
    let source = root().join("tests/c").join(source);
    let build = compile(&source, &folder.join(output), link);
    arguments.iter().fold(build, |build, argument| build.arg(argument)).run()
}

const OBJECT: [&str; 2] = ["-shared", "-fPIC"];
/// What the archive defines is then seen inside the object only.
const HIDDEN: &str = "-Wl,--exclude-libs,ALL";

#[test]
fn the_archive_keeps_the_object_that_it_is_in() {
    let folder = folder("copies-unloaded");
    let program = built(&folder, "program", "copies_unloaded.c", Link::None, &[]);
    let seen = built(&folder, "seen.so", "copies_plugin.c", Link::Archive, &OBJECT);
    let [shared, pic] = OBJECT;
    let hidden = built(&folder, "hidden.so", "copies_plugin.c", Link::Archive, &[shared, pic, HIDDEN]);
    for plugin in [seen, hidden] {
        for preload in ["", library().to_str().expect("a path")] {
            for namespace in ["", "namespace"] {
                let mut command = Command::new(&program);
                command.arg(&plugin).env("LD_PRELOAD", preload);
                if !namespace.is_empty() {
                    command.arg(namespace);
                }
                let stdout = "0, 0, unloaded: 0, child: 7\n".into();
                let fine = Outcome { status: 0, stdout, stderr: String::new() };
                assert_eq!(run(&mut command), fine, "{}, {preload}, {namespace}", plugin.display());
            }
        }
    }
}

#[test]
fn one_copy_of_the_library_obeys_the_environment() {
    let folder = folder("copies-environment");
    let [shared, pic] = OBJECT;
    let program = |name: &str, link, arguments: &[&str]| {
        built(&folder, name, "copies_program.c", link, arguments).display().to_string()
    };
    let object = |name: &str, link, arguments: &[&str]| {
        let arguments = [&OBJECT[..], arguments].concat();
        built(&folder, name, "copies_plugin.c", link, &arguments).display().to_string()
    };
    let library = library().display().to_string();
    let with_archive = program("archive", Link::Archive, &[]);
    let hiding = program("hiding", Link::Archive, &[HIDDEN]);
    let plain = program("plain", Link::None, &[]);
    let plugin = object("plugin.so", Link::Archive, &[]);
    let hidden = object("hidden.so", Link::Archive, &[HIDDEN]);
    let linked = object("linked.so", Link::Plugin, &[]);
    let below = built(&folder, "libbelow.so", "copies_plugin.c", Link::Archive, &[shared, pic]);
    let folder_option = format!("-Wl,--no-as-needed,-rpath,{}", folder.display());
    let dependent = program("dependent", Link::None, &[&folder_option, below.to_str().expect("a path")]);
    let leave_to = |name: &str| {
        format!(
            "memhook: two copies of the library: MEMHOOK and MALLOC_CHECK_ are left to the one in {name}\n"
        )
    };
    let to_program = leave_to("the program");
    let to_library = leave_to(&library);
    // Program, what it loads, what is preloaded, and what is said.
    let cases: [(&str, &str, &str, &str); 10] = [
        (&with_archive, "", "", ""),
        (&plain, "", &library, ""),
        (&with_archive, "", &library, &to_program),
        (&hiding, "", &library, &to_library),
        (&dependent, "", "", ""),
        (&dependent, "", &library, &to_library),
        (&plain, &plugin, &library, &to_library),
        (&plain, &hidden, &library, &to_library),
        (&with_archive, &linked, "", &to_program),
        (&with_archive, &plugin, "", &to_program),
    ];
    for (program, loads, preload, said) in cases {
        let mut command = Command::new(program);
        command.env("LD_PRELOAD", preload).env("MEMHOOK", "fail=nth:3,above:65536");
        if !loads.is_empty() {
            command.arg(loads);
        }
        let fine = Outcome { status: 0, stdout: "1 failed\n".into(), stderr: said.into() };
        assert_eq!(run(&mut command), fine, "{program} {loads}, preloaded: {preload}");
        command.env("MEMHOOK", "usage");
        let Outcome { status, stdout, stderr } = run(&mut command);
        let reports = stderr.matches("Memory usage summary").count();
        assert_eq!((status, stdout.as_str(), reports), (0, "0 failed\n", 1), "{stderr}");
    }
}
