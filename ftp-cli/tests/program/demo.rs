//! `demo`: the first command that a new user tries.

use std::io;

use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

use crate::ftp;

#[test]
fn demo_shows_the_dialogue_with_verbose_and_writes_no_file() {
    let temporary = TempRoot::new();
    let ran = run(ftp(&["demo", "-v"]).env("TMPDIR", temporary.path()));
    assert!(ran.stderr.is_empty(), "{ran:?}");
    let text = String::from_utf8(ran.succeeded()).unwrap();
    for want in [
        "> PASV\n",
        "= 227: 127.0.0.1 port ",
        "*256+",
        "> EPSV\n",
        "> MLSD\n",
        "> PORT ",
        "> EPRT ",
        "ok   put LICENSE-MIT: ",
        "ok   get LICENSE-MIT: ",
        "ok   list: 16 MiB.bin (16777216), LICENSE-MIT (",
        "ok   get 16 MiB.bin from byte 8388608: ",
        "ok   put half.bin from byte 8388608: ",
        "ok   copy 16 MiB.bin to copied.bin: ",
    ] {
        assert!(text.contains(want), "no {want} in {text}");
    }
    assert_eq!(text.matches("> REST 8388608\n").count(), 2, "{text}");
    // It depends on the build whether TLS is shown.
    let is_shown = text.contains("ok   the control connection uses TLS")
        && text.contains("> AUTH TLS\n")
        && text.contains("ok   a login without TLS is refused before the password is sent");
    assert!(is_shown || text.contains("\nTLS: skipped"), "{text}");
    assert!(text.ends_with(" checks passed\n"), "{text}");
    assert!(text.lines().count() < 380, "{text}");
    assert!(temporary.names().is_empty());

    let brief = run(ftp(&["demo"]).env("TMPDIR", temporary.path())).succeeded();
    let brief = String::from_utf8(brief).unwrap();
    let checks = |text: &str| text.lines().filter(|line| line.starts_with("ok   ")).count();
    assert_eq!(checks(&brief), checks(&text), "{brief}");
    assert!(!brief.contains("> ") && brief.lines().count() < 50, "{brief}");

    let quiet = run(ftp(&["demo", "-q"]).env("TMPDIR", temporary.path())).succeeded();
    assert_eq!(String::from_utf8(quiet).unwrap().lines().count(), 1);
}

#[test]
fn the_library_can_run_the_demo() {
    let stdio = ftp_cli::Stdio::captured(io::empty(), io::sink(), io::sink());
    assert_eq!(ftp_cli::run(["demo".into(), "-q".into()], stdio), 0.into());
}
