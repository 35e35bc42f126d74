//! Disks that fail during an upload: separate file systems on loop devices, with a full quota, with
//! a missing end, or that the kernel no longer writes to.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ftp_server::{LocalConfig, LocalStorage, Login, Rights, Server, SyncPolicy, UserTable};
use ftp_tests::peer::{Peer, impossible, skipped};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::wait::{at_last, wait_until};
use rustix::fs::{Advice, fadvise, sync};
use tempfile::NamedTempFile;

use super::partial::moved;
use super::{Fixture, RECORD, names_in, published_in, quick};

/// A file system on a loop device, mounted in a fixture; unmounted on drop.
struct Disk {
    image: NamedTempFile,
    losetup: Peer,
    device: String,
    /// The mount point.
    directory: PathBuf,
}

impl Disk {
    /// Makes a file system of `kind` with this size in MiB. Reports and returns `None` if that is
    /// impossible.
    fn over(fixture: &Fixture, kind: &str, options: &[&str], size: u64) -> Option<Self> {
        let make = Peer::find(&format!("mkfs.{kind}"))?;
        let losetup = Peer::find("losetup")?;
        let image = NamedTempFile::new().expect("a temporary file");
        image.as_file().set_len(size << 20).expect("a length");
        succeeds(make.command().arg("-q").args(options).arg(image.path()));
        let attached = losetup.command().args(["--find", "--show"]).arg(image.path()).output();
        let attached = attached.expect("losetup runs");
        let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
        let directory = fixture.path("disk");
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", kind]).arg(&device).arg(&directory);
        let is_mounted =
            attached.status.success() && mount.output().is_ok_and(|output| output.status.success());
        // The device is released whether or not it is mounted.
        let disk = Self { image, losetup, device, directory };
        if is_mounted {
            return Some(disk);
        }
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        match known.split_whitespace().any(|word| word == kind)
            && Path::new("/dev/loop-control").exists()
        {
            true => skipped(&format!("no {kind} can be mounted")),
            false => impossible(&format!("this kernel has no {kind} on loop devices")),
        }
        None
    }

    /// Removes everything after the first `size` MiB, or restores it, while the disk is in use.
    fn resize(&self, size: u64) {
        self.image.as_file().set_len(size << 20).expect("a length");
        succeeds(self.losetup.command().arg("-c").arg(&self.device));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Without a mount this fails, which does not matter.
        let _ = Command::new("umount").arg("-l").arg(&self.directory).output();
        let _ = self.losetup.command().arg("-d").arg(&self.device).output();
    }
}

/// Returns the names at the top of an ext4 file system that users have created.
fn names(directory: &Path) -> Vec<String> {
    names_in(directory).into_iter().filter(|name| name != "lost+found").collect()
}

/// As [`names`], without the files of unfinished uploads.
fn published(directory: &Path) -> Vec<String> {
    published_in(directory).into_iter().filter(|name| name != "lost+found").collect()
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sends `bytes` to a command that must get 150, and then expects `code`.
#[track_caller]
fn fails(session: &mut RawSession, rest: Option<usize>, command: &str, bytes: &[u8], code: u16) {
    let data = session.passive();
    if let Some(offset) = rest {
        session.expect(format!("REST {offset}"), 350);
    }
    session.expect(command, 150);
    let mut stream = data.stream();
    // The server closes the connection when it cannot store any more.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    session.expect_reply(code);
}

/// Each way to write to `old`, which has this length, or beside it.
fn uploads(old: usize) -> [(Option<usize>, &'static str); 6] {
    [
        (None, "STOR new"),
        (None, "APPE old"),
        (Some(old / 2), "STOR old"),
        (Some(old), "STOR old"),
        // Nobody may resume it after this.
        (None, "STOR old"),
        (None, "STOU"),
    ]
}

#[test]
fn a_file_system_quota_fails_with_552_and_keeps_the_old_file_cm_106_hf_03() {
    for sync in [SyncPolicy::None, SyncPolicy::File] {
        let fixture = Fixture::keeping(LocalConfig::new().sync(sync));
        let Some(btrfs) = Peer::find("btrfs") else { return };
        let Some(disk) = Disk::over(&fixture, "btrfs", &[], 128) else { return };
        let limited = disk.directory.join("limited");
        let tell = |words: &[&str], path: &Path| succeeds(btrfs.command().args(words).arg(path));
        tell(&["quota", "enable"], &disk.directory);
        tell(&["subvolume", "create"], &limited);
        tell(&["qgroup", "limit", "4M"], &limited);
        let old = vec![b'o'; 400_000];
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        session.expect("CWD disk/limited", 250);
        for (rest, command) in uploads(old.len()) {
            // btrfs frees the space of a removed file a moment later.
            let write = || std::fs::write(limited.join("old"), &old).is_ok();
            wait_until("the quota has room for a file", write);
            fails(&mut session, rest, command, &vec![b'n'; 6_000_000], 552);
            let mut found = std::fs::read(limited.join("old")).expect("it");
            if command == "APPE old" || rest == Some(old.len()) {
                // Above its quota btrfs cannot shorten a file: appended bytes may stay.
                found.truncate(old.len());
            }
            assert!(found == old, "{command}");
            assert_eq!(published_in(&limited), ["old"], "{command}");
            let records = names_in(&limited).into_iter().filter(|name| name != "old");
            let lengths = records.map(|it| std::fs::metadata(limited.join(it)).expect("it").len());
            assert!(lengths.into_iter().all(|length| length == 0), "{command}");
            std::fs::remove_file(limited.join("old")).expect("it was there");
            tell(&["filesystem", "sync"], &limited);
        }
        let write = || std::fs::write(limited.join("old"), &old).is_ok();
        wait_until("the quota has room for a file", write);
        session.upload("STOR small", b"fits");
        assert_eq!(session.download("RETR small"), b"fits");
        session.expect_in_step();
    }
}

#[test]
fn a_disk_error_fails_with_451_and_keeps_the_old_file_cm_102_cm_106_hf_04() {
    let fixture = Fixture::keeping(LocalConfig::new().sync(SyncPolicy::File));
    let options = ["-F", "-b", "4096", "-O", "^has_journal"];
    let Some(disk) = Disk::over(&fixture, "ext4", &options, 16) else { return };
    let old = vec![b'o'; 400_000];
    let far = vec![b'f'; 4_000_000];
    std::fs::write(disk.directory.join("old"), &old).expect("a file");
    std::fs::write(disk.directory.join("far"), &far).expect("a file");
    sync();
    // Drops the cache, so that the file is read from the disk.
    let file = File::open(disk.directory.join("far")).expect("it");
    fadvise(&file, 0, None, Advice::DontNeed).expect("advice is taken");
    disk.resize(2);
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    session.expect("CWD disk", 250);
    for (rest, command) in uploads(old.len()) {
        fails(&mut session, rest, command, &vec![b'n'; 3_000_000], 451);
        assert!(std::fs::read(disk.directory.join("old")).expect("it") == old, "{command}");
        assert_eq!(published(&disk.directory), ["far", "old"], "{command}");
        // The next command must not meet the record of this one.
        session.ask("DELE new");
    }
    let data = session.passive();
    session.expect("RETR far", 150);
    let mut got = Vec::new();
    // The data ends, or is reset, before the end of the file.
    let _ = data.stream().read_to_end(&mut got);
    session.expect_reply(451);
    assert!(got.len() < far.len() && far.starts_with(&got), "{} bytes", got.len());
    assert!(session.download("RETR old") == old);
    disk.resize(16);
    session.upload("STOR new", &far);
    assert!(session.download("RETR new") == far);
    session.expect_in_step();
}

#[test]
fn a_disk_that_becomes_read_only_fails_with_451_then_550_cm_105_cm_106_hf_05() {
    for command in ["STOR new", "STOR old", "STOU"] {
        let fixture = Fixture::keeping(LocalConfig::new().sync(SyncPolicy::File));
        let Some(disk) = Disk::over(&fixture, "ext4", &["-F"], 16) else { return };
        std::fs::write(disk.directory.join("old"), "old").expect("a file");
        sync();
        let mut session = fixture.session();
        session.expect("TYPE I", 200);
        session.expect("CWD disk", 250);
        let mut data = session.passive();
        session.expect(command, 150);
        data.write_all(&[b'n'; 500_000]);
        wait_until("the bytes are read", || moved(&mut session) == 500_000);
        // As the kernel does by itself after an error.
        succeeds(Command::new("mount").args(["-o", "remount,abort"]).arg(&disk.directory));
        let _ = data.stream().write_all(&[b'n'; 500_000]);
        let _ = data.stream().shutdown(Shutdown::Write);
        session.expect_reply(451);
        drop(data);
        for refused in ["STOR old", "STOR new", "APPE old", "STOU"] {
            session.expect("PASV", 227);
            // The record of a replacement outlives the disk.
            let is_unfinished = command == "STOR old" && refused == "APPE old";
            session.expect(refused, if is_unfinished { 450 } else { 550 });
        }
        for refused in ["DELE old", "MKD d", "SITE CHMOD 600 old", "MFMT 20000101000000 old"] {
            session.expect(refused, 550);
        }
        assert_eq!(session.download("RETR old"), b"old");
        // The disk does not let the server remove the file of the failed upload.
        let mut names = published(&disk.directory);
        names.retain(|name| !name.ends_with(".part"));
        assert_eq!(names, ["old"], "{command}");
        session.expect_in_step();
    }
}

impl Disk {
    /// Returns this disk as after a power failure now: another one, with everything that the kernel
    /// has written to the device, and nothing that it still holds.
    fn after_power_cut(&self, fixture: &Fixture) -> Self {
        let image = NamedTempFile::new().expect("a temporary file");
        std::fs::copy(self.image.path(), image.path()).expect("a copy");
        let attached = self.losetup.command().args(["--find", "--show"]).arg(image.path()).output();
        let device = attached.expect("losetup runs").stdout;
        let device = String::from_utf8_lossy(&device).trim().to_owned();
        let directory = fixture.path("after");
        std::fs::create_dir_all(&directory).expect("a directory");
        let losetup = self.losetup.clone();
        let disk = Self { image, losetup, device, directory };
        succeeds(Command::new("mount").arg(&disk.device).arg(&disk.directory));
        disk
    }

    /// Returns all paths on it, except those of the file system itself.
    fn paths(&self) -> Vec<String> {
        let (mut paths, mut directories) = (Vec::new(), vec![String::new()]);
        while let Some(directory) = directories.pop() {
            for name in names(&self.directory.join(&directory)) {
                let path = format!("{directory}{name}");
                if self.directory.join(&path).is_dir() {
                    directories.push(format!("{path}/"));
                }
                paths.push(path);
            }
        }
        paths.sort();
        paths
    }
}

#[test]
fn confirmed_changes_survive_a_power_failure_fs_12_hf_07() {
    let fixture = Fixture::new();
    let Some(disk) = Disk::over(&fixture, "ext4", &[], 32) else { return };
    let storage = LocalStorage::open(&disk.directory).expect("a storage");
    let login = Login::new(Arc::new(storage), Rights::FULL).mkdir_parents(true);
    let table = UserTable::new().user("u", "p", login);
    let server = Server::builder().config(quick()).authenticator(table);
    let server = server.bind("127.0.0.1:0").expect("a server");
    let mut session = RawSession::login(server.local_addr(), "u", "p");
    session.expect("TYPE I", 200);
    let content = vec![b'x'; 100_000];
    let abc = ["a", "a/b", "a/b/c"];
    let (f, d, moved) = ("a/b/c/f", "d", "d/moved");
    for (command, want) in [
        ("STOR a/b/c/f", &[f][..]),
        ("STOR a/b/c/f", &[f]),
        ("APPE a/b/c/f", &[f]),
        ("APPE a/b/c/g", &[f, "a/b/c/g"]),
        ("DELE a/b/c/g", &[f]),
        ("MKD d", &[f, d]),
        ("RNFR a/b/c/f", &[f, d]),
        ("RNTO d/moved", &[d, moved]),
        ("MKD d/e", &[d, "d/e", moved]),
        ("RMD d/e", &[d, moved]),
    ] {
        match command.split(' ').next().expect("a verb") {
            "STOR" | "APPE" => session.upload(command, &content),
            "RNFR" => drop(session.expect(command, 350)),
            "MKD" => drop(session.expect(command, 257)),
            _ => drop(session.expect(command, 250)),
        }
        let after = disk.after_power_cut(&fixture);
        let mut want: Vec<&str> = abc.iter().chain(want).copied().collect();
        want.sort_unstable();
        assert_eq!(after.paths(), want, "{command}");
        let file = want.iter().find(|path| [f, moved].contains(path)).expect("it is there");
        let there = std::fs::read(after.directory.join(file)).expect("it");
        let times = if command.starts_with("STOR") { 1 } else { 2 };
        assert!(there == content.repeat(times), "{command}: {}", there.len());
    }
}

#[test]
fn the_record_of_a_running_upload_survives_a_power_failure_fs_13_fs_15() {
    let fixture = Fixture::new();
    let Some(disk) = Disk::over(&fixture, "ext4", &[], 32) else { return };
    let serve = |disk: &Disk| {
        let storage = LocalStorage::open(&disk.directory).expect("a storage");
        assert!(storage.tidy_up());
        let server = Server::builder().config(quick()).storage(storage);
        server.user("u", "p", Rights::FULL).bind("127.0.0.1:0").expect("a server")
    };
    let login = |server: &Server| {
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        session.expect("TYPE I", 200);
        session
    };
    std::fs::write(disk.directory.join("f"), b"old").expect("a file");
    sync();
    let server = serve(&disk);
    let mut session = login(&server);
    let mut data = session.passive();
    session.expect("STOR f", 150);
    data.write_all(b"new content");
    // Nobody waits for the sync of the record, which the server has begun.
    let mut disks = std::iter::repeat_with(|| disk.after_power_cut(&fixture));
    let after = at_last("the record is on the disk", || {
        disks
            .next()
            .filter(|after| names(&after.directory).iter().any(|name| name.starts_with(RECORD)))
    });
    let server = serve(&after);
    let mut session = login(&server);
    session.expect("SIZE f", 554);
    session.expect("PASV", 227);
    session.expect("REST 3", 350);
    session.expect("STOR f", 554);
    session.expect("PASV", 227);
    session.expect("APPE f", 450);
    assert_eq!(session.download("RETR f"), b"old");
    session.upload("STOR f", b"new content");
    assert_eq!(names(&after.directory), ["f"]);
}

#[test]
fn uploads_overwrite_files_on_a_disk_that_refuses_chmod_cm_105_fs_17() {
    let fixture = Fixture::keeping(LocalConfig::new().umask(0));
    // Locks do not reach from one to the other, so the server must not see both.
    let below = TempRoot::new();
    let Some(_mounted) = bound(&fixture, below.path()) else { return };
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for (name, mode) in [("same", 0o644), ("other", 0o600)] {
        let file = below.write(name, b"old");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("its mode");
        for (command, want) in [("STOR", "new"), ("APPE", "newnew")] {
            session.upload(format!("{command} disk/{name}"), b"new");
            assert_eq!(std::fs::read(&file).expect("it"), want.as_bytes(), "{command} {name}");
        }
    }
    session.upload("STOR disk/another", b"new");
    session.expect("MKD disk/d", 257);
    // An explicit request fails visibly.
    session.expect("SITE CHMOD 600 disk/same", 550);
}

#[test]
fn an_upload_that_another_server_takes_for_abandoned_fails_and_replaces_nothing_fs_15() {
    let fixture = Fixture::keeping(LocalConfig::new());
    let below = TempRoot::new();
    let Some(_mounted) = bound(&fixture, below.path()) else { return };
    let file = below.write("file", b"old");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    let mut data = session.passive();
    session.expect("STOR disk/file", 150);
    data.write_all(b"one");
    let sizes = || {
        let entries = std::fs::read_dir(below.path()).expect("a directory");
        let metadata = entries.filter_map(|entry| entry.ok()?.metadata().ok());
        let mut sizes: Vec<u64> = metadata.map(|found| found.len()).collect();
        sizes.sort_unstable();
        sizes
    };
    // The record, the old file, and the new bytes.
    wait_until("bytes", || sizes() == [0, 3, 3]);
    // Below the mount, its locks do not show.
    assert!(LocalStorage::open(below.path()).expect("a storage").tidy_up());
    assert_eq!(sizes(), [0, 3]);
    data.write_all(b"two");
    data.close();
    session.expect_reply(451);
    assert_eq!(std::fs::read(&file).expect("it"), b"old");
    session.upload("STOR disk/file", b"new");
    assert_eq!(std::fs::read(&file).expect("it"), b"new");
}

/// Mounts `below` in the directory `disk` of the fixture, through FUSE and without the right to
/// change modes. Reports and returns `None` if that is impossible.
fn bound(fixture: &Fixture, below: &Path) -> Option<Mounted> {
    let bindfs = Peer::find("bindfs")?;
    let directory = fixture.path("disk");
    std::fs::create_dir(&directory).expect("a directory");
    if !Path::new("/dev/fuse").exists() {
        impossible("this kernel has no FUSE");
        return None;
    }
    let mounted = bindfs.command().arg("--chmod-deny").arg(below).arg(&directory).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        skipped("bindfs cannot mount");
        return None;
    }
    Some(Mounted(directory))
}

/// A mounted directory, unmounted on drop.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
