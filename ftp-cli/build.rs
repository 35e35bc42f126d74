//! How the program is linked: with less for the dynamic loader to do, which is most of what a
//! small transfer costs. None of it is needed, and where it is not sure to work it is left out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// From this C library on the loader reads relative relocations that are packed (`DT_RELR`).
const PACKED_FROM: (u32, u32) = (2, 36);

/// Identical code folding, of the linker.
const FOLDING: &str = "-Wl,--icf=all";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // What is found out below is about this host, and about its own C compiler.
    let is_native = env::var("TARGET") == env::var("HOST");
    let is_gnu = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux")
        && env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    let is_static =
        env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|all| all.contains("crt-static"));
    // One who chooses a linker chooses what it is told: gold refuses what it does not know.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_chosen = env::var_os("RUSTC_LINKER").is_some()
        || ["linker", "fuse-ld"].iter().any(|word| flags.contains(word));
    if !is_native || !is_gnu || is_static || is_chosen {
        return;
    }
    if c_library().is_some_and(|version| version >= PACKED_FROM) {
        // GNU ld and lld that are too old for it warn, and leave them as they are.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // Functions of the same instructions once: under other types Rust makes many such. Nothing here
    // tells functions apart by their addresses. GNU ld does not know it, and lld, which Rust links by
    // where it comes with one, does.
    if links_with(FOLDING) {
        println!("cargo::rustc-link-arg-bins={FOLDING}");
    }
    // The unwinder within the program, in place of a shared library that is read at each start.
    if let Some(directory) = archive("libgcc_eh.a") {
        println!("cargo::rustc-link-search=native={}", directory.display());
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}

/// The version of this host's C library, which is the oldest that the program is to run with.
fn c_library() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether the compiler that builds the program links one that does nothing, with this option.
fn links_with(option: &str) -> bool {
    let (Some(rustc), Some(out)) = (env::var_os("RUSTC"), env::var_os("OUT_DIR")) else {
        return false;
    };
    let source = Path::new(&out).join("nothing.rs");
    fs::write(&source, "fn main() {}\n").is_ok()
        && Command::new(rustc)
            .arg(format!("-Clink-arg={option}"))
            .arg("-o")
            .arg(source.with_extension("out"))
            .arg(&source)
            .output()
            .is_ok_and(|output| output.status.success())
}

/// The directory of an archive that comes with the C compiler, which links the program.
fn archive(name: &str) -> Option<PathBuf> {
    let output = Command::new("cc").arg(format!("-print-file-name={name}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // What is not found is printed as it was asked for.
    let found = path.is_absolute() && path.is_file();
    path.parent().filter(|_| found).map(Path::to_owned)
}
