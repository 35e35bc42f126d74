use super::*;
use crate::system::OsStringExt;

fn parse_texts(line: &str) -> Result<(Option<Command>, Options)> {
    parse(line.split_ascii_whitespace().map(OsString::from))
}

#[test]
fn the_option_table_is_consistent() {
    for row in TABLE {
        assert!(row.long.len() > 1, "{}", row.long);
        assert!(!row.help.is_empty() && !row.commands.is_empty(), "{}", row.long);
        // Before the command is known, an option may be that of any command.
        let before = |row: &Row| row.group.is_global();
        for other in TABLE.iter().filter(|other| other.long == row.long) {
            let sorts = (row.value == Value::No, other.value == Value::No);
            assert_eq!(sorts.0, sorts.1, "{} both with and without a value", row.long);
            // An option can have its letter with some commands only, but then not before the
            // command.
            let is_one = row.short.zip(other.short).is_none_or(|(one, other)| one == other);
            assert!(is_one || !before(row) || !before(other), "{}", row.long);
        }
        for other in TABLE.iter().filter(|other| before(row) && before(other)) {
            let clash = row.short.is_some() && row.short == other.short;
            assert!(!clash || row.long == other.long, "-{:?} before the command", row.short);
        }
    }
    for command in Command::ALL {
        let mut names: Vec<String> = Vec::new();
        for row in command.rows() {
            for name in row.short.map(String::from).into_iter().chain([row.long.to_owned()]) {
                assert!(!names.contains(&name), "{} has {name} twice", command.name());
                names.push(name);
            }
        }
    }
}

/// Returns the names of options that a source looks up, and whether the look-up expects a value.
fn looked_up(source: &str) -> Vec<(&str, bool)> {
    let ways = [
        ("options.has(\"", false),
        ("options.shown(\"", false),
        ("options.optional(\"", false),
        ("options.value(\"", true),
        ("options.parsed(\"", true),
        ("options.typed(\"", true),
        ("options.all(\"", true),
    ];
    let of = |(way, takes): (&'static str, bool)| {
        let found = source.split(way).skip(1);
        found.filter_map(move |rest| Some((rest.split_once('"')?.0, takes)))
    };
    ways.into_iter().flat_map(of).collect()
}

#[test]
fn every_option_that_the_program_looks_up_is_in_the_table() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let is_test = path.ends_with("tests.rs");
            let code = text.split("#[cfg(test)]").next().filter(|_| !is_test).unwrap_or_default();
            for (name, takes_value) in looked_up(code) {
                let row = TABLE.iter().find(|row| row.long == name);
                let row = row.unwrap_or_else(|| panic!("{}: --{name}", path.display()));
                assert!(!takes_value || row.value != Value::No, "--{name}");
                count += 1;
            }
        }
    }
    assert!(count > 60, "only {count} look-ups");
}

#[test]
fn options_are_parsed_before_and_after_the_command() {
    let line = "-q --user=a get --user b -u c URL -bvc --trace --trace=F - -- --x -y";
    let (command, options) = parse_texts(line).unwrap();
    assert_eq!(command, Some(Command::Get));
    assert_eq!(options.operands, ["URL", "-", "--x", "-y"]);
    assert_eq!(options.value("user"), Some(OsStr::new("c")));
    assert!(options.all("user").eq(["a", "b", "c"]));
    assert!(options.has("quiet") && options.has("verbose") && options.has("continue"));
    assert!(options.is_verbose() && !options.is_quiet());
    assert!(!options.has("ascii"));
    assert_eq!(options.optional("trace"), Some(Some(OsStr::new("F"))));
}

#[test]
fn the_last_of_conflicting_options_wins() {
    for (line, want) in [
        ("get -a -b", Some("binary")),
        ("get -b --ascii", Some("ascii")),
        ("get -a --binary -a", Some("ascii")),
        ("get -ba", Some("ascii")),
        ("get -ab", Some("binary")),
        ("get", None),
    ] {
        assert_eq!(parse_texts(line).unwrap().1.last_of(&["ascii", "binary"]), want, "{line}");
    }
    let (_, options) = parse_texts("--progress=never --trace=F get --progress x --trace").unwrap();
    assert_eq!(options.value("progress"), Some(OsStr::new("x")));
    assert_eq!(options.optional("trace"), Some(None));
}

#[test]
fn synonyms_expand_to_commands_with_options() {
    for (line, want) in [
        ("cat ftp://h/x", Command::Get),
        ("del ftp://h/x", Command::Rm),
        ("dir ftp://h/", Command::Ls),
        ("sync a ftp://h/", Command::Mirror),
        ("cp ftp://h/x", Command::Get),
        ("cp ftp://h/x -j 4 y", Command::Get),
        ("cp x -j 4 ftp://h/", Command::Put),
        ("cp --append x h:y", Command::Put),
        ("cp -r ftp://h/x ftp://g/y", Command::Fxp),
        ("cp h:x g:y", Command::Fxp),
        ("cp", Command::Get),
        ("who --json", Command::Ctl),
    ] {
        assert_eq!(parse_texts(line).unwrap().0, Some(want), "{line}");
    }
    let (_, cat) = parse_texts("cat ftp://h/x").unwrap();
    assert_eq!((cat.value("output"), cat.synonym), (Some(OsStr::new("-")), Some("cat")));
    let (_, cat) = parse_texts("cat -o file ftp://h/x").unwrap();
    assert_eq!(cat.value("output"), Some(OsStr::new("file")));
    assert_eq!(parse_texts("kick --control s 7").unwrap().1.operands, ["kick", "7"]);
    assert!(parse_texts("dir ftp://h/").unwrap().1.has("long"));
    assert!(parse_texts("mget ftp://h/*").unwrap().1.has("glob"));
    assert_eq!(parse_texts("cp --frobnicate x").unwrap_err().exit, Exit::Usage);
}

#[test]
fn operands_and_values_that_are_not_utf_8_are_kept() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let arguments = [
        bytes(b"put"),
        bytes(b"a\xff"),
        bytes(b"--password-file=\xfe"),
        bytes(b"--password-file"),
        bytes(b"p\xfd"),
        bytes(b"-vuu\xfb"),
        bytes(b"--"),
        bytes(b"-\xfc"),
    ];
    let (_, options) = parse(arguments).unwrap();
    assert_eq!(options.operands, [bytes(b"a\xff"), bytes(b"-\xfc")]);
    assert!(options.all("password-file").eq([bytes(b"\xfe"), bytes(b"p\xfd")]));
    assert_eq!(options.value("user"), Some(&*bytes(b"u\xfb")));
    for (refused, want) in [
        (&b"--us\xff=x"[..], "get: unknown option --us\u{fffd}; "),
        (b"-\xff", "get: unknown option -\u{fffd}; "),
        ("-\u{e9}".as_bytes(), "get: unknown option -\u{e9}; "),
        ("-v\u{e9}".as_bytes(), "get: unknown option -\u{e9}; "),
    ] {
        let failure = parse([bytes(b"get"), bytes(refused)]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with(want), "{}", failure.message);
    }
}

#[test]
fn wrong_options_are_refused_with_a_hint() {
    for (line, want) in [
        ("get --contineu x", "did you mean --continue?"),
        ("get --append x", "only put, batch accept it"),
        ("put -l", "only ls accepts it"),
        ("serve -a", "only get (--ascii), put (--ascii), ls (--all)"),
        ("-c get", "place it after the command: get, put, "),
        ("get --passiv", "did you mean --passive?"),
        ("get --cont x", "did you mean --continue?"),
        ("get --resume x", "did you mean --continue?"),
        ("get --output= x", "--output: the path is empty"),
        ("get --trace= x", "--trace: the path is empty"),
        ("serve --config= /", "--config: the path is empty"),
        ("--write serve", "place it after the command: serve"),
        ("--active serve", "serve does not accept --active"),
        ("serve --active", "ftp-cli help serve lists the options"),
        ("--pipeline put", "put does not accept --pipeline"),
        ("get -y", "unknown option -y; ftp-cli help get lists"),
        ("--zzzzzzzz", "ftp-cli --help lists"),
        ("get --user", "--user needs a value: NAME"),
        ("get -u", "-u needs a value: NAME"),
        ("get --quiet=1", "--quiet takes no value"),
        ("get --password=x", "use --password-file FILE"),
        ("get --pasword x", "use --password-file FILE"),
        ("gte x", "did you mean \"get\"?"),
        ("frobnicate", "ftp-cli help lists the commands"),
        ("get --mirror x", "use: ftp-cli mirror SRC DST"),
        ("get --interface x", "did you mean --bind?"),
        ("mirror --transfers=3", "did you mean --jobs?"),
        ("get -O f URL", "use: ftp-cli get URL, get -o FILE URL, or get -P DIR URL..."),
        ("-T f URL", "use: ftp-cli put LOCAL URL"),
        ("-O URL", "use: ftp-cli get URL"),
        ("-C - URL", "a command comes first, such as get; then --continue"),
        ("get --no-glob URL", "a file with exactly this name comes before a pattern"),
        ("get --netrc URL", "~/.netrc is read by default"),
        (
            "get -R URL",
            "did you mean --preserve (curl), --recursive (ncftpget) or --exclude (wget)?",
        ),
        ("put -R d URL", "did you mean --recursive?"),
        ("get -nv URL", "unknown option -nv; did you mean --quiet?"),
        ("get -np -r URL", "unknown option -np; get -r never leaves the directory"),
        ("get -nH URL", "get -r makes no directory for the host"),
        ("get --tlsv1.2 URL", "the connection uses TLS 1.3 or 1.2"),
        ("get --ftp-password=x URL", "use --password-file FILE"),
        ("mirror --no-perms a URL", "only --perms copies permissions"),
        ("mirror --newer-than=1d a URL", "did you mean --max-age?"),
        ("mirror --checkers 8 a URL", "--jobs sets how many transfer"),
        ("mirror --filter-from f a URL", "the last match wins"),
        ("serve --tls d", "did you mean --tls-self-signed, or --tls-cert FILE"),
        ("serve --cert x.pem", "did you mean --tls-cert?"),
        ("serve --read-only d", "without --write, clients can only read"),
        ("nas.example", "use: ftp-cli batch ftp://nas.example/"),
        ("open nas.example", "use: ftp-cli batch URL"),
        ("append f URL", "use: ftp-cli put --append LOCAL URL"),
        ("recv URL", "did you mean \"get\"?"),
        ("check a URL", "use: ftp-cli mirror --dry-run SRC DST"),
        ("get -T 30 URL", "did you mean --stall-timeout?"),
        ("get -L URL", "FTP has no redirects"),
        ("du -sh URL", "unknown option -s; du prints the total: ftp-cli du -h URL"),
        ("sync -avz a URL", "leave it out: mirror always copies trees and times"),
        ("mirror --loop a URL", "did you mean --watch?"),
        ("mirror --parallel=4 a URL", "did you mean --jobs?"),
        ("rm -Rf URL", "unknown option -R; did you mean --recursive?"),
        ("ls --encoding=x URL", "did you mean --charset?"),
        ("doctor -v URL", "unknown option -v; ftp-cli help doctor lists the options"),
        ("serve --root d", "name the directory alone: ftp-cli serve DIR"),
        ("serve --host h d", "did you mean --listen?"),
        ("get --no-check-certificate x", "did you mean --insecure?"),
        ("get --verify", "needs a value: none, size, hash"),
        ("get -x socks5://h URL", "did you mean --proxy (curl)"),
        ("get --range 0-99 URL", "files are transferred whole"),
        ("mirror --only-newer a b", "mirror copies files whose time or size differs"),
        ("get --only-newer URL", "did you mean --newer?"),
        ("pget -n 4 URL", "use: ftp-cli get --segments N URL"),
        ("lsjson URL", "use: ftp-cli ls --json URL"),
        ("dele x", "did you mean \"rm\"?"),
        ("rename x", "did you mean \"mv\"?"),
    ] {
        let failure = parse_texts(line).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{line}");
        assert!(failure.message.contains(want), "{line}: {}", failure.message);
    }
    assert!(!parse_texts("get --password=geheim").unwrap_err().message.contains("geheim"));
    assert_eq!(parse_texts("").unwrap().0, None);
    assert_eq!(parse_texts("--version").unwrap().0, None);
}

#[test]
fn option_clusters_are_split_and_values_are_unchanged() {
    let rows: Vec<&Row> = Command::Get.rows().collect();
    for (line, want) in [
        ("-vq a -qv", "-v -q a -q -v"),
        ("-abu -vq -vq", "-a -b -u -vq -v -q"),
        ("-vu-q a", "-v -u-q a"),
        ("--user -vq -vq", "--user -vq -v -q"),
        ("--user=x -vq", "--user=x -v -q"),
        ("--trace -vq - -ab", "--trace -v -q - -a -b"),
        ("-vZq", "-v -Zq"),
        ("-vq -- -vq", "-v -q -- -vq"),
        ("-u", "-u"),
        ("-v\u{e9}q", "-v --\u{e9}q"),
    ] {
        let texts: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let spread = spread(&texts, &rows, Some(Command::Get)).join(" ");
        assert_eq!(spread, want, "{line}");
    }
    let texts = ["-vq", "get", "-vq"].map(str::to_owned);
    let before = spread(&texts, &rows, None);
    assert_eq!(before.join(" "), "-v -q get -vq");
}

#[test]
fn invalid_urls_are_refused_without_showing_passwords_hl_09_cl_65() {
    for (text, want) in [
        ("http://h/x", Exit::Usage),
        ("ftp://u:geheim@:21/x", Exit::Usage),
        ("ftp://h/a%0d%0aDELE%20b", Exit::Usage),
        ("ftp://h/a%00", Exit::Usage),
        ("ftp://h/a;type=x", Exit::Usage),
        ("ftp://h:0/a", Exit::Usage),
        ("ftp://h:65536/a", Exit::Usage),
        ("file.txt", Exit::Usage),
        ("@nas/a", Exit::Usage),
        ("u:geheim@h/x", Exit::Usage),
        ("u@v:geheim@h:x", Exit::Usage),
        ("ftp:/u:geheim@h/x", Exit::Usage),
        ("FTPS:/h/geheim", Exit::Usage),
        ("http://u:geheim@h/x", Exit::Usage),
    ] {
        let failure = parse_url(OsStr::new(text)).unwrap_err();
        assert_eq!(failure.exit, want, "{text}");
        assert!(!failure.message.contains("geheim"), "{}", failure.message);
    }
}

#[test]
fn an_ipv6_address_without_brackets_is_told() {
    for (operand, want) in [("::1", "ftp://[::1]/"), ("ftp://fe80::2/a", "ftp://[fe80::2]/")] {
        let message = parse_url(operand.as_ref()).unwrap_err().message;
        assert!(message.contains(want), "{message}");
    }
}
