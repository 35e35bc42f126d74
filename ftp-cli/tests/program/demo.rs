//! `demo`: the first command that a new user tries.

use ftp_tests::process::run;
use ftp_tests::root::TempRoot;

use crate::ftp;

#[test]
fn demo_shows_the_dialogue_and_cleans_up() {
    let temporary = TempRoot::new();
    let ran = run(ftp(&["demo"]).env("TMPDIR", temporary.path()));
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
        "> TYPE A\n",
        "ok   put LICENSE-MIT: ",
        "ok   get LICENSE-MIT: ",
        "ok   put text: 4 lines",
        "ok   list: 64 MiB.bin (67108864), LICENSE-MIT (",
        "ok   get 64 MiB.bin from byte 33554432: ",
        "ok   put half.bin from byte 33554432: ",
        "ok   copy 64 MiB.bin to copied.bin: ",
        "ok   copy 64 MiB.bin to reverse.bin: ",
        "ok   the temporary directory is removed",
    ] {
        assert!(text.contains(want), "no {want} in {text}");
    }
    assert_eq!(text.matches("> REST 33554432\n").count(), 2, "{text}");
    // It depends on the build whether TLS is shown.
    let is_shown = text.contains("ok   the control connection uses TLS")
        && text.contains("> AUTH TLS\n")
        && text.contains("ok   a login without TLS is refused before the password");
    assert!(is_shown || text.contains("\nTLS: skipped"), "{text}");
    assert!(text.ends_with(" checks passed\n"), "{text}");
    assert!(text.lines().count() < 350, "{text}");
    assert!(temporary.names().is_empty());

    let quiet = run(ftp(&["demo", "-q"]).env("TMPDIR", temporary.path())).succeeded();
    assert_eq!(String::from_utf8(quiet).unwrap().lines().count(), 1);
}

#[test]
fn demo_is_part_of_the_library() {
    let stdio = ftp_cli::Stdio::captured(std::io::empty(), std::io::sink(), std::io::sink());
    assert_eq!(ftp_cli::run(["demo".into(), "-q".into()], stdio), 0.into());
}
