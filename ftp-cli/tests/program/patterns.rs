//! Patterns of trees beside those of rsync, git and rclone: `patterns.txt` has what each program
//! leaves out, and why ours differs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ftp_tests::peer::Peer;
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::scale::count;
use ftp_tests::site::OurServer;

use crate::{failed, in_directory};

/// A row of the table: the patterns, the cells of each program, and the judgement.
struct Row {
    patterns: String,
    cells: [String; 4],
    why: String,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/patterns.txt")
}

/// Returns the text before the rows, the files of the tree, and the rows.
fn table() -> (String, Vec<String>, Vec<Row>) {
    let text = fs::read_to_string(file()).unwrap();
    let (head, rest) = text.split_once("\ntree: ").unwrap();
    let (tree, rows) = rest.split_once("\n\n").unwrap();
    let row = |line: &str| {
        let mut cells = line.split('|').map(|cell| cell.trim().to_owned());
        let mut next = || cells.next().unwrap_or_else(|| panic!("{line}: too few cells"));
        Row { patterns: next(), cells: [next(), next(), next(), next()], why: next() }
    };
    let rows = rows.lines().map(row).collect();
    (format!("{head}\ntree: {tree}\n\n"), tree.split(' ').map(str::to_owned).collect(), rows)
}

/// Returns a cell: the files of the tree that are not among those that a program takes.
fn left_out(tree: &[String], takes: impl Fn(&str) -> bool) -> String {
    let left: Vec<&str> = tree.iter().map(String::as_str).filter(|path| !takes(path)).collect();
    match left.len() {
        0 => "-".to_owned(),
        count if count == tree.len() => "all".to_owned(),
        _ => left.join(" "),
    }
}

/// Runs a program that prints the files it takes, and returns its cell.
fn by_output(mut command: Command, tree: &[String]) -> String {
    let ran = run(&mut command);
    if ran.code() != Some(0) {
        return "!".to_owned();
    }
    let lines = String::from_utf8(ran.stdout).unwrap();
    left_out(tree, |path| lines.lines().any(|line| line == path))
}

fn with_tree(tree: &[String]) -> TempRoot {
    let here = TempRoot::new();
    for path in tree {
        here.write(format!("tree/{path}"), b"");
    }
    here
}

/// Checks the cells in a column, or writes them if the environment has `FTP_WRITE_DOCS`.
fn check(column: usize, cell: impl Fn(&str) -> String) {
    let (head, _, mut rows) = table();
    let mut wrong = Vec::new();
    let writes = std::env::var_os("FTP_WRITE_DOCS").is_some();
    // Other programs do not change with ours, so a plain run only asks them whether the table is theirs.
    let step = if column == 0 || writes { 1 } else { count(8, 1) };
    for row in rows.iter_mut().step_by(step) {
        let mut cell = cell(&row.patterns);
        if column > 0 && cell == row.cells[0] {
            cell = "=".to_owned();
        }
        if cell != row.cells[column] {
            wrong.push(format!("{}: {cell}, not {}", row.patterns, row.cells[column]));
            row.cells[column] = cell;
        }
    }
    if writes {
        let line = |row: &Row| {
            let cells = row.cells.join(" | ");
            format!("{} | {cells} | {}", row.patterns, row.why).trim_end().to_owned() + "\n"
        };
        fs::write(file(), head + &rows.iter().map(line).collect::<String>()).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn trees_leave_out_what_the_table_says() {
    let (_, tree, rows) = table();
    assert!(rows.len() >= 60);
    let (here, server) = (with_tree(&tree), OurServer::start());
    let cell = |option: &str, value: &str| {
        let ran =
            in_directory(&here, &["mirror", "--dry-run", option, value, "tree", &server.url("t")]);
        if ran.code() == Some(2) {
            let refused = [
                "list:1: ".to_owned(),
                format!("--exclude: \"{}\": ", value.replace('\\', "\\\\")),
            ];
            let why = String::from_utf8_lossy(&ran.stderr);
            assert!(refused.iter().any(|words| why.contains(words)), "{why}");
            return "!".to_owned();
        }
        let lines = String::from_utf8(ran.succeeded()).unwrap();
        let copies =
            |path: &str| lines.lines().any(|line| line.strip_prefix("copy ") == Some(path));
        left_out(&tree, copies)
    };
    check(0, |patterns| {
        here.write("list", patterns.replace(' ', "\n").as_bytes());
        let listed = cell("--exclude-from", "list");
        // A line of a file has a few characters that the option does not have.
        if !patterns.contains([' ', '#']) {
            assert_eq!(cell("--exclude", patterns), listed, "{patterns}");
        }
        listed
    });
}

#[test]
fn other_programs_leave_out_what_the_table_says_at_scale() {
    let (Some(rsync), Some(git), Some(rclone)) =
        (Peer::find("rsync"), Peer::find("git"), Peer::find("rclone"))
    else {
        return;
    };
    let (_, tree, _) = table();
    let here = with_tree(&tree);
    let list = here.join("list");
    let write = |patterns: &str| here.write("list", patterns.replace(' ', "\n").as_bytes());
    check(1, |patterns| {
        write(patterns);
        let mut command = rsync.command();
        command.args(["-rn8", "--out-format=%n", "--exclude-from"]).arg(&list);
        command.args(["tree/", "none/"]).current_dir(here.path());
        by_output(command, &tree)
    });
    let mut command = git.command();
    command.args(["init", "-q", "tree"]).current_dir(here.path());
    run(&mut command).succeeded();
    check(2, |patterns| {
        here.write("tree/.git/info/exclude", patterns.replace(' ', "\n").as_bytes());
        let mut command = git.command();
        command.args(["-c", "core.quotePath=false", "check-ignore", "--no-index"]).args(&tree);
        let ran = run(command.current_dir(here.join("tree")));
        assert!(matches!(ran.code(), Some(0 | 1)), "{ran:?}");
        let lines = String::from_utf8(ran.stdout).unwrap();
        left_out(&tree, |path| !lines.lines().any(|line| line == path))
    });
    fs::remove_dir_all(here.join("tree/.git")).unwrap();
    check(3, |patterns| {
        write(patterns);
        let mut command = rclone.command();
        command.args(["--config", "", "lsf", "-R", "--files-only", "--exclude-from"]).arg(&list);
        command.arg("tree").current_dir(here.path());
        by_output(command, &tree)
    });
}

#[test]
fn each_difference_from_other_programs_is_judged() {
    for row in table().2 {
        let differs = row.cells[1..].iter().any(|cell| cell != "=");
        assert_eq!(differs, !row.why.is_empty(), "{}", row.patterns);
    }
}

#[test]
fn an_ignore_file_keeps_private_files_at_home() {
    let (here, server) = (TempRoot::new(), OurServer::start());
    for path in ["a.js", "secret.js", "keep.js", "d/.env", "d/f.js", "node_modules/m.js"] {
        here.write(format!("site/{path}"), b"");
    }
    here.write("site/.ftpignore", b"# private\n**/.env\nsecret*\nnode_modules/\n!keep.js\n");
    server.root.write("t/d/.env", b"the server's own");
    server.root.write("t/.ftpignore", b"an old one");
    let up = |options: &[&str]| {
        in_directory(&here, &[&["mirror"], options, &["site", &server.url("t")]].concat())
    };
    // What options include, the file still excludes; --delete keeps it on the server.
    up(&["--include", "*.js", "--include", ".*", "--delete", "--max-delete", "9"]).exited(0);
    for (path, is_there) in [
        ("a.js", true),
        ("keep.js", true),
        ("d/f.js", true),
        ("secret.js", false),
        ("node_modules", false),
    ] {
        assert_eq!(server.root.join(format!("t/{path}")).exists(), is_there, "{path}");
    }
    assert_eq!(server.root.read("t/d/.env"), b"the server's own");
    assert_eq!(server.root.read("t/.ftpignore"), b"an old one");
    in_directory(&here, &["put", "-r", "site", &server.url("u")]).exited(0);
    assert!(!server.root.join("u/secret.js").exists() && server.root.join("u/a.js").exists());

    // What cannot be read or understood is never "no patterns".
    here.write("site/d/.ftpignore", b"f.js");
    failed(&up(&[]), 2, "site/d/.ftpignore: expected .ftpignore only at the top of SRC");
    up(&["--exclude", "/d/.ftpignore"]).exited(0);
    here.write("site/.ftpignore", b"a\n[b\n");
    failed(&up(&[]), 2, "site/.ftpignore:2: \"[b\": [ without ]");
    fs::remove_file(here.join("site/.ftpignore")).unwrap();
    here.mkdir("site/.ftpignore");
    failed(&up(&[]), 3, "site/.ftpignore: ");
    fs::remove_dir(here.join("site/.ftpignore")).unwrap();
    std::os::unix::fs::symlink("missing", here.join("site/.ftpignore")).unwrap();
    failed(&up(&[]), 3, "site/.ftpignore: ");
    failed(&up(&["--exclude-from", "missing"]), 3, "missing: ");
}
