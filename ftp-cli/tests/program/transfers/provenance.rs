//! `put -c` from an earlier run: only the journal of that run or a digest proves that the server's
//! bytes came from the local file. Times prove nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use ftp_client::file::{Checksum, HashAlgorithm};
use ftp_proto::TimeVal;
use ftp_tests::process::{Ran, run};
use ftp_tests::root::TempRoot;

use super::{count, ten, text};
use crate::ftp;
use crate::peer::{Act, Peer};

/// Returns the reply to `MDTM` for a time of `seconds` from now.
fn time(seconds: i64) -> Act {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let time = TimeVal::from_unix_seconds(i64::try_from(now).unwrap() + seconds).unwrap();
    Act::Say(format!("213 {time}").leak())
}

const TAKE: Act = Act::Take("150 go", "226 done");

/// Runs `put -c` with scripts for the connections of one address, one run for each.
struct Runs {
    here: TempRoot,
    peer: Peer,
}

impl Runs {
    fn start(scripts: Vec<Vec<(&'static str, Act)>>) -> Self {
        let here = TempRoot::new();
        here.write("file", &ten(b'x'));
        Self { here, peer: Peer::start_several(scripts) }
    }

    fn put(&self, options: &[&str]) -> Ran {
        let mut put = ftp(&["put", "-c", "-v"]);
        put.env("XDG_STATE_HOME", self.here.join("state"));
        run(put.args(options).args([&text(&self.here.join("file")), &self.peer.url("x")]))
    }

    fn counts(&self) -> (usize, usize) {
        (count(&self.peer, "APPE"), count(&self.peer, "STOR"))
    }
}

/// An interrupted run: the connection breaks after all bytes were sent.
fn cut() -> Vec<(&'static str, Act)> {
    vec![("SIZE", Act::Say("550 no")), ("STOR x", Act::TakeAndBreak("150 go"))]
}

/// A run that finds `size` bytes, and `end` as the last ones.
fn then(size: &'static str, end: Act) -> Vec<(&'static str, Act)> {
    vec![
        ("SIZE", Act::Say(size)),
        ("SIZE", Act::Say("213 10")),
        ("RETR x", end),
        ("APPE x", TAKE),
        ("STOR x", TAKE),
    ]
}

fn journals(directory: &Path) -> usize {
    let names = fs::read_dir(directory).map(|entries| {
        let is_journal =
            |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".ftp-cli-upload");
        entries.filter(|entry| is_journal(&entry.as_ref().unwrap().file_name())).count()
    });
    names.unwrap_or(0)
}

#[test]
fn an_interrupted_upload_is_resumed_by_its_journal_as_09() {
    let end = |bytes: &[u8]| Act::Send("150 go", bytes.to_vec(), "226 done");
    let retry = ["--retry", "3", "--retry-delay", "0s"];
    for (size, end, want) in [
        ("213 4", end(b"xxxx"), (1, 1)),
        // The end of the server's file differs.
        ("213 4", end(b"yyyy"), (0, 2)),
        ("213 4", end(b"xxxxx"), (0, 2)),
        // A refusal leaves nothing to compare.
        ("213 4", Act::Say("450 busy"), (0, 2)),
        ("213 4", Act::Say("550 no"), (0, 2)),
        // An equally long file can be another one.
        ("213 10", end(&ten(b'x')), (0, 2)),
        ("550 no", end(b""), (0, 2)),
    ] {
        let runs = Runs::start(vec![cut(), then(size, end.clone())]);
        assert_ne!(runs.put(&[]).code(), Some(0));
        assert_eq!(journals(runs.here.path()), 1);
        runs.put(&[]).exited(0);
        assert_eq!(runs.counts(), want, "{size} {end:?}: {}", runs.peer.seen());
        assert_eq!(journals(runs.here.path()), 0);
        // The attempts of one run need no journal, but the same comparison.
        let runs = Runs::start(vec![cut(), then(size, end)]);
        runs.put(&retry).exited(0);
        let is_all = size == "213 10";
        assert!(runs.counts() == want || is_all, "{}", runs.peer.seen());
    }
}

#[test]
fn bytes_of_another_host_are_not_joined_however_new_they_are_as_09() {
    for seconds in [-60, 0, 3_600, 15 * 3_600] {
        let mut script = then("213 4", Act::Send("150 go", b"xxxx".to_vec(), "226 done"));
        script.push(("MDTM", time(seconds)));
        let runs = Runs::start(vec![script]);
        runs.put(&[]).exited(0);
        assert_eq!(runs.counts(), (0, 1), "{seconds}: {}", runs.peer.seen());
    }
}

#[test]
fn a_journal_of_another_target_or_an_edited_file_proves_nothing_as_09() {
    // The target of the first run is another path.
    let runs = Runs::start(vec![cut(), then("213 4", Act::Say("550 no"))]);
    let mut put = ftp(&["put", "-c"]);
    put.args([&text(&runs.here.join("file")), &runs.peer.url("x2")]);
    assert_ne!(run(&mut put).code(), Some(0));
    runs.put(&[]).exited(0);
    assert_eq!(runs.counts().0, 0, "{}", runs.peer.seen());
    // The local file was rewritten in place, and its modification time was put back.
    let runs = Runs::start(vec![cut(), then("213 4", Act::Say("550 no"))]);
    assert_ne!(runs.put(&[]).code(), Some(0));
    let file = fs::File::options().write(true).open(runs.here.join("file")).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    std::io::Write::write_all(&mut &file, &ten(b'y')).unwrap();
    file.set_modified(before).unwrap();
    drop(file);
    let ran = runs.put(&[]);
    ran.exited(0);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("the local file changed"), "{ran:?}");
    assert_eq!(runs.counts(), (0, 2), "{}", runs.peer.seen());
    // The file that the upload was to replace is still there.
    let first = vec![("SIZE", Act::Say("213 4")), ("STOR x", Act::TakeAndBreak("150 go"))];
    let runs = Runs::start(vec![first, then("213 4", Act::Say("550 no"))]);
    assert_ne!(runs.put(&[]).code(), Some(0));
    runs.put(&[]).exited(0);
    assert_eq!(runs.counts(), (0, 2), "{}", runs.peer.seen());
}

#[test]
fn a_part_without_a_journal_is_proved_only_by_a_digest_as_09() {
    let feat = ("FEAT", Act::Say("211-x\r\n SIZE\r\n XCRC\r\n211 end"));
    let crc = |bytes: &[u8]| -> &'static str {
        let mut checksum = Checksum::new(HashAlgorithm::Crc32).unwrap();
        checksum.update(bytes);
        format!("250 {}", checksum.finish()).leak()
    };
    let (four, ten) = (crc(b"xxxx"), crc(&ten(b'x')));
    for (size, first, second, want) in [
        ("213 4", four, ten, (1, 0)),
        ("213 4", "250 00000000", ten, (0, 1)),
        ("213 4", "550 no", ten, (0, 1)),
        ("213 4", "556 no", ten, (0, 1)),
        ("213 10", ten, ten, (0, 0)),
        ("213 10", "250 00000000", ten, (0, 1)),
    ] {
        let mut script = then(size, Act::Say("550 no"));
        script.extend([feat.clone(), ("XCRC", Act::Say(first)), ("XCRC", Act::Say(second))]);
        script.push(("MDTM", time(0)));
        let runs = Runs::start(vec![script]);
        runs.put(&[]).exited(0);
        assert_eq!(runs.counts(), want, "{size} {first}: {}", runs.peer.seen());
    }
    // What was kept is compared as a whole at the end.
    let mut script = then("213 4", Act::Say("550 no"));
    script.extend([feat, ("XCRC", Act::Say(four)), ("XCRC", Act::Say("250 00000000"))]);
    let runs = Runs::start(vec![script]);
    runs.put(&[]).exited(11);
}

#[test]
fn verify_none_takes_the_servers_bytes_unless_time_or_end_refute_them_as_09() {
    let none = ["--verify", "none"];
    for (seconds, end, want) in
        [(3_600, &b"xxxx"[..], (1, 0)), (3_600, b"yyyy", (0, 1)), (-3_600, b"xxxx", (0, 1))]
    {
        let mut script = then("213 4", Act::Send("150 go", end.to_vec(), "226 done"));
        script.push(("MDTM", time(seconds)));
        let runs = Runs::start(vec![script]);
        runs.put(&none).exited(0);
        assert_eq!(runs.counts(), want, "{seconds} {end:?}: {}", runs.peer.seen());
    }
}

#[test]
fn a_running_upload_is_waited_for_as_09() {
    let mut script = then("213 4", Act::Send("150 go", b"xxxx".to_vec(), "226 done"));
    script.insert(0, ("SIZE", Act::Say("450 busy")));
    let runs = Runs::start(vec![cut(), script]);
    assert_ne!(runs.put(&[]).code(), Some(0));
    let ran = runs.put(&[]);
    ran.exited(0);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("still receives"), "{ran:?}");
    assert_eq!(runs.counts(), (1, 1), "{}", runs.peer.seen());
}

#[test]
fn the_journal_goes_to_the_state_directory_or_verbose_says_why_not_as_09() {
    if rustix::process::geteuid().is_root() {
        // Root can write to every directory.
        return;
    }
    let runs =
        Runs::start(vec![cut(), then("213 4", Act::Send("150 go", b"xxxx".to_vec(), "226 done"))]);
    let locked = fs::Permissions::from_mode(0o500);
    fs::create_dir(runs.here.join("state")).unwrap();
    fs::set_permissions(runs.here.path(), locked).unwrap();
    assert_ne!(runs.put(&[]).code(), Some(0));
    assert_eq!(journals(&runs.here.join("state/ftp-cli")), 1);
    runs.put(&[]).exited(0);
    assert_eq!(runs.counts(), (1, 1), "{}", runs.peer.seen());
    let unlocked = fs::Permissions::from_mode(0o700);
    fs::set_permissions(runs.here.path(), unlocked).unwrap();
}

#[test]
fn the_clock_of_the_server_does_not_matter_as_09() {
    // The journal and equal bytes suffice, whatever time the server reports.
    for seconds in [-15 * 3_600, 0, 15 * 3_600] {
        let mut script = then("213 4", Act::Send("150 go", b"xxxx".to_vec(), "226 done"));
        script.push(("MDTM", time(seconds)));
        let runs = Runs::start(vec![cut(), script]);
        assert_ne!(runs.put(&[]).code(), Some(0));
        runs.put(&[]).exited(0);
        assert_eq!(runs.counts(), (1, 1), "{seconds}: {}", runs.peer.seen());
    }
}
