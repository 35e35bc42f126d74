//! Usage errors, help, version.

use ftp_tests::process::run;

use crate::{failed, ftp};

#[test]
fn help_and_version_go_to_standard_output() {
    for (arguments, want) in [
        (&["--version"][..], concat!("ftp-cli ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["get", "-V"], concat!("ftp-cli ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["--help"], "Exit codes"),
        (&["help"], "Exit codes"),
        (&["help", "get"], "--continue"),
        (&["serve", "--help"], "timeouts.idle"),
        (&["-h", "put"], "--append"),
        (&["get", "-h"], "ftp-cli get --help explains all options."),
        (&["get", "-h", "--help"], "--segments"),
        (&["-h"], "ftp-cli COMMAND -h shows examples"),
        (&["help", "help"], "Usage: ftp-cli"),
    ] {
        let ran = run(&mut ftp(arguments));
        assert!(ran.stderr.is_empty(), "{ran:?}");
        let text = String::from_utf8(ran.succeeded()).unwrap();
        assert!(text.contains(want), "{arguments:?}: {text}");
    }
}

#[test]
fn usage_errors_have_their_message_and_exit_code() {
    for (arguments, code, words) in [
        (&[][..], 2, "missing command"),
        (&["gett", "ftp://127.0.0.1/x"], 2, "did you mean \"get\"?"),
        (&["get"], 2, "get needs a URL"),
        (&["get", "ftp://127.0.0.1/x", "-", "y"], 2, "one LOCAL"),
        (&["get", "ftp://127.0.0.1/"], 2, "names a directory"),
        (&["get", "ftp://127.0.0.1/a/.."], 2, "does not name a file"),
        (&["get", "ftp://127.0.0.1/x", "--append"], 2, "only put, batch accept it"),
        (&["get", "-c", "ftp://127.0.0.1/x", "-"], 2, "regular local file"),
        (&["get", "-n", "ftp://127.0.0.1/x", "-"], 2, "--no-clobber needs a regular local file"),
        (&["get", "--if-changed", "ftp://127.0.0.1/x", "-"], 2, "--if-changed needs a regular"),
        (&["get", "-P", "", "ftp://127.0.0.1/x"], 2, "--directory: the path is empty"),
        (&["get", "-r", "ftp://127.0.0.1/x", ""], 2, "a tree needs a local directory"),
        (&["get", "-r", "ftp://127.0.0.1/x", "-"], 2, "a tree needs a local directory"),
        (&["mirror", "ftp://127.0.0.1/x", ""], 2, "a tree needs a local directory"),
        (&["mirror", "ftp://127.0.0.1/x", "-"], 2, "use ./- for one named -"),
        (&["put", "-r", "", "ftp://127.0.0.1/x"], 2, "a tree needs a local directory"),
        (&["put", "", "ftp://127.0.0.1/x/"], 2, "\"\": does not end in a file name"),
        (&["put", "--unique", "-n", "a", "ftp://127.0.0.1/x"], 2, "exclude each other"),
        (&["put", "-n", "--newer", "a", "ftp://127.0.0.1/x"], 2, "exclude each other"),
        (&["get", "-ac", "ftp://127.0.0.1/x", "/tmp/x"], 2, "--ascii"),
        (&["get", "ftp://127.0.0.1/x", "--timeout", "0"], 2, "--timeout"),
        (&["get", "ftp://127.0.0.1/x%0aDELE%20x"], 2, "not an FTP URL"),
        (&["get", "--tls", "try", "ftpes://127.0.0.1/x"], 2, "contradict each other"),
        (&["ls", "ftp.example.org/x"], 2, "missing scheme; did you mean"),
        (&["get", "--insecure", "ftp://127.0.0.1/x"], 2, "--insecure needs TLS"),
        (&["get", "--pin", "sha256//x", "ftpes://127.0.0.1/x"], 2, "--pin"),
        (&["get", "--ca-file", "/proc/none/x", "ftpes://127.0.0.1/x"], 3, "/proc/none/x"),
        (&["get", "ftp://u@127.0.0.1/x", "/dev/null"], 6, "FTP_PASSWORD"),
        (&["get", "ftp://127.0.0.1/x", "/proc/none/x"], 3, "/proc/none/x"),
        (&["put", "ftp://127.0.0.1/x"], 2, "put needs a file"),
        (&["put", "a", "b", "ftp://127.0.0.1/x"], 2, "ends in /"),
        (&["put", "-", "ftp://127.0.0.1/x/"], 2, "no name"),
        (&["put", "-c", "-", "ftp://127.0.0.1/x"], 2, "standard input"),
        (&["put", "/proc/none/x", "ftp://127.0.0.1/x"], 3, "/proc/none/x"),
        (&["put", "/tmp", "ftp://127.0.0.1/x"], 3, "/tmp: "),
        (&["ls"], 2, "ls needs a URL"),
        (&["ls", "--progress", "never", "ftp://127.0.0.1/"], 2, "only get, put, batch"),
        (&["fxp", "ftp://127.0.0.1/x"], 2, "two URLs"),
        (&["fxp", "ftp://127.0.0.1/x/", "ftp://127.0.0.1/"], 2, "names a directory"),
        (&["fxp", "ftp://127.0.0.1/x/..", "ftp://127.0.0.1/"], 2, "does not name a file"),
        (&["fxp", "ftp://127.0.0.1/x;type=a", "ftp://127.0.0.1/y"], 2, "does not support ;type=a"),
        (&["fxp", "ftp://127.0.0.1/x", "/tmp/y"], 2, "not an FTP URL"),
        (
            &["fxp", "--passive-address", "x", "ftp://h/x", "ftp://h/y"],
            2,
            "expected peer, smart, reply",
        ),
        (
            &["fxp", "-u", "u", "ftp://127.0.0.1/x", "ftp://127.0.0.1/y"],
            2,
            "ftp-cli help fxp lists",
        ),
        (&["fxp", "ftp://u@127.0.0.1/x", "ftp://v@127.0.0.1/y"], 6, "--password-file"),
        (&["serve", "--set", "timeout.idle=5"], 2, "did you mean timeouts.idle?"),
        (&["serve", "--user", "me"], 2, "FTP_PASSWORD"),
        (&["passwd", "geheim"], 2, "no operand"),
        (&["passwd"], 2, "standard input: expected a secret, but the line is empty or missing"),
        (&["passwd", "--password-file", "/proc/none/x"], 3, "/proc/none/x"),
        (&["demo", "x"], 2, "no operand"),
        (&["help", "x"], 2, "unknown command \"x\""),
    ] {
        failed(&run(&mut ftp(arguments)), code, words);
    }
}

#[test]
fn no_message_shows_a_password_hl_11() {
    for arguments in [
        &["get", "ftp://u:geheim@127.0.0.1:0/x"][..],
        &["get", "ftps://u:geheim@127.0.0.1/x"],
        &["get", "--password=geheim", "ftp://u@127.0.0.1/x"],
        &["get", "ftp://u:geheim@127.0.0.1/"],
        &["put", "a", "b", "ftp://u:geheim@127.0.0.1/x"],
    ] {
        let ran = run(&mut ftp(arguments));
        assert_ne!(ran.code(), Some(0), "{ran:?}");
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("geheim"), "{arguments:?}");
    }
}
