//! `[stores.NAME]`: files in an object store, with real clients, on the stores that are installed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use ftp_tests::at_once::at_once;
use ftp_tests::between::{Fate, between};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::peer::{ObjectStore, Peer};
use ftp_tests::process::{LIMIT, Ran, run, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::wait_until;

use crate::config::{Configured, log_until};
use crate::figures::memory;
use crate::serve::Served;
use crate::{failed, ftp};

/// Several parts of 5 MiB, of which the last is incomplete.
const LENGTH: usize = 17 << 20;

/// A program that Python runs with the port of a server: it stores and reads a file by ftplib.
const FTPLIB: &str = "
import ftplib, io, sys
ftp = ftplib.FTP()
ftp.connect('127.0.0.1', int(sys.argv[1]))
ftp.login('anna', 'p')
content = bytes(range(256)) * 40000
ftp.mkd('python')
ftp.cwd('python')
ftp.storbinary('STOR one', io.BytesIO(content))
assert ftp.size('one') == len(content)
ftp.rename('one', 'other')
assert ftp.nlst() == ['other'], ftp.nlst()
assert [name for name, facts in ftp.mlsd() if facts['type'] == 'file'] == ['other']
ftp.storbinary('APPE other', io.BytesIO(b'more'))
read = io.BytesIO()
ftp.retrbinary('RETR other', read.write, rest=5)
assert read.getvalue() == content[5:] + b'more'
ftp.delete('other')
ftp.cwd('/')
ftp.rmd('python')
ftp.quit()
";

/// Returns the first example of a section of docs/scale.md.
pub(crate) fn printed(section: &str) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.md");
    let document = fs::read_to_string(document).unwrap();
    let section = document.split(&format!("\n## {section}\n")).nth(1).unwrap();
    section.split("```text\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// The configuration of the documentation, for a store at this endpoint.
pub(crate) fn configured(endpoint: &str) -> Configured {
    let printed = printed("Files in an object store");
    let configured = Configured::new("");
    let secret = configured.here.write("secret", b"secret\n");
    let mut text = String::new();
    for line in printed.lines() {
        let line = match line.split_once(" = ").map_or(line, |(key, _)| key) {
            "endpoint" => {
                format!("endpoint = \"{endpoint}\"\npart_size = \"5 MiB\"\nlease = \"2 s\"")
            }
            "bucket" => "bucket = \"bucket\"".to_owned(),
            "access_key" => "access_key = \"key\"".to_owned(),
            "secret_key_file" => format!("secret_key_file = \"{}\"", secret.display()),
            "password" => "password = \"HASH\"".to_owned(),
            _ => line.to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    // Another user of the same bucket: one client serves both.
    text.push_str(
        "[users.bob]\npassword = \"HASH\"\nroot = \"ROOT\"\nrights = \"full\"\n\
         mounts = { \"/all\" = \"s3://bucket/users\" }\n",
    );
    configured.write(&text);
    configured
}

pub(crate) fn check(configured: &Configured) -> Ran {
    run(&mut configured.command(&["--listen", "127.0.0.1:0", "--check", "-v"]))
}

/// Calls `test` with a server of each store that is installed, and what the check said of it.
fn meets(test: impl Fn(&ObjectStore, &Served, &str)) {
    let starts = vec![ObjectStore::seaweedfs, ObjectStore::moto];
    for store in scale::some(starts, 1).into_iter().filter_map(|start| start()) {
        let configured = configured(&store.endpoint());
        // A store that has just started has no place for objects yet.
        wait_until("the store takes objects", || check(&configured).code() == Some(0));
        let said = String::from_utf8(check(&configured).succeeded()).unwrap();
        test(&store, &configured.serve(), &said);
    }
}

fn login(served: &Served) -> RawSession {
    let mut session = RawSession::login(served.address, "anna", "p");
    session.expect("TYPE I", 200);
    session
}

/// Interrupts an upload of `there` after some parts, and waits until it is kept.
fn cut(served: &Served, content: &[u8]) {
    let mut session = login(served);
    let mut data = session.passive();
    session.expect("STOR there", 150);
    data.write_all(&content[..11 << 20]);
    data.reset();
    session.expect_reply(426);
    let _data = session.passive();
    session.expect("RETR there", 550);
    // Until the last bytes are stored, `SIZE` gets 450.
    wait_until("the upload is kept", || session.ask("SIZE there").code == 213);
}

/// curl, lftp, rclone and ftplib, as far as they are installed.
fn others(served: &Served, local: &TempRoot, content: &[u8]) {
    let address = served.address;
    let url = |name: &str| format!("ftp://anna:p@{address}/{name}");
    if let Some(curl) = Peer::find("curl") {
        let curl = |arguments: &[&str]| {
            run(curl.command().args(["-q", "-sS"]).args(arguments)).succeeded()
        };
        let source = local.join("there");
        let (source, target) = (source.to_str().unwrap(), local.join("by-curl"));
        curl(&["--ftp-create-dirs", "-T", source, &url("by/curl")]);
        curl(&["-o", target.to_str().unwrap(), &url("by/curl")]);
        assert_same("by/curl", &local.read("by-curl"), content);
        cut(served, content);
        curl(&["-C", "-", "-T", source, &url("there")]);
        assert_same("there", &login(served).download("RETR there"), content);
        login(served).expect("DELE there", 250);
    }
    if let Some(lftp) = Peer::find("lftp") {
        cut(served, content);
        let script = format!(
            "set cmd:fail-exit yes; set net:max-retries 1\nopen -u anna,p ftp://{address}\n\
             put -c there\nmkdir lftp\nmirror -R tree lftp/tree\nmirror lftp/tree lftp-back\n"
        );
        let script = local.write("script", script.as_bytes());
        let mut command = lftp.command();
        command.env("HOME", local.path()).current_dir(local.path()).arg("-f").arg(script);
        run_with(&mut command, &[], LIMIT).succeeded();
        assert_same("there", &login(served).download("RETR there"), content);
        assert_same("mirrored", &local.read("lftp-back/d/two"), b"second");
    }
    if let Some(rclone) = Peer::find("rclone") {
        let hidden = run(rclone.command().args(["obscure", "p"])).succeeded();
        let hidden = String::from_utf8(hidden).unwrap();
        let (port, pass) = (address.port(), hidden.trim());
        let remote = format!(":ftp,host=127.0.0.1,port={port},user=anna,pass={pass}:rclone");
        let tree = local.join("tree");
        let tree = tree.to_str().unwrap();
        for command in [&["copy"][..], &["check", "--download"], &["sync"]] {
            let mut rclone = rclone.command();
            rclone.args(["--config=", "--retries=1", "--low-level-retries=1"]);
            run(rclone.args(command).args([tree, &remote])).succeeded();
        }
    }
    if let Some(python) = Peer::find("python3") {
        run(python.command().args(["-c", FTPLIB, &address.port().to_string()])).succeeded();
    }
}

/// This program as the client.
fn ours(served: &Served, local: &TempRoot, content: &[u8]) {
    let run_ftp = |arguments: &[&str]| {
        let mut command = ftp(arguments);
        command.current_dir(local.path());
        run(&mut command).succeeded()
    };
    let url = |name: &str| served.url("anna:p@", name);
    run_ftp(&["put", "there", &url("by-us")]);
    run_ftp(&["get", &url("by-us"), "back"]);
    assert_same("by-us", &local.read("back"), content);
    login(served).expect("DELE by-us", 250);
    cut(served, content);
    run_ftp(&["put", "-c", "there", &url("there")]);
    assert_same("there", &login(served).download("RETR there"), content);
    run_ftp(&["mirror", "tree", &url("mirror/")]);
    run_ftp(&["mirror", &url("mirror/"), "mirrored"]);
    assert_same("mirrored", &local.read("mirrored/d/two"), b"second");
    let listed = String::from_utf8(run_ftp(&["ls", "-R", &url("mirror/")])).unwrap();
    assert!(listed.contains("one") && listed.contains("two"), "{listed}");
}

/// Returns the number of threads with this name.
fn threads(served: &Served, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", served.running.child.id())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[test]
fn real_clients_use_files_in_a_store() {
    meets(|store, served, said| {
        let bucket = format!("stores.main: bucket bucket of {}: ", store.endpoint());
        let works =
            format!("ok    {bucket}put, get, list, delete and an upload in parts succeeded");
        assert!(said.lines().any(|line| line == works), "{said}");
        let checks = said.contains("ok    stores.main: the store supports conditional writes");
        assert_eq!(checks, store.name != "moto", "{said}");
        for operation in ["CompleteMultipartUpload", "CopyObject"] {
            let ignores = said.contains(&format!("does not check conditions of {operation}"));
            assert_eq!(ignores, store.name == "moto", "{said}");
        }
        let rule = "warn  stores.main: the bucket has no lifecycle rule";
        assert!(said.contains(rule) && !said.contains("secret\n"), "{said}");
        let local = TempRoot::new();
        let content = binary(LENGTH, 7);
        local.write("there", &content);
        local.write("tree/one", b"first");
        local.write("tree/d/two", b"second");
        ours(served, &local, &content);
        login(served).expect("DELE there", 250);
        others(served, &local, &content);
        // Bob has the same objects in a mount.
        let mut bob = RawSession::login(served.address, "bob", "p");
        assert_eq!(bob.download("RETR all/anna/mirror/one"), b"first");
        bob.upload("STOR all/anna/by-bob", b"bob");
        bob.upload("STOR own", b"own");
        assert_eq!(login(served).download("RETR by-bob"), b"bob");
        assert_eq!(threads(served, "s3-store"), 1);
    });
}

#[test]
fn a_reload_applies_new_access_keys() {
    let Some(store) = ObjectStore::seaweedfs() else { return };
    let configured = configured(&store.endpoint());
    wait_until("the store takes objects", || check(&configured).code() == Some(0));
    let served = configured.serve();
    login(&served).upload("STOR f", b"first");
    let mut session = login(&served);
    for (secret, reply) in [("wrong", 451), ("secret", 226)] {
        configured.here.write("secret", format!("{secret}\n").as_bytes());
        served.signal("HUP");
        log_until(&served, "stores.main: new access keys are in use");
        log_until(&served, "configuration reloaded");
        // A session that began before uses the same client.
        let found = session.ask("SIZE f");
        assert_eq!(found.code == 213, reply == 226, "{found:?}");
    }
    configured.here.write("secret", b"wrong\n");
    let ran = check(&configured);
    ran.exited(4);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("fail  stores.main: bucket bucket of "), "{said}");
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
}

#[test]
fn access_keys_of_a_role_are_requested_from_sts() {
    let Some(store) = ObjectStore::moto() else { return };
    let configured = configured(&store.endpoint());
    let token = configured.here.write("token", b"a token\n");
    let (token, endpoint) = (token.to_str().unwrap(), store.endpoint());
    let set = |key: &str, value: &str| ["--set".to_owned(), format!("stores.main.{key}={value}")];
    let without = [set("access_key", ""), set("secret_key_file", "")].concat();
    let role = "arn:aws:iam::123456789012:role/ftp";
    let with_role = [
        set("role_arn", role),
        set("web_identity_token_file", token),
        set("sts_endpoint", &endpoint),
    ];
    let serve = |more: &[String]| {
        let mut command = configured.command(&["--listen", "127.0.0.1:0"]);
        command.args(&without).args(more);
        command
    };
    let check = |more: &[String]| {
        let ran = run(serve(more).arg("--check"));
        (ran.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let with_role = with_role.concat();
    let (code, said) = check(&with_role);
    assert_eq!(code, Some(0), "{said}");
    let served = Served::of(&mut serve(&with_role));
    login(&served).upload("STOR f", b"content");
    assert_eq!(login(&served).download("RETR f"), b"content");
    // Without its token the server starts, as without the store.
    fs::remove_file(token).unwrap();
    let (code, said) = check(&with_role);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("/token: cannot read the token: No such file"), "{said}");
    let served = Served::of(&mut serve(&with_role));
    let warning = format!("warning: stores.main: {token}: cannot read the token: No such file");
    assert!(served.said().contains(&warning), "{}", served.said());
    login(&served).expect("SIZE f", 451);
    // Kubernetes names the role in the environment.
    configured.here.write("token", b"a token\n");
    let mut of_environment = serve(&set("sts_endpoint", &endpoint));
    of_environment.env("AWS_ROLE_ARN", role).env("AWS_WEB_IDENTITY_TOKEN_FILE", token);
    run(of_environment.arg("--check")).exited(0);
}

#[test]
fn an_unreachable_store_is_named_and_affects_no_other_user() {
    let configured = configured("http://127.0.0.1:9");
    check(&configured).exited(4);
    let served = configured.serve();
    login(&served).expect("SIZE f", 451);
    let mut bob = RawSession::login(served.address, "bob", "p");
    bob.upload("STOR own", b"own");
    assert_eq!(bob.download("RETR own"), b"own");
    fs::remove_file(configured.here.join("secret")).unwrap();
    let ran = run(&mut configured.command(&["--listen", "127.0.0.1:0"]));
    failed(&ran, 3, "stores.main.secret_key_file: ");
    let without = ["--set", "stores.main.access_key=", "--set", "stores.main.secret_key_file="];
    let command = |variables: &[(&str, &str)]| -> Command {
        let mut command = configured.command(&["--listen", "127.0.0.1:0", "--check"]);
        command.args(without).envs(variables.iter().copied());
        command
    };
    let ran = run(&mut command(&[]));
    ran.exited(2);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("fail  stores.main: no access keys: set access_key"), "{said}");
    let ran = run(&mut command(&[("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "geheim")]));
    ran.exited(4);
    assert!(!format!("{ran:?}").contains("geheim"));
}

/// Uploads at once, of which the server does not know the size, more than the memory of the store
/// could hold. Those that are slow keep theirs until the last byte.
#[test]
fn many_uploads_at_once_end_within_the_documented_memory() {
    const CLIENTS: usize = 24;
    /// What docs/scale.md states, in KiB: `memory`, and 4 MiB for each upload.
    const MOST: u64 = (10 + 4 * CLIENTS as u64) << 10;
    let Some(store) = ObjectStore::seaweedfs() else { return };
    let configured = configured(&store.endpoint());
    wait_until("the store takes objects", || check(&configured).code() == Some(0));
    let memory_of_parts = ["--listen", "127.0.0.1:0", "--set", "stores.main.memory=10 MiB"];
    let served = Served::of(&mut configured.command(&memory_of_parts));
    let login = {
        let address = served.address;
        move || RawSession::login(address, "anna", "p")
    };
    login().upload("STOR first", b"first");
    let process = served.running.child.id();
    let before = memory(process, "VmHWM:");
    // All of them have begun before any one ends.
    let begun = Barrier::new(CLIENTS);
    at_once(CLIENTS, 0..CLIENTS, |number| {
        let content = binary(if number < 4 { 6 << 20 } else { 1_200_000 }, number as u64);
        let (first, rest) = content.split_at(1_000_000);
        let mut session = login();
        session.expect("TYPE I", 200);
        let mut data = session.passive();
        session.expect(format!("STOR f{number}"), 150);
        data.write_all(first);
        begun.wait();
        data.write_all(rest);
        data.close();
        session.expect_reply(226);
        assert_same("f", &session.download(format!("RETR f{number}")), &content);
    });
    let grown = memory(process, "VmHWM:").saturating_sub(before);
    assert!(grown <= MOST, "{grown} KiB, expected at most {MOST}");
}

/// The state of a program before a store. Once it is told to hold requests, it passes the next one
/// that stores an object named `held` on only after it is told to stop.
#[derive(Default)]
struct Holding {
    holds: AtomicBool,
    is_held: AtomicBool,
}

impl Holding {
    /// Returns the state, and the endpoint of the program.
    fn of(store: &ObjectStore) -> (Arc<Self>, String) {
        let state = Arc::new(Self::default());
        let own = Arc::clone(&state);
        let address = between(store.address(), move |head| {
            let is_named = || head.windows(11).any(|it| it == b"/held HTTP/");
            if head.starts_with(b"PUT ") && is_named() {
                own.is_held.store(true, Ordering::SeqCst);
                wait_until("release", || !own.holds.load(Ordering::SeqCst));
            }
            Fate::Pass(None)
        });
        (state, format!("http://{address}"))
    }
}

#[test]
fn a_file_that_a_store_takes_after_its_session_or_server_has_ended_is_told_dc_45_hf_19() {
    let Some(store) = ObjectStore::moto() else { return };
    let (proxy, endpoint) = Holding::of(&store);
    let configured = configured(&endpoint);
    let here = configured.here.path().display();
    let stored = format!(
        "hooks.stored=[\"/bin/sh\", \"-c\", 'echo \"$FTP_PATH $FTP_BYTES\" >>{here}/seen']"
    );
    let spool = format!("hooks.spool={here}/spool");
    let serve = || {
        let more = ["--listen", "0", "--set", &stored, "--set", &spool];
        let grace = ["--set", "timeouts.shutdown_grace=100 ms"];
        Served::of(configured.command(&more).args(grace))
    };
    for (act, bytes) in [("ABOR", 1), ("end of the client", 2), ("TERM", 3), ("KILL", 4)] {
        let mut served = serve();
        let mut session = login(&served);
        proxy.holds.store(true, Ordering::SeqCst);
        proxy.is_held.store(false, Ordering::SeqCst);
        let mut data = session.passive();
        session.expect("STOR held", 150);
        data.write_all(&vec![b'x'; bytes]);
        data.close();
        wait_until("the file is being stored", || proxy.is_held.load(Ordering::SeqCst));
        match act {
            "ABOR" => drop(session.expect("ABOR", 426)),
            "end of the client" => drop(session),
            signal => {
                served.signal(signal);
                served.running.wait(Instant::now() + LIMIT).expect("it ends");
            }
        }
        proxy.holds.store(false, Ordering::SeqCst);
        // The next server tells what this one did not.
        let next = matches!(act, "TERM" | "KILL").then(serve);
        let want = format!("/held {bytes}\n");
        wait_until("the program runs", || {
            fs::read_to_string(configured.here.join("seen")).is_ok_and(|seen| seen == want)
        });
        let served = next.unwrap_or(served);
        wait_until("the file is stored", || {
            // While the store decides about the upload, it is 450.
            let size = login(&served).ask("SIZE held");
            size.code == 213 && size.text().ends_with(&bytes.to_string())
        });
        fs::remove_file(configured.here.join("seen")).unwrap();
        served.signal("TERM");
        { served }.running.wait(Instant::now() + LIMIT).expect("it ends");
    }
}
