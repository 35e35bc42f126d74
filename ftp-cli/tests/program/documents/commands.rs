//! Every command that a page, a comment in `dist` or the help shows: a test runs it, or
//! [`NOT_RUN`] says why none does.

use std::collections::BTreeSet;
use std::fs;

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::scale::count;

use super::{Block, Kind, Needs, OTHER_PAGES, SERVER_PAGES, blocks, root, run_blocks};
use crate::ftp;

/// Pages whose blocks run in a test of their own.
const OWN_TESTS: [&str; 3] = ["README.md", "docs/install.md", "docs/scripts.md"];

/// What begins a command, after `sudo`.
const PROGRAMS: [&str; 19] = [
    "apt-get",
    "cargo",
    "certbot",
    "chmod",
    "chown",
    "curl",
    "ftp-cli",
    "git",
    "inotifywait",
    "journalctl",
    "lftp",
    "nft",
    "openssl",
    "rustup",
    "setfacl",
    "setpriv",
    "systemctl",
    "ufw",
    "usermod",
];

/// Commands that no block and no example runs, with the reason.
const NOT_RUN: &[(&str, &[&str])] = &[
    (
        "a word stands for the reader's own",
        &[
            "ftp-cli COMMAND -h",
            "ftp-cli help COMMAND",
            "ftp-cli get -c URL",
            "ftp-cli user add NAME",
            "ftp-cli ctl kick user=NAME",
            "ftp-cli serve --config DRAFT --check",
        ],
    ),
    (
        "a part of a command line, which names an option or a mode",
        &[
            "chmod 700",
            "chmod 644",
            "apt-get install --reinstall",
            "curl -C -",
            "ftp-cli --compress",
        ],
    ),
    (
        "its users are not on the machine of the tests; fxp over TLS runs elsewhere",
        &["ftp-cli fxp ftpes://anna@one.example.org/a.iso ftpes://anna@two.example.org/"],
    ),
    (
        "needs a booted system: tests/package/walks does the same there",
        &[
            "systemctl edit ftp-cli",
            "systemctl status ftp-cli",
            "journalctl -u ftp-cli -p warning",
            "journalctl -u ftp-cli | grep -E 'refused|failed|truncated'",
            "certbot renew --dry-run",
            "setpriv --reuid ftp-cli --regid ftp-cli --init-groups --reset-env --inh-caps +net_bind_service \
             --ambient-caps +net_bind_service env STATE_DIRECTORY=/var/lib/ftp-cli ftp-cli serve \
             --config /etc/ftp-cli/server.toml",
        ],
    ),
    ("its group is in another block of the page", &["ftp-cli user add bob --set groups=staff"]),
    (
        "changes users, groups or owners of the system; the tests of owners do so with their own",
        &[
            "chown -R ftp-cli: /srv/backups",
            "chown -R www-data: ROOT",
            "chmod -R g+rwX ROOT",
            "usermod -aG www-data ftp-cli",
            "usermod -aG shadow ftp-cli",
            "setfacl -R -m g:www-data:rwX -d -m g:www-data:rwX /srv/site",
        ],
    ),
    ("downloads packages", &["apt-get install clamav-daemon clamdscan"]),
    (
        "waits for ever; the tests of published files watch with inotify themselves",
        &["inotifywait -m -e close_write --exclude '/\\.ftp-upload-' /srv/scans"],
    ),
    (
        "the copy of the source may lack its history",
        &["git remote get-url origin", "git rev-parse HEAD"],
    ),
];

/// Commands within the sentences of pages, which run beside the examples of the help.
const INLINE: [(&str, &str); 2] = [
    ("docs/coming-from.md", "ftp-cli batch ftp://nas.example/"),
    ("docs/scripts.md", "ftp-cli mkdir -p ftpes://backup@nas.example/backup"),
];

/// Returns the command without `sudo` and the comment, if `text` is one.
fn command(text: &str) -> Option<&str> {
    let text = text.split("  #").next()?.trim();
    let text = text.strip_prefix("sudo ").unwrap_or(text);
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let is_program = PROGRAMS.contains(&word)
        || word.starts_with("FTP_") && word.contains('=')
        || ["tests/", "dist/", ".ci/"].iter().any(|start| word.starts_with(start))
        || ["bash", "python3"].contains(&word) && rest.contains('/');
    // In a list, a description in a column follows the name.
    (is_program && !rest.is_empty() && !rest.starts_with(' ')).then_some(text)
}

/// Returns the commands that a page shows outside the blocks that run: in other blocks, and between
/// backticks.
fn shown(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, part) in page.split("```").enumerate() {
        if at % 2 == 1 {
            found.extend(part.lines().skip(1).filter_map(command).map(str::to_owned));
            continue;
        }
        for paragraph in part.split("\n\n") {
            let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            let codes = paragraph.split('`').skip(1).step_by(2);
            found.extend(codes.filter_map(command).map(str::to_owned));
        }
    }
    found
}

/// Returns the files below a directory of the source that have this extension; all files without one.
fn files(directory: &str, extension: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, extension));
        } else if extension.is_none_or(|it| path.ends_with(it)) {
            found.push(path.trim_start_matches("./").to_owned());
        }
    }
    found.sort();
    found
}

/// The examples of the help of each command, and [`INLINE`], each with its file and line.
fn examples() -> Vec<(String, usize, String)> {
    let mut found = INLINE.map(|(path, line)| (path.to_owned(), 0, line.to_owned())).to_vec();
    for path in files("ftp-cli/help", Some(".txt")) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let lines = text.lines().zip(1..).skip_while(|(line, _)| *line != "Examples").skip(1);
        for (line, number) in lines.filter(|(line, _)| !line.trim_start().starts_with('#')) {
            found.push((path.clone(), number, line.trim().to_owned()));
        }
    }
    assert!(found.len() > 70, "{found:?}");
    found
}

/// `man ftp-cli` has these examples, too. A plain run tries every third.
#[test]
fn examples_of_the_help_do_what_they_say() {
    // One example shows the page.
    let Some(_) = Peer::find("man") else { return };
    let blocks: Vec<_> = examples()
        .into_iter()
        .step_by(count(3, 1))
        .map(|(path, line, example)| {
            let mut words = example.split(' ').skip(1);
            let (command, word) = (words.next().unwrap(), words.next().unwrap_or_default());
            let serves = command == "serve" && !example.contains("--check");
            let (kind, text) = match serves {
                true => (Kind::Serve, format!("{example}\n")),
                false => {
                    (Kind::Run, format!("prepare {command} '{word}'\n{{ {example}\n}} <input\n"))
                }
            };
            (path, Block { line, kind, text })
        })
        .collect();
    run_blocks(&blocks, Needs::All);
}

#[test]
fn every_command_of_every_page_is_run_or_listed() {
    let mut ran: String = examples().into_iter().map(|(_, _, line)| line + "\n").collect();
    let pages = [&OWN_TESTS[..], &SERVER_PAGES, &OTHER_PAGES].concat();
    let mut all: Vec<_> = ["docs", "ftp-proto", "ftp-client", "ftp-server", "ftp-cli"]
        .iter()
        .flat_map(|place| files(place, Some(".md")))
        .collect();
    let top =
        fs::read_dir(root()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    all.extend(top.filter(|name| name.ends_with(".md") && name != "CHANGELOG.md"));
    let mut found = Vec::new();
    for path in &all {
        let text = fs::read_to_string(root().join(path)).unwrap();
        if pages.contains(&path.as_str()) {
            for block in blocks(&text).unwrap() {
                ran.push_str(&block.text);
            }
        }
        found.extend(shown(&text).into_iter().map(|line| (path.clone(), line)));
    }
    for path in files("dist", None) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let comments = text.lines().filter_map(|line| line.strip_prefix("#  "));
        let commands = comments.filter_map(|line| command(line.trim_start()));
        found.extend(commands.map(|line| (path.clone(), line.to_owned())));
    }
    assert!(found.len() > 100, "{found:?}");
    let listed: BTreeSet<_> = NOT_RUN.iter().flat_map(|(_, commands)| *commands).copied().collect();
    let mut unused = listed.clone();
    let mut faults = Vec::new();
    for (path, line) in found {
        unused.remove(line.as_str());
        if ran.contains(&line) || listed.contains(line.as_str()) {
            continue;
        }
        let words: Vec<_> = line.split(' ').collect();
        // Without the words before the program.
        let is_before =
            |word: &&str| word.contains('=') || ["bash", "python3", "-B"].contains(word);
        let program = words.iter().copied().find(|word| !is_before(word)).unwrap_or_default();
        let fault = match program {
            // CI runs the scripts of the source and cargo, or would take hours to.
            "cargo" => packages(&words).err(),
            _ if program.contains('/') => {
                (!root().join(program).exists()).then(|| "is not there".to_owned())
            }
            "ftp-cli" if words.get(1) == Some(&"help") => {
                let ran = run(&mut ftp(&words[1..]));
                (ran.code() != Some(0)).then(|| format!("{ran:?}"))
            }
            _ => Some("no test runs it, and NOT_RUN does not say why".to_owned()),
        };
        faults.extend(fault.map(|why| format!("{path}: {line}: {why}")));
    }
    faults.extend(unused.into_iter().map(|line| format!("no page has {line}")));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Checks that the packages and test programs which a cargo command names exist.
fn packages(words: &[&str]) -> Result<(), String> {
    for pair in words.windows(2) {
        let exists = match pair {
            ["-p", name] => package_names().contains(*name),
            ["--test", name] => {
                let tests = root().join("tests").join(name);
                let own = root().join("ftp-cli/tests").join(name);
                tests.is_dir() || own.is_dir()
            }
            _ => true,
        };
        if !exists {
            return Err(format!("{} does not exist", pair[1]));
        }
    }
    Ok(())
}

/// The names of the packages.
fn package_names() -> BTreeSet<String> {
    ["ftp-proto", "ftp-client", "ftp-server", "ftp-cli", "tests"]
        .iter()
        .map(|place| fs::read_to_string(root().join(place).join("Cargo.toml")).unwrap())
        .map(|text| text.split('"').nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn commands_are_found_in_pages_and_comments() {
    let page = "Run `sudo ftp-cli ctl\nwho` or `make`, then:\n\n```sh\n# note\n  cargo test    # all\n```\n\
                | `bash tests/x 1` | x |\n\nSee `curl`, `tests/y`.\n";
    assert_eq!(shown(page), ["ftp-cli ctl who", "cargo test", "bash tests/x 1"]);
    assert_eq!(command("FTP_SCALE=1 cargo test"), Some("FTP_SCALE=1 cargo test"));
    assert_eq!(command("ftp-cli"), None);
}
