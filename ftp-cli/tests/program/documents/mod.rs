//! The documents: every command and every configuration in them is run as printed.
//!
//! [`blocks`] classifies the blocks. They run on a separate machine, which `machine/run` sets up;
//! names such as `nas.example` are servers there. It needs `unshare`, and root for documents that
//! make users. `machine/bin` has replacements for programs that no test can run; [`STAND_INS`] says
//! why.

mod blocks;
mod coming_from;
mod commands;
mod commonest;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftp_tests::at_once::at_once;
use ftp_tests::peer::{Peer, skipped};
use ftp_tests::process::{run, run_with};
use ftp_tests::prose::faults;
use ftp_tests::root::TempRoot;

use self::blocks::{Block, Kind, blocks};
use crate::ftp;

/// Programs that differ from those of a reader's machine, and why.
const STAND_INS: [(&str, &str); 10] = [
    ("apt-get", "the machine of the tests cannot reach Debian"),
    ("cargo", "a build takes minutes; CI runs these commands themselves"),
    ("certbot", "the machine of the tests cannot reach Let's Encrypt"),
    ("journalctl", "no systemd runs there"),
    ("mail", "nothing is to be sent"),
    ("podman", "images cannot be fetched; the entry point runs without a container"),
    ("rustup", "targets are hundreds of megabytes; CI adds them"),
    ("sudo", "the reader of the tests is root already"),
    ("systemctl", "no systemd runs there: units are verified, and their commands started"),
    ("ufw", "the firewall of the machine is none of the tests' business"),
];

/// The files of the source directory that commands of the documents name.
const SOURCES: [&str; 12] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "dist/container/Containerfile",
    "dist/debian/build",
    "dist/fail2ban/ftp-cli.conf",
    "dist/server.toml",
    "dist/systemd/ftp-cli-implicit.socket",
    "dist/systemd/ftp-cli.service",
    "dist/systemd/ftp-cli.socket",
    "ftp-cli/Cargo.toml",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The needs of a document.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Needs {
    /// The servers `nas.example` and `attic.example`.
    Sites,
    /// Root on this machine: the document makes users. It starts its own servers.
    Root,
    /// Both.
    All,
}

/// Runs the blocks of documents, one document after the other. With `FILE#HEADING`, only the blocks
/// before that heading.
#[track_caller]
fn runs(documents: &[&str], needs: Needs) {
    let mut found = Vec::new();
    for document in documents {
        let (path, heading) = document.split_once('#').unwrap_or((document, "\0"));
        let text = fs::read_to_string(root().join(path)).unwrap();
        let text = text.split(&format!("\n## {heading}\n")).next().unwrap();
        let all = blocks(text).unwrap_or_else(|why| panic!("{path}: {why}"));
        found.extend(all.into_iter().map(|block| (path.to_owned(), block)));
    }
    run_blocks(&found, needs);
}

/// Runs blocks, each with the path of its document.
#[track_caller]
fn run_blocks(blocks: &[(String, Block)], needs: Needs) {
    let (Some(unshare), Some(_), Some(_)) =
        (Peer::find("unshare"), Peer::find("openssl"), Peer::find("jq"))
    else {
        return;
    };
    let here = TempRoot::new();
    let mut plan = String::new();
    for (number, (path, block)) in blocks.iter().enumerate() {
        let (word, target) = block.kind.plan();
        plan.push_str(&format!("{number}\t{word}\t{path}:{}\t{target}\n", block.line));
        here.write(number.to_string(), block.text.as_bytes());
    }
    here.write("plan", plan.as_bytes());
    here.write("options", if needs == Needs::Root { b"" } else { b"sites\n" });
    for name in SOURCES {
        here.write(format!("source/{name}"), &fs::read(root().join(name)).unwrap());
    }
    let own = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let ways = if needs == Needs::Sites { &["", "--map-root-user"] } else { &[""][..] };
    let command = |way: &str| {
        let mut command = unshare.command();
        command.args(own).args(Some(way).filter(|way| !way.is_empty())).arg("--");
        command
    };
    let Some(way) = ways.iter().find(|way| run(command(way).arg("true")).code() == Some(0)) else {
        skipped("it cannot have a machine of its own");
        return;
    };
    let mut machine = command(way);
    machine.arg("/bin/bash").arg(root().join("ftp-cli/tests/program/documents/machine/run"));
    machine.arg(here.path()).arg(env!("CARGO_BIN_EXE_ftp-cli"));
    let ran = run_with(&mut machine, &[], Duration::from_secs(600));
    assert!(ran.code() == Some(0), "{ran:?}");
    assert_eq!(ran.stdout, b"all blocks ran\n", "{ran:?}");
}

/// The pages that begin with an installed server.
const SERVER_PAGES: [&str; 4] =
    ["docs/first-server.md", "docs/server.md", "docs/scale.md", "docs/from-vsftpd.md"];

/// The other pages whose blocks run, except those with a test of their own.
const OTHER_PAGES: [&str; 9] = [
    "docs/faq.md",
    "docs/hooks.md",
    "docs/log.md",
    "docs/json.md",
    "docs/figures.md",
    "docs/embedding.md",
    "docs/metrics.md",
    "SECURITY.md",
    "ftp-cli/README.md",
];

#[test]
fn readme_does_what_it_says() {
    runs(&["README.md"], Needs::Sites);
}

#[test]
fn installation_does_what_it_says() {
    runs(&["docs/install.md"], Needs::Root);
}

#[test]
fn server_pages_do_what_they_say() {
    at_once(SERVER_PAGES.len(), SERVER_PAGES, |page| {
        runs(&["docs/install.md#Files", page], Needs::Root);
    });
}

#[test]
fn scripts_do_what_they_say() {
    runs(&["docs/scripts.md"], Needs::Sites);
}

#[test]
fn other_documents_do_what_they_say() {
    runs(&OTHER_PAGES, Needs::Sites);
}

/// The settings that the documents name as `section.key` exist.
#[test]
fn settings_in_the_documents_exist() {
    let sample = fs::read_to_string(root().join("dist/server.toml")).unwrap();
    let mut sections = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let mut section = "";
    for line in sample.lines().map(|line| line.trim_start_matches('#')) {
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name.split('.').next().unwrap();
            sections.insert(section);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' '))
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    assert!(keys.len() > 120 && keys.contains("users.quota"), "{keys:?}");
    let mut unknown = Vec::new();
    let mut found = 0;
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|it| it == "md"));
    for page in pages.chain(["README.md", "SECURITY.md"].map(|name| root().join(name))) {
        let text = fs::read_to_string(&page).unwrap();
        for line in text.lines() {
            for code in line.split('`').skip(1).step_by(2) {
                let word = code.split([' ', '=', ',']).next().unwrap_or_default();
                let Some((section, key)) = word.split_once('.') else { continue };
                let is_key = key.chars().all(|char| char.is_ascii_lowercase() || char == '_');
                if sections.contains(section) && is_key && key != "toml" {
                    found += 1;
                    if !keys.contains(word) {
                        unknown.push(format!("{}: {word}", page.display()));
                    }
                }
            }
        }
    }
    assert!(found > 120, "{found}");
    assert!(unknown.is_empty(), "\n{}", unknown.join("\n"));
}

/// The page for administrators of other servers covers what they use, and names keys that exist.
#[test]
fn keys_of_other_servers_have_counterparts_that_exist() {
    let sample = fs::read_to_string(root().join("dist/server.toml")).unwrap();
    let page = fs::read_to_string(root().join("docs/from-vsftpd.md")).unwrap();
    let others = ["append", "chmod", "fxp", "include", "list", "read", "serve", "write"];
    let is_word = |word: &&str| {
        !word.is_empty() && word.chars().all(|char| char.is_ascii_lowercase() || char == '_')
    };
    let codes = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    for server in ["ProFTPD", "Pure-FTPd"] {
        let (_, table) = page.split_once(&format!("\n## {server}\n")).unwrap();
        let table = table.split("\n## ").next().unwrap();
        let rows: Vec<_> = table.lines().filter_map(|line| line.split_once(" | ")).collect();
        let keys: Vec<_> = rows.iter().flat_map(|(theirs, _)| codes(theirs)).collect();
        assert!(keys.len() > 50, "{server}: {keys:?}");
        for code in rows.iter().flat_map(|(_, ours)| codes(ours)) {
            let word = code.split([' ', '=']).next().unwrap_or_default();
            let is_key = sample.contains(&format!("\n#{word} = ")) || others.contains(&word);
            assert!(!is_word(&word) || is_key, "{server}: {code}");
        }
    }
}

#[test]
fn readme_has_the_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(readme.lines().any(|line| line.starts_with(command)), "README lacks {command}");
    }
}

/// The man page contains the help of every command.
#[test]
fn help_and_man_page_avoid_the_words_of_the_style_sheet() {
    for command in [&["help"][..], &["man"], &["man", "server.toml"]] {
        let text = String::from_utf8(run(&mut ftp(command)).succeeded()).unwrap();
        assert_eq!(faults(&text), [""; 0], "{command:?}");
    }
}

#[test]
fn stand_ins_have_reasons() {
    let place = root().join("ftp-cli/tests/program/documents/machine/bin");
    let found: BTreeSet<_> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, STAND_INS.iter().map(|(name, _)| (*name).to_owned()).collect());
}
