//! Completions in real shells, and the man page in its viewer.

use std::time::Duration;

use ftp_tests::peer::Peer;
use ftp_tests::process::{Ran, run, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;

use crate::ftp;

/// A typed line (its last word is completed), and some of the offered words; `!` precedes words
/// that must not be offered.
const TYPED: &[(&str, &[&str])] = &[
    ("ftp-cli ", &["get", "put", "serve", "completions"]),
    ("ftp-cli pa", &["passwd", "!get"]),
    ("ftp-cli --epsv ne", &["never", "!auto"]),
    ("ftp-cli --progress always g", &["get", "!put"]),
    ("ftp-cli -u get g", &["get", "!--user"]),
    ("ftp-cli get --ep", &["--epsv", "--eprt", "--epsv-all", "!--listing"]),
    ("ftp-cli get --epsv a", &["auto", "always", "!never"]),
    ("ftp-cli ls --li", &["--listing"]),
    ("ftp-cli ls --listing ml", &["mlsd", "!nlst"]),
    ("ftp-cli -q serve --pa", &["--passive-ports", "--password-file", "!--passive"]),
    ("ftp-cli put som", &["some file", "!subdirectory"]),
    ("ftp-cli get --password-file som", &["some file"]),
    ("ftp-cli serve su", &["subdirectory", "!some file"]),
    ("ftp-cli help com", &["completions"]),
    ("ftp-cli completions ", &["bash", "zsh", "fish"]),
    ("ftp-cli get @n", &["@nas", "!@attic.2"]),
    ("ftp-cli get @r", &["!@retry"]),
    ("ftp-cli put x @at", &["@attic.2", "!@nas"]),
    ("ftp-cli serve @", &["!@nas"]),
];

/// A configuration file with bookmarks between other tables.
const CONFIG: &str = "[defaults]\nretry = 2\n[bookmarks]\nnas = \"ftp://h/\"\n  \"attic.2\" = \"ftp://a/\"\n\
                      [hosts.h]\nretry = 3\n";

/// A directory with the script of a shell, and with files whose names can be completed.
fn place(shell: &str) -> TempRoot {
    let here = TempRoot::new();
    let script = run(&mut ftp(&["completions", shell])).succeeded();
    here.write("script", &script);
    here.write("some file", b"");
    here.mkdir("subdirectory");
    here.write(".config/ftp-cli/config.toml", CONFIG.as_bytes());
    here
}

/// Asserts the words that were offered, one per line, for a typed line.
fn compare(typed: &str, offered: &str, want: &[&str]) {
    // fish adds an explanation after a tab; bash adds a space to a word without alternatives; a
    // directory may end in a slash, an option in `=`.
    let plain = |line: &str| {
        let line = line.split('\t').next().unwrap_or_default().trim_end();
        line.trim_end_matches(['/', '=']).replace('\\', "")
    };
    let offered: Vec<String> = offered.lines().map(plain).collect();
    for word in want {
        match word.strip_prefix('!') {
            Some(word) => assert!(!offered.iter().any(|it| it == word), "{typed}: {offered:?}"),
            None => assert!(offered.iter().any(|it| it == word), "{typed}: no {word}: {offered:?}"),
        }
    }
}

/// Returns the output of a shell in `place`; its standard error must be empty.
fn printed(shell: &Peer, place: &TempRoot, arguments: &[&str]) -> String {
    let mut command = shell.command();
    command.current_dir(place.path()).env("HOME", place.path()).env("TERM", "xterm");
    let ran: Ran = run(command.args(arguments));
    assert!(ran.stderr.is_empty(), "{ran:?}");
    String::from_utf8(ran.succeeded()).unwrap()
}

#[test]
fn bash_completes() {
    let Some(bash) = Peer::find("bash") else { return };
    let here = place("bash");
    for (typed, want) in TYPED {
        // The steps of bash before it calls the function.
        let line = format!(
            "set -u; source ./script; complete -p ftp-cli >/dev/null; compopt() {{ :; }}; \
             COMP_WORDS=({typed}{}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _ftp_cli; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            if typed.ends_with(' ') { "''" } else { "" }
        );
        compare(typed, &printed(&bash, &here, &["--norc", "-c", &line]), want);
    }
    // `@` and `=` are separate words there.
    let line = "source ./script; compopt() { :; }; COMP_WORDS=(ftp-cli get @ na); COMP_CWORD=3; \
                _ftp_cli; printf '%s\\n' \"${COMPREPLY[@]}\"";
    compare("get @na", &printed(&bash, &here, &["--norc", "-c", line]), &["nas", "!attic.2"]);
    for words in ["get --epsv =", "get --epsv = ne", "--epsv = always get --epsv = n"] {
        let line = format!(
            "source ./script; COMP_WORDS=(ftp-cli {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _ftp_cli; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        compare(words, &printed(&bash, &here, &["--norc", "-c", &line]), &["never"]);
    }
    // Values that must follow `=`, and words after them.
    for (words, want) in [
        ("get --trace =", &["some file", "subdirectory"][..]),
        ("get --trace = som", &["some file", "!subdirectory"]),
        ("--trace = get ls --li", &["--listing", "!--eprt"]),
        ("put --temp som", &["some file"]),
        ("put --temp = som", &["!some file"]),
    ] {
        let line = format!(
            "source ./script; compopt() {{ :; }}; COMP_WORDS=(ftp-cli {words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _ftp_cli; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        compare(words, &printed(&bash, &here, &["--norc", "-c", &line]), want);
    }
}

#[test]
fn fish_completes() {
    let Some(fish) = Peer::find("fish") else { return };
    let here = place("fish");
    for (typed, want) in TYPED {
        let line = format!("source ./script; complete -C '{typed}'");
        compare(typed, &printed(&fish, &here, &["--no-config", "-c", &line]), want);
    }
}

/// Types into a zsh on its own terminal, lets it complete, and prints the offered words.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; source ./inner; print -r -- is-"ready"'
zpty -r shell seen '*is-ready*' || exit 3
zpty -w -n shell "$1"$'\t'
zpty -r shell seen '*has-completed*' || exit 4
zpty -d shell
cat ./offered
"#;

/// The setup of that zsh: the system's completion, which also records the words it adds.
const INNER: &str = r#"
autoload -Uz compinit
compinit -u -D
source ./script
zstyle ':completion:*' menu no
: > ./offered
compadd() {
    # With -O, -A or -D it only looks.
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        local -a found
        builtin compadd -A found "$@"
        (( $#found )) && print -rl -- $found >> ./offered
    fi
    builtin compadd "$@"
}
complete-and-tell() {
    _main_complete
    print -r -- has-"completed"
}
zle -C complete-and-tell complete-word complete-and-tell
bindkey '^I' complete-and-tell
"#;

#[test]
fn zsh_completes() {
    let Some(zsh) = Peer::find("zsh") else { return };
    let here = place("zsh");
    here.write("inner", INNER.as_bytes());
    here.write("outer", ZSH.as_bytes());
    // It loads all its completions for each line, for half a second.
    for (typed, want) in TYPED.iter().step_by(count(3, 1)) {
        compare(typed, &printed(&zsh, &here, &["-f", "./outer", typed]), want);
    }
}

#[test]
fn the_man_page_is_valid_and_covers_all_options_of_help() {
    let help = String::from_utf8(run(&mut ftp(&["help"])).succeeded()).unwrap();
    let words = help.split_whitespace().map(|word| word.trim_end_matches(','));
    let options: Vec<&str> = words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.split(['=', '[']).next().unwrap())
        .collect();
    let headings = ["EXIT STATUS", "ENVIRONMENT", "FILES", "~/.netrc", "EXAMPLES"];
    is_sound("ftp-cli", &[&headings[..], &options].concat());
}

#[test]
fn the_configuration_man_page_is_valid() {
    is_sound(
        "server.toml",
        &["[LISTEN]", "addresses = [\"127.0.0.1:2121\"]", "[USERS.NAME]", "FILES"],
    );
}

/// Formats a page without a warning; the result contains these words.
fn is_sound(name: &str, words: &[&str]) {
    let page = run(&mut ftp(&["man", name])).succeeded();
    // A name such as @OPTIONS@ stands for a generated part.
    let text = String::from_utf8_lossy(&page);
    let is_name = |part: &str| part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let mut between = text.split('@').skip(1);
    assert!(!between.any(|part| !part.is_empty() && is_name(part)), "{text}");
    let here = TempRoot::new();
    here.write("page", &page);
    if let Some(groff) = Peer::find("groff") {
        let ran = run_with(
            groff.command().args(["-man", "-Tascii", "-ww", "-P-cbou"]),
            &page,
            Duration::from_secs(60),
        );
        assert!(ran.stderr.is_empty(), "{ran:?}");
        let shown = String::from_utf8(ran.succeeded()).unwrap();
        for word in words {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        // The output contains no roff markup.
        let fonts = ["\\fB", "\\fI", "\\fP", "\\fR"];
        assert!(
            !fonts.iter().any(|font| shown.contains(font)) && !shown.contains("\n."),
            "{shown}"
        );
    }
    if let Some(man) = Peer::find("man") {
        let mut man = man.command();
        man.env("MANWIDTH", "80").args(["--warnings=w", "-l"]).arg(here.join("page"));
        let ran = run(&mut man);
        assert!(ran.stderr.is_empty(), "{ran:?}");
        let shown = String::from_utf8(ran.succeeded()).unwrap();
        for word in words.iter().filter(|word| !word.starts_with("--")) {
            assert!(shown.contains(word), "{word}: {shown}");
        }
    }
}
