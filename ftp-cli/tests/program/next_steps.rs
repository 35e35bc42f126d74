//! What a user types next after a refusal: the message names it, whatever the server's text says.

use std::fs;
use std::process::Command;

use ftp_server::{Rights, Server, ServerBuilder};
use ftp_tests::process::run;
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

use crate::{failed, ftp, with_servers};

#[test]
fn a_refused_path_names_the_command_line_that_works_li_16() {
    with_servers(|server, site| {
        let here = TempRoot::new();
        let file = here.write("file", b"content");
        fs::create_dir(here.join("tree")).unwrap();
        site.root.mkdir("dir/full");
        site.root.write("dir/full/file", b"content");
        for (command, path, hint) in [
            (
                &["put"][..],
                "dir/full",
                "; the target is a directory: end it with / to upload into it",
            ),
            (
                &["put", "--temp"],
                "dir",
                "; the target is a directory: end it with / to upload into it",
            ),
            (&["put"], "no/such", "; if a directory is missing, use --create-dirs"),
            (&["put"], "no/such/", "; if a directory is missing, use --create-dirs"),
            (&["get"], "dir", "; use ftp-cli get -r to download a directory"),
            (&["get"], "dir/full", "; use ftp-cli get -r to download a directory"),
            (&["mirror"], "a/b/c", "; if a directory is missing, use --create-dirs"),
            (&["put", "-r"], "a/b", "; if a directory is missing, use --create-dirs"),
            (&["rm"], "dir", "; use ftp-cli rm -r"),
            (&["rmdir"], "dir/full", "; to remove it with its content, use ftp-cli rm -r"),
            (&["mkdir"], "a/b/c", "; if a parent directory is missing, use -p"),
            (&["mkdir"], "dir/full", "; use -p to accept an existing directory"),
            // The directories of a path can be entered one by one.
            (&["rm"], "PARTS/dir/full", "; use ftp-cli rm -r"),
            (&["rmdir"], "PARTS/dir/full", "; to remove it with its content, use ftp-cli rm -r"),
            (&["mkdir"], "PARTS/a/b/c", "; if a parent directory is missing, use -p"),
            (&["mkdir"], "PARTS/dir/b/c", "; if a parent directory is missing, use -p"),
            (&["mkdir"], "PARTS/dir/full", "; use -p to accept an existing directory"),
            (&["rm"], "PARTS/dir/none", ""),
            // Nothing is wrong with the path but that it leads nowhere.
            (&["get"], "dir/none", ""),
            (&["rm"], "dir/none", ""),
            (&["rmdir"], "dir/full/file", ""),
        ] {
            let mut ftp = ftp(command);
            match command {
                ["put", "-r"] | ["mirror"] => ftp.arg(here.join("tree")),
                ["put", ..] => ftp.arg(&file),
                _ => &mut ftp,
            };
            let url = match path.strip_prefix("PARTS/") {
                Some(path) => site.url(path).replace("%2F", "/"),
                None => site.url(path),
            };
            let ran = run(ftp.arg(url).current_dir(here.path()));
            let said = String::from_utf8_lossy(&ran.stderr);
            // Pure-FTPd refuses a rename onto a directory with 451.
            let codes = if command.contains(&"--temp") { &[8, 9][..] } else { &[8] };
            let is_right = ran.code().is_some_and(|code| codes.contains(&code));
            assert!(is_right, "{server} {command:?} {path}: {ran:?}");
            let is_hinted = said.trim_end().ends_with(hint);
            let has_none = !hint.is_empty() || !said.contains("; ");
            assert!(is_hinted && has_none, "{server} {command:?} {path}: {said}");
        }
        // Each hint is right.
        let url = |path: &str| site.url(path);
        for (command, operands) in [
            (&["put"][..], [file.to_str().unwrap().to_owned(), url("dir/full/")]),
            (&["put", "--create-dirs"], [file.to_str().unwrap().to_owned(), url("no/such/")]),
            (
                &["mirror", "--create-dirs"],
                [here.join("tree").to_str().unwrap().to_owned(), url("a/b/c")],
            ),
        ] {
            run(ftp(command).args(operands)).exited(0);
        }
        run(&mut ftp(&["mkdir", "-p", &url("dir/full")])).exited(0);
        run(&mut ftp(&["mkdir", "-p", &url("x/y/z")])).exited(0);
        if server == "ours" {
            run(&mut ftp(&["rm", "-r", &url("dir")])).exited(0);
        }
    });
}

#[test]
fn a_wrong_command_line_names_the_right_one() {
    let server = OurServer::start();
    server.root.mkdir("d");
    let (here, url) = (TempRoot::new(), server.url(""));
    here.write("f", b"content");
    let digits = "127.0.0.77:2121";
    for (arguments, code, words) in [
        (&["get", "sftp://h/x"][..], 2, "sftp is SSH, not FTP; use sftp or scp, or ftpes://"),
        (&["get", "HTTPS://h/x"], 2, "HTTPS is not FTP; use curl, or ftp://"),
        (&["ls", "ftpe://h/x"], 2, "unknown scheme \"ftpe\"; expected ftp, ftpes (TLS) or ftps"),
        (&["ls", "ftp:\\\\h\\x"], 2, "a URL has / instead of \\: write ftp://HOST/PATH"),
        (&["ls", "\"ftp://h/x\""], 2, "unknown scheme "),
        (&["get", "f", &url], 2, "; to upload, use put"),
        (&["put", &url, "f"], 2, "to download, use ftp-cli get URL LOCAL"),
        (&["chmod", &url, "755"], 2, "chmod takes the mode first: ftp-cli chmod MODE URL..."),
        (&["ls", "-u", "u:geheim", &url], 2, "set FTP_PASSWORD, or use --password-file"),
        (&["ls", digits], 2, "for a port, write ftp://127.0.0.77:2121/; for the path"),
        (&["ls", "u@h:2121/d"], 2, "for a port, write ftp://u@h:2121/d; "),
        (&["put", "f", "[::1]:2121"], 2, "for a port, write ftp://[::1]:2121/; "),
        (&["get", "-P", &url, &url], 2, "--directory: expected a path, not a URL"),
        (&["mirror", "--backup-dir", &url, "f", &url], 2, "--backup-dir: expected a "),
        (&["put", "-V", "f", &url], 2, "-V shows the version and takes no operands"),
        (&["-V", "put", "f", &url], 2, "-V shows the version and takes no operands"),
        (&["rm", "ftp://h/f;type=a"], 2, "rm does not support ;type="),
        (&["mv", "ftp://h/f;TYPE=i", "g"], 2, "mv does not support ;type="),
        (&["ftp://h/x"], 2, "missing command before the URL, such as ftp-cli get ftp://h/x"),
        (&["ftp://h/x/"], 2, "missing command before the URL, such as ftp-cli ls ftp://h/x/"),
        (&["get", "-p", "2121", &url], 2, "get takes the URL first, ftp://HOST:PORT/"),
        (&["get", "--port", "2121", &url], 2, "write the port in the URL: ftp://HOST:PORT/"),
        (&["gte", &url], 2, "did you mean \"get\"?"),
        (&["get", "--retrys", "1", &url], 2, "did you mean --retry?"),
        (&["get", "127.0.0.1/d"], 2, "missing scheme; did you mean ftp://127.0.0.1/d?"),
        (&["put", "none", &url], 3, "none: No such file or directory"),
        (&["put", ".", &url], 2, "use ftp-cli put -r"),
        (&["mirror", ".", "."], 2, "write SRC or DST as ftp://HOST/DIR"),
        (&["ls"], 2, "ls needs a URL: ftp-cli ls [-l] URL..."),
        (&["ls", "--pasive", &url], 2, "did you mean --passive?"),
    ] {
        let ran = run(ftp(arguments).current_dir(here.path()));
        failed(&ran, code, words);
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("geheim"), "{ran:?}");
    }
    let helped = run(&mut ftp(&["ls", "-h"])).succeeded();
    assert!(helped.starts_with(b"ftp-cli ls: List directories\n"));
}

#[test]
fn a_missing_source_is_named_first_and_nothing_is_sent() {
    let here = TempRoot::new();
    here.write("file", b"");
    // Nothing listens there, and a password is missing.
    let url = "ftp://u@127.0.0.1:1/dir/";
    for command in
        [&["put"][..], &["put", "-c"], &["put", "-r"], &["mirror"], &["mirror", "--dry-run"]]
    {
        let ran = run(ftp(command).args(["none", url]).current_dir(here.path()));
        failed(&ran, 3, "");
        assert_eq!(ran.stderr, b"ftp-cli: none: No such file or directory\n", "{command:?}");
    }
    // A local object of the plan is named alone, too.
    let ran = run(ftp(&["put", "-r", "file", "ftp://127.0.0.1:1/"]).current_dir(here.path()));
    failed(&ran, 3, "");
    assert_eq!(ran.stderr, b"ftp-cli: file: Not a directory\n");
}

#[test]
fn a_login_without_a_user_says_that_it_is_anonymous() {
    const HINT: &str = "; this login is anonymous: to name a user, use ftp://USER@HOST/ or -u";
    let (root, here) = (TempRoot::new(), TempRoot::new());
    root.write("file", b"content");
    here.write("f", b"content");
    let server = |builder: ServerBuilder| builder.root(root.path()).bind("127.0.0.1:0").unwrap();
    let open = server(Server::builder().anonymous(Rights::READ));
    let closed = server(Server::builder().user("u", "p", Rights::FULL));
    let in_here = |command: &mut Command| run(command.current_dir(here.path()));
    let url = |server: &Server, user: &str| format!("ftp://{user}{}/", server.local_addr());
    for (arguments, code, is_hinted) in [
        (["ls", "-q", &url(&closed, "")], 6, true),
        (["put", "f", &url(&closed, "")], 6, true),
        (["put", "f", &url(&open, "")], 8, true),
        (["rm", "-q", &format!("{}file", url(&open, ""))], 8, true),
        (["mirror", ".", &format!("{}new", url(&open, ""))], 8, true),
        // The user has named it.
        (["put", "f", &url(&open, "anonymous@")], 8, false),
        (["put", "f", &url(&closed, "u:wrong@")], 6, false),
        (["get", "-q", &format!("{}none", url(&open, ""))], 8, false),
    ] {
        let ran = in_here(&mut ftp(&arguments));
        ran.exited(code);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.contains(HINT), is_hinted, "{arguments:?} {said}");
    }
    // The environment names one, and lacks the password, or the reverse: no login is anonymous.
    for (user, password, words) in [
        (Some("u"), None, "no password for user u at 127.0.0.1: set FTP_PASSWORD"),
        (Some("u"), Some(""), "no password for user u at 127.0.0.1: set FTP_PASSWORD"),
        (Some(""), Some(""), "no user for 127.0.0.1: FTP_USER and FTP_PASSWORD are empty"),
        (None, Some("p"), "no user for 127.0.0.1: FTP_PASSWORD is set, but FTP_USER is not"),
    ] {
        for line in [&["put", "f", &url(&open, "")][..], &["ls", &url(&open, "")]] {
            let mut command = ftp(line);
            command.envs(user.map(|user| ("FTP_USER", user)));
            command.envs(password.map(|password| ("FTP_PASSWORD", password)));
            failed(&in_here(&mut command), 6, words);
            // In the program of a server's hook, the user is that of the server's client.
            if user == Some("u") && line[0] == "ls" {
                in_here(command.env_remove("FTP_PASSWORD").env("FTP_PEER", "::1")).exited(0);
            }
        }
    }
    // The environment names one.
    let mut put = ftp(&["put", "f", &url(&closed, "")]);
    in_here(put.env("FTP_USER", "u").env("FTP_PASSWORD", "p")).exited(0);
    assert_eq!(root.read("f"), b"content");
}
