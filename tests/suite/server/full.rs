//! Full storages, and storages that cannot be written any more: real file systems, and memory.

use std::path::PathBuf;
use std::process::Command;

use ftp_server::{
    Ask, LocalConfig, MemoryStorage, Rights, RoomFor, Server, Storage, SyncPolicy, VirtualPath,
};
use ftp_tests::peer::skipped;
use ftp_tests::raw::RawSession;
use ftp_tests::wait::wait_until;

use super::{Fixture, published_in};

/// A separate file system over the root of a fixture, unmounted on drop.
pub(super) struct Mount(PathBuf);

impl Mount {
    /// Reports and returns `None` if nothing can be mounted.
    pub(super) fn over(fixture: &Fixture, options: &str) -> Option<Self> {
        let directory = fixture.path("full");
        std::fs::create_dir(&directory).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&directory);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        skipped("no file system can be mounted");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_with_452_and_keeps_the_old_file_cm_86_cm_106_hf_01_hf_02() {
    for sync in [SyncPolicy::None, SyncPolicy::FileAndDirectory] {
        let fixture = Fixture::keeping(LocalConfig::new().sync(sync));
        let Some(mount) = Mount::over(&fixture, "size=1m,nr_inodes=16") else { return };
        let (old, more) = (vec![b'o'; 400_000], vec![b'n'; 900_000]);
        std::fs::write(mount.0.join("old"), &old).expect("a file");
        let left = free(&mount);
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        session.expect("CWD full", 250);
        for (rest, command) in [
            (None, "STOR new"),
            (None, "APPE old"),
            (Some(399_000), "STOR old"),
            (Some(400_000), "STOR old"),
            // Nobody may resume it after this.
            (None, "STOR old"),
            (None, "STOU"),
        ] {
            let data = session.passive();
            if let Some(offset) = rest {
                session.expect(format!("REST {offset}"), 350);
            }
            session.expect(command, 150);
            let mut stream = data.stream();
            // The server closes the connection when nothing more fits.
            let _ = std::io::Write::write_all(&mut stream, &more);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            session.expect_reply(452);
            assert!(std::fs::read(mount.0.join("old")).expect("it") == old, "{command}");
            assert_eq!(published_in(&mount.0), ["old"], "{command}");
            // The next command must not meet the record of this one, which takes a block.
            session.ask("DELE new");
            remove_records(&mount);
            // A program that another test starts has copies of all descriptors until its exec.
            wait_until("the room is free again", || free(&mount) == left);
        }
        // Files that fit are still stored.
        session.upload("STOR small", b"fits");
        // Names take space too.
        let refused = (0..32).map(|number| session.ask(format!("MKD {number}")).code);
        assert_eq!(refused.filter(|code| *code != 257).max(), Some(452));
        session.expect("PASV", 227);
        session.expect("STOR another", 452);
        session.expect_in_step();
    }
}

fn remove_records(mount: &Mount) {
    for name in super::names_in(&mount.0).into_iter().filter(|it| it.starts_with(super::RECORD)) {
        std::fs::remove_file(mount.0.join(name)).expect("a file");
    }
}

/// Returns the free bytes of a file system for any user.
pub(super) fn free(mount: &Mount) -> u64 {
    let found = rustix::fs::statvfs(&mount.0).expect("a file system");
    found.f_bavail * found.f_frsize
}

#[test]
fn running_uploads_leave_the_min_free_reserve_untouched_cm_54_cm_105_cm_106() {
    const KEEP: u64 = 1 << 20;
    let fixture = Fixture::configured(super::quick_with(|config| config.limits.min_free = KEEP));
    let Some(mount) = Mount::over(&fixture, "size=4m") else { return };
    let old = vec![b'o'; 1_000_000];
    std::fs::write(mount.0.join("old"), &old).expect("a file");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.expect("CWD full", 250);
    let left = free(&mount) - KEEP;
    session.expect(format!("ALLO {left}"), 200);
    session.expect(format!("ALLO {}", left + 1), 452);
    for (rest, command) in [
        (None, "STOR new"),
        (None, "APPE old"),
        (Some(999_000), "STOR old"),
        (Some(1_000_000), "STOR old"),
        // Nobody may resume it after this.
        (None, "STOR old"),
        (None, "STOU"),
    ] {
        let data = session.passive();
        if let Some(offset) = rest {
            session.expect(format!("REST {offset}"), 350);
        }
        session.expect(command, 150);
        let mut stream = data.stream();
        // It would fit on the disk, but not into the usable part.
        let _ = std::io::Write::write_all(&mut stream, &vec![b'n'; 2_500_000]);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        session.expect_reply(452);
        assert!(std::fs::read(mount.0.join("old")).expect("it") == old, "{command}");
        assert_eq!(published_in(&mount.0), ["old"], "{command}");
        // The next command must not meet the record of this one, which takes a block.
        session.ask("DELE new");
        remove_records(&mount);
        wait_until("the room is free again", || free(&mount) == left + KEEP);
    }
    // Another program takes space during an upload: it ends at the next check.
    let mut data = session.passive();
    session.expect("STOR new", 150);
    data.write_all(&[b'n'; 100_000]);
    std::fs::write(mount.0.join("others"), vec![b'x'; 1_900_000]).expect("a file");
    // The usable space when the upload began, of which a part is gone.
    let _ = std::io::Write::write_all(&mut data.stream(), &vec![b'n'; 2_200_000]);
    let _ = data.stream().shutdown(std::net::Shutdown::Write);
    session.expect_reply(452);
    drop(data);
    // The usable space can be filled completely, and no further.
    std::fs::remove_file(mount.0.join("others")).expect("it was there");
    session.ask("DELE new");
    wait_until("the room is free again", || free(&mount) == left + KEEP);
    let fits = usize::try_from(left).expect("a length") - 4_096;
    session.upload("STOR new", &vec![b'n'; fits]);
    wait_until("a block is left", || free(&mount) == KEEP + 4_096);
    session.upload("STOR last", &[b'n'; 4_096]);
    wait_until("no block is left", || free(&mount) == KEEP);
    assert_eq!(session.expect("AVBL", 213).bytes, b"213 0\r\n");
    session.upload("STOR empty", b"");
    std::fs::write(mount.0.join("others"), [b'x'; 4_096]).expect("a file");
    session.expect("PASV", 227);
    session.expect("STOR another", 452);
    session.expect_in_step();
}

#[test]
fn a_read_only_disk_fails_with_550_cm_105_hf_05() {
    let fixture = Fixture::new();
    let Some(mount) = Mount::over(&fixture, "size=1m") else { return };
    std::fs::write(mount.0.join("old"), "old").expect("a file");
    let mut session = fixture.session();
    session.expect("CWD full", 250);
    let mut data = session.passive();
    session.expect("STOR late", 150);
    data.write_all(b"half");
    let mut remount = Command::new("mount");
    let busy = remount.args(["-o", "remount,ro"]).arg(&mount.0).output().expect("mount runs");
    data.close();
    // An open file kept the file system writable.
    let code = session.reply().code;
    assert_eq!(code, if busy.status.success() { 451 } else { 226 });
    // A program that another test starts may have a copy of the open file for a moment.
    wait_until("nobody writes there", || {
        let again = Command::new("mount").args(["-o", "remount,ro"]).arg(&mount.0).output();
        again.expect("mount runs").status.success()
    });
    for command in ["STOR old", "STOR new", "APPE old", "STOU"] {
        session.expect("PASV", 227);
        session.expect(command, 550);
    }
    for command in ["DELE old", "MKD d", "SITE CHMOD 600 old", "MFMT 20000101000000 old"] {
        session.expect(command, 550);
    }
    session.expect("RNFR old", 350);
    session.expect("RNTO new", 550);
    assert_eq!(session.download("RETR old"), b"old");
    assert!(published_in(&mount.0).contains(&"old".to_owned()));
}

#[test]
fn parallel_uploads_do_not_exceed_the_storage_limit_hp_23_cm_106() {
    // Eight times 100,010 bytes do not fit, whichever session is first.
    const LIMIT: u64 = 750_000;
    let storage = MemoryStorage::limited(LIMIT);
    let builder = Server::builder().config(super::quick()).storage(storage.clone());
    let server = builder.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server");
    let address = server.local_addr();
    let used = || {
        LIMIT
            - storage
                .space(&VirtualPath::root(), RoomFor::More(0))
                .expect("it tells")
                .free
                .expect("a number")
    };
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    let mut session = RawSession::login(address, "u", "p");
                    session.expect("TYPE I", 200);
                    let mut codes = Vec::new();
                    for round in 0..6 {
                        let command = match round % 3 {
                            0 => format!("STOR {number}"),
                            1 => format!("APPE {number}"),
                            _ => format!("STOR {number}"),
                        };
                        let data = session.passive();
                        if round % 3 == 2 {
                            session.expect("REST 10", 350);
                        }
                        let reply = session.ask(&command);
                        // The file to resume did not fit before.
                        if reply.code != 150 {
                            codes.push(reply.code);
                            continue;
                        }
                        let mut stream = data.stream();
                        let _ = std::io::Write::write_all(&mut stream, &[b'x'; 100_000]);
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                        codes.push(session.reply().code);
                        session.ask(format!("RNFR {number}"));
                        session.ask(format!("RNTO moved {number} {round}"));
                        session.ask(format!("RNFR moved {number} {round}"));
                        session.ask(format!("RNTO {number}"));
                    }
                    codes
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    assert!(codes.iter().all(|code| [226, 450, 452, 554].contains(code)), "{codes:?}");
    assert!(codes.contains(&226) && codes.contains(&452), "{codes:?}");
    let root = VirtualPath::root();
    let files =
        storage.list(&root, Ask::Facts).expect("it lists").map(|entry| entry.expect("an entry"));
    let sum: u64 = files.map(|entry| entry.metadata.size).sum();
    // The count includes exactly the existing files.
    assert!(sum <= used() && used() <= LIMIT && used() - sum < 8 * 300, "{sum} {}", used());
}
