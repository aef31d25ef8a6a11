//! Writes include/memhook.h from the documented declarations and names the shared library.

use std::{env, fs, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let root = Path::new(&root);
    for source in ["src/abi.rs", "src/api", "src/tools", "cbindgen.toml", "build.rs"] {
        println!("cargo::rerun-if-changed={source}");
    }
    // What a program was linked with keeps working as long as this number stays.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmemhook.so.0");
    // Never unmapped: callers' return addresses and stubs may lead here at any time (R10).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // ld.so calls malloc before it could run its lazy resolver on our behalf.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,now");

    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let text = |name: &str| fs::read_to_string(root.join(name)).expect("header part is readable");
    config.header =
        Some("/* memhook.h: generated from the library's sources by build.rs; do not edit. */".into());
    config.after_includes = Some(text("src/api/head.h"));
    config.trailer = Some(text("src/api/tail.h"));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in ["abi.rs", "api/mod.rs", "tools/mod.rs"] {
        builder = builder.with_src(root.join("src").join(source));
    }
    // write_to_file leaves an equal file alone, so that make sees no change.
    builder.generate().expect("the header can be generated").write_to_file(root.join("include/memhook.h"));
}
