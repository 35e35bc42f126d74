use std::ffi::OsStr;

use super::*;
use crate::options::{self, configured::check};

const FILE: &str = "\
[defaults]
retry = 2
tls-data = \"clear\"
pin = [\"one\", \"two\"]
insecure = true
[hosts.\"nas.example\"]
user = \"me\"
insecure = false
[hosts.\"nas.example:2121\"]
user = \"other\"
[bookmarks]
nas = \"ftpes://me@nas.example/volume1/\"
top = \"ftp://h\"
";

/// Returns the options and operands of a line, after the file.
fn line(line: &str) -> Result<String, String> {
    let (command, mut options) =
        options::parse(line.split(' ').map(OsString::from)).map_err(|error| error.message)?;
    let file = read("f".to_owned(), FILE).map_err(|error| error.message)?;
    file.apply(command.unwrap(), &mut options).map_err(|error| error.message)?;
    let mut words = Vec::new();
    for long in ["retry", "tls-data", "pin", "insecure", "user"] {
        let values: Vec<_> = options.all(long).map(OsStr::to_string_lossy).collect();
        if options.has(long) {
            words.push(format!("{long}={}", values.join(",")));
        }
    }
    words.extend(options.operands.iter().map(|text| text.to_string_lossy().into_owned()));
    Ok(words.join(" "))
}

#[test]
fn typed_options_override_host_options_which_override_defaults() {
    let defaults = "retry=2 tls-data=clear pin=one,two";
    for (typed, want) in [
        ("get ftp://h/a", format!("{defaults} insecure= ftp://h/a")),
        ("get ftp://NAS.example/a", format!("{defaults} user=me ftp://NAS.example/a")),
        (
            "get -u you --pin three ftp://nas.example/a",
            "retry=2 tls-data=clear pin=three user=you ftp://nas.example/a".to_owned(),
        ),
        ("get ftp://nas.example:2121/a", format!("{defaults} user=other ftp://nas.example:2121/a")),
        ("get me@nas.example:a b", format!("{defaults} me@nas.example:a b")),
        ("get nas.example:a b", format!("{defaults} user=me nas.example:a b")),
        ("mirror site ftp://h/", format!("{defaults} insecure= site ftp://h/")),
        // Options that the command does not accept are left out.
        ("quote ftp://h/ NOOP", "tls-data=clear pin=one,two insecure= ftp://h/ NOOP".to_owned()),
    ] {
        assert_eq!(line(typed), Ok(want), "{typed}");
    }
    let wrong = line("get -P d ftp://h/a ftp://nas.example/b").unwrap_err();
    assert!(wrong.starts_with("f: h and nas.example have different options"), "{wrong}");
}

#[test]
fn a_configured_password_applies_only_to_its_user() {
    for (typed, want) in [
        ("ls ftp://h/", "user=me password-command=c"),
        ("ls ftp://me@h/", "password-command=c"),
        ("ls ftp://me:pw@h/", ""),
        ("ls ftp://you@h/", ""),
        ("ls ftp://you:pw@h/", ""),
        ("ls -u me ftp://h/", "user=me password-command=c"),
        ("ls -u you ftp://h/", "user=you"),
        ("ls -u me ftp://you@h/", "user=me password-command=c"),
        ("ls --password-file f ftp://h/", "user=me password-file=f password-command=c"),
        ("ls ftp://me@h:2121/", "password-command=c password-file=all"),
        ("ls ftp://you@h:2121/", "password-file=all"),
        // Refused later if no other source names a user. fxp has no option for the user.
        ("ls ftp://i/", "password-file=nobodys"),
        ("fxp ftp://h/ ftp://h/a", "password-command=c"),
        ("fxp ftp://me@h/ ftp://me@h/a", "password-command=c"),
    ] {
        let text = "[hosts.h]\nuser = \"me\"\npassword-command = \"c\"\n\
                        [hosts.\"h:2121\"]\npassword-file = \"all\"\n\
                        [hosts.i]\npassword-file = \"nobodys\"\n";
        let (command, mut options) =
            options::parse(typed.split(' ').map(OsString::from)).ok().unwrap();
        read("f".to_owned(), text)
            .and_then(|file| file.apply(command.unwrap(), &mut options))
            .unwrap();
        let longs = ["user", "password-command", "password-file"];
        let mut found: Vec<_> = options
            .in_order(&longs)
            .map(|(long, value)| format!("{long}={}", value.display()))
            .collect();
        let mut want: Vec<_> = want.split_terminator(' ').collect();
        found.sort();
        want.sort_unstable();
        assert_eq!(found, want, "{typed}");
    }
    let mixed = line("ls ftp://you@nas.example/ ftp://nas.example/").unwrap_err();
    assert!(mixed.contains("ftp://you@nas.example/ and ftp://nas.example/ have"), "{mixed}");
}

#[test]
fn listed_urls_must_share_the_host_options_of_the_run() {
    for (typed, listed, want) in [
        ("get -i f", "ftp://h/a", None),
        ("get -i f", "ftp://NAS.example/a", Some("f: NAS.example has options that do not apply")),
        ("get -i f ftp://h/b", "ftp://nas.example/a", Some("f: h and nas.example have")),
        ("get -i f ftp://nas.example/b", "ftp://nas.example/a", None),
        ("get -i f ftp://nas.example/b", "ftp://h/a", Some("f: nas.example and h have")),
        (
            "get -i f ftp://nas.example/b",
            "ftp://nas.example:2121/a",
            Some("f: ftp://nas.example/b and ftp://nas.example:2121/a have"),
        ),
        ("get -i f -u you --insecure ftp://h/b", "ftp://nas.example/a", None),
    ] {
        let (command, mut options) =
            options::parse(typed.split(' ').map(OsString::from)).ok().unwrap();
        let file = read("f".to_owned(), FILE).ok().unwrap();
        file.apply(command.unwrap(), &mut options).ok().unwrap();
        let checked = check(&options, &FtpUrl::parse(listed.as_bytes()).unwrap());
        let said = checked.err().map(|failure| failure.message);
        let is_right = said.as_ref().zip(want).is_some_and(|(said, want)| said.starts_with(want));
        assert!(is_right || said.is_none() && want.is_none(), "{typed} {listed}: {said:?}");
    }
}

#[test]
fn bookmarks_are_expanded_in_operands() {
    for (typed, want) in [
        ("@nas", "ftpes://me@nas.example/volume1/"),
        ("@nas/", "ftpes://me@nas.example/volume1/"),
        ("@nas/a/b%20c", "ftpes://me@nas.example/volume1/a/b%20c"),
        ("@top/a", "ftp://h/a"),
        ("@none/a", "@none/a"),
        ("nas", "nas"),
        ("./@nas", "./@nas"),
    ] {
        let all = line(&format!("get {typed}")).unwrap();
        assert_eq!(all.rsplit(' ').next(), Some(want), "{typed}");
    }
}

#[test]
fn the_configuration_file_is_found_by_xdg_rules() {
    for (variables, want) in [
        (&[("HOME", "/h")][..], Some(("/h/.config/ftp-cli/config.toml", false))),
        (&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], Some(("/x/ftp-cli/config.toml", false))),
        (
            &[("HOME", "/h"), ("XDG_CONFIG_HOME", "x")],
            Some(("/h/.config/ftp-cli/config.toml", false)),
        ),
        (&[("HOME", "h")], None),
        (&[], None),
        (&[("HOME", "/h"), ("FTP_CLI_CONFIG", "")], None),
        (&[("HOME", "/h"), ("FTP_CLI_CONFIG", "f")], Some(("f", true))),
    ] {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let want = want.map(|(path, is_named)| Place { path: path.into(), is_named });
        assert_eq!(of_file(find), want, "{variables:?}");
    }
}

#[test]
fn every_configuration_error_has_its_position() {
    for (text, want) in [
        ("[defaults]\nretry = = 2\n", "f:2:9: "),
        ("[defaults]\nretry = 2\nretry = 3\n", "f:3:1: "),
        ("[default]\n", "f:1:2: default: unknown table; did you mean [defaults]?"),
        ("retry = 1\n", "f:1:1: retry: unknown table"),
        ("defaults = 1\n", "f:1:1: expected a table [defaults]"),
        ("[hosts]\nnas = 1\n", "f:2:1: expected a table [hosts.nas]"),
        ("[hosts.\"a/b\"]\n", "f:1:8: [hosts.\"a/b\"]: expected HOST or HOST:PORT"),
        ("[hosts.\"u@h\"]\n", "f:1:8: [hosts.\"u@h\"]: expected HOST or HOST:PORT"),
        ("[hosts.\"h:\"]\n", "f:1:8: [hosts.\"h:\"]: expected HOST or HOST:PORT"),
        ("[defaults]\nretyr = 1\n", "f:2:1: retyr: unknown option; did you mean retry?"),
        ("[defaults]\ndelete = true\n", "f:2:1: delete: unknown option"),
        ("[defaults]\nno-config = true\n", "f:2:1: no-config: unknown option"),
        ("[defaults]\npassword = \"p\"\n", "f:2:1: password: unknown option; passwords do"),
        (
            "[defaults]\nuser = \"u\"\n",
            "f:2:1: user: not allowed in [defaults]; move it to [hosts.",
        ),
        (
            "[defaults]\nretry = 2\n  password-file = \"f\"\n",
            "f:3:3: password-file: not allowed in",
        ),
        ("[defaults]\npassword-command = \"c\"\n", "f:2:1: password-command: not allowed in"),
        ("[defaults]\naccount = \"geheim\"\n", "f:2:1: account: unknown option; passwords do"),
        ("[defaults]\ninsecure = 1\n", "f:2:12: insecure: expected true or false"),
        ("[defaults]\ntls = \"yes\"\n", "f:2:7: tls: expected off, try, explicit, implicit"),
        ("[defaults]\ntls = true\n", "f:2:7: tls: expected a string or a number"),
        ("[defaults]\nretry = [1]\n", "f:2:9: retry: expected a string or a number"),
        ("[defaults]\nretry = 0x1\n", "f:2:9: retry: expected a string or a number"),
        ("[defaults]\npin = [1.5]\n", "f:2:8: pin: expected a string or a number"),
        (
            "[defaults]\nproxy = \"socks5://u:geheim@h\"\n",
            "f:2:9: proxy: passwords do not belong in this file; use $ftp_proxy",
        ),
        (
            "[bookmarks]\n  a = \"ftp://u:geheim@h\"\n",
            "f:2:7: a: passwords do not belong in this file; use ~/.netrc",
        ),
        ("[bookmarks]\na = \"h:x\"\n", "f:2:5: a: expected a URL"),
        ("[bookmarks]\na = \"ftp://h/a;type=a\"\n", "f:2:5: a: expected a URL"),
        ("[bookmarks]\na = 1\n", "f:2:5: a: expected a URL"),
        ("[bookmarks]\n\"a/b\" = \"ftp://h\"\n", "f:2:1: \"a/b\": expected a name"),
    ] {
        let failure = read("f".to_owned(), text).unwrap_err();
        assert!(failure.message.starts_with(want), "{text:?}: {}", failure.message);
        assert!(!failure.message.contains("geheim"), "{}", failure.message);
    }
}

#[test]
fn hosts_are_names_addresses_and_ports() {
    let text = "[hosts.\"[::1]:2121\"]\n[hosts.\"192.0.2.1\"]\n[hosts.NAS]\n[hosts.\"[::2]\"]\n";
    let file = read("f".to_owned(), text).unwrap();
    let hosts: Vec<_> =
        file.hosts.iter().map(|(host, _)| (host.name.as_str(), host.port)).collect();
    let want = [("192.0.2.1", None), ("NAS", None), ("::2", None), ("::1", Some(2121))];
    assert_eq!(hosts, want);
}

/// Returns the options that a command line gets from a file.
fn found(file: &str, line: &str) -> String {
    let (command, mut options) = options::parse(line.split(' ').map(OsString::from)).ok().unwrap();
    let longs: Vec<_> = options.names().collect();
    let file = read("f".to_owned(), file).ok().unwrap();
    file.apply(command.unwrap(), &mut options).ok().unwrap();
    let found: Vec<_> = options.names().take(options.names().count() - longs.len()).collect();
    found.join(" ")
}

#[test]
fn configured_options_without_effect_are_left_out() {
    for (file, line, want) in [
        ("jobs = 2", "get ftp://h/a ftp://h/b", "jobs"),
        ("verify = \"hash\"", "get ftp://h/a", "verify"),
        ("verify = \"hash\"", "get -a ftp://h/a", ""),
        ("verify = \"hash\"", "get -ab ftp://h/a", "verify"),
        ("verify = \"hash\"", "get ftp://h/a;type=a", ""),
        ("verify = \"none\"", "get -a ftp://h/a", "verify"),
        ("verify = \"hash\"", "put --append a ftp://h/a", ""),
        ("verify = \"size\"", "put --append a ftp://h/a", "verify"),
        ("verify = \"hash\"", "put -r a ftp://h/a", ""),
        ("verify = \"none\"", "put --remove-source a ftp://h/a", ""),
        ("insecure = true", "ls --pin p ftpes://h/", ""),
        ("pin = \"p\"", "ls -k ftpes://h/", ""),
        ("insecure = true\n[hosts.h]\npin = \"p\"", "ls ftpes://h/", "pin"),
        ("pin = \"p\"\n[hosts.h]\ninsecure = false", "ls ftpes://h/", "pin"),
        ("pin = \"p\"\ninsecure = true", "ls ftpes://h/", "pin insecure"),
        ("compress = true", "get --reuse-data ftp://h/a", ""),
        ("reuse-data = true\n[hosts.h]\ncompress = true", "get ftp://h/a", "compress"),
        ("reuse-data = true\ncompress = true", "get ftp://h/a", "reuse-data compress"),
        ("jobs = 2", "get --segments 2 ftp://h/a ftp://h/b", ""),
        ("client-cert = \"c\"\nclient-key = \"k\"", "ls --client-cert d ftpes://h/", ""),
    ] {
        assert_eq!(found(&format!("[defaults]\n{file}\n"), line), want, "{file}: {line}");
    }
}
