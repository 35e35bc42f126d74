//! Clients that fall silent while they upload, as when a cable is cut, and the same clients going on
//! with it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ftp_server::{
    FaultStorage, LocalStorage, Rights, Server, ServerConfig, Storage, StorageCall, VirtualPath,
    WriteMode,
};
use ftp_tests::compare::assert_same;
use ftp_tests::content::binary;
use ftp_tests::peer::Peer;
use ftp_tests::process::{Running, run};
use ftp_tests::root::TempRoot;
use rustix::process::{Pid, Signal, kill_process_group};

use super::interop_curl::curl;

/// Our server, whose storage tells how far an upload has come.
struct Watched {
    server: Server,
    storage: FaultStorage,
    root: TempRoot,
}

impl Watched {
    fn start() -> Self {
        let root = TempRoot::new();
        let storage = FaultStorage::new(LocalStorage::open(root.path()).expect("a storage"));
        let config = ServerConfig { stall: Duration::from_secs(2), ..ServerConfig::default() };
        let server = Server::builder().config(config).storage(storage.clone());
        let server = server.user("u", "p", Rights::FULL);
        let server = server.bind("127.0.0.1:0").expect("a server");
        Self { server, storage, root }
    }

    /// Stops a client when some of its upload has come, and waits until the server has given it up.
    #[track_caller]
    fn cut_midway(&self, mut client: Running) {
        let before = self.storage.count(StorageCall::UploadWrite);
        let some = || (self.storage.count(StorageCall::UploadWrite) > before + 3).then_some(());
        client.wait_until(Duration::from_secs(30), some).expect("an upload goes on");
        kill_process_group(Pid::from_child(&client.child), Signal::STOP).expect("it runs");
        let path = VirtualPath::root().join(b"there");
        // Nobody goes on with it any more, so that somebody can.
        let is_over = || {
            let is_kept = self.storage.partial_size(&path, b"u").is_ok();
            is_kept && self.storage.write_as(&path, WriteMode::Append, b"u").is_ok()
        };
        let end = Instant::now() + Duration::from_secs(30);
        while !is_over() {
            assert!(Instant::now() < end, "the client is not given up");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(self.root.names()[0].starts_with(b".ftp-upload-kept-"), "it is not published");
    }
}

#[test]
fn curl_goes_on_with_an_upload_that_was_cut_fs_15() {
    let Some(peer) = Peer::find("curl") else { return };
    for way in [&[][..], &["--disable-epsv"]] {
        let (watched, local) = (Watched::start(), TempRoot::new());
        let content = binary(2_000_000, 1);
        let source = local.write("source", &content);
        let url = format!("ftp://u:p@{}/there", watched.server.local_addr());
        let begin = |more: &[&str]| {
            let mut command = curl(&peer);
            command.args(way).args(more).arg("-T").arg(&source).arg(&url);
            command
        };
        for continued in [&[][..], &["-C", "-"]] {
            let mut slow = begin(&["--limit-rate", "500K"]);
            slow.args(continued).stdout(Stdio::null()).stderr(Stdio::null());
            watched.cut_midway(Running::start(&mut slow));
        }
        let said = run(&mut begin(&["-C", "-"]));
        let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
        said.succeeded();
        // It did not send all of it again.
        assert!(dialogue.contains("> APPE there") && !dialogue.contains("> STOR"), "{dialogue}");
        assert_same("what came in three parts", &watched.root.read("there"), &content);
        assert_eq!(watched.root.names(), [b"there"]);
    }
}

#[test]
fn curl_begins_anew_behind_a_dele_fs_15_cm_90() {
    let Some(peer) = Peer::find("curl") else { return };
    let (watched, local) = (Watched::start(), TempRoot::new());
    let content = binary(2_000_000, 3);
    let source = local.write("source", &content);
    let address = watched.server.local_addr();
    let begin = || {
        let mut command = curl(&peer);
        command.arg("-T").arg(&source).arg(format!("ftp://u:p@{address}/there"));
        command
    };
    let mut slow = begin();
    slow.args(["--limit-rate", "500K"]).stdout(Stdio::null()).stderr(Stdio::null());
    watched.cut_midway(Running::start(&mut slow));
    // A reply of 5yz would end it here.
    run(curl(&peer).args(["-Q", "DELE there"]).arg(format!("ftp://u:p@{address}/"))).succeeded();
    assert!(watched.root.names().is_empty(), "{:?}", watched.root.names());
    let said = run(begin().args(["-C", "-"]));
    let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
    said.succeeded();
    assert!(dialogue.contains("> STOR there") && !dialogue.contains("> APPE"), "{dialogue}");
    assert_same("what came anew", &watched.root.read("there"), &content);
}

#[test]
fn lftp_goes_on_with_an_upload_that_was_cut_fs_15() {
    let Some(peer) = Peer::find("lftp") else { return };
    let (watched, local, home) = (Watched::start(), TempRoot::new(), TempRoot::new());
    let content = binary(2_000_000, 2);
    local.write("source", &content);
    let begin = |settings: &str, options: &str| {
        let script = format!(
            "set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes; debug 5;\n\
             {settings}\nopen -u u,p ftp://{}\nput {options} source -o there\n",
            watched.server.local_addr()
        );
        let script = home.write("script", script.as_bytes());
        let mut command = peer.command();
        command.env("HOME", home.path()).current_dir(local.path()).arg("-f").arg(script);
        command
    };
    for options in ["", "-c"] {
        let mut slow = begin("set net:limit-rate 0:500000;", options);
        slow.stdout(Stdio::null()).stderr(Stdio::null());
        watched.cut_midway(Running::start(&mut slow));
    }
    let said = run(&mut begin("", "-c"));
    let dialogue = String::from_utf8_lossy(&said.stderr).into_owned();
    said.succeeded();
    assert!(dialogue.contains("REST "), "{dialogue}");
    assert_same("what came in three parts", &watched.root.read("there"), &content);
    assert_eq!(watched.root.names(), [b"there"]);
}
