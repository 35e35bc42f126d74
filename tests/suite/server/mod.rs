//! Tests of the server from outside: raw sockets, and every rule.

mod addresses;
mod appends;
mod attributes;
mod balancer;
mod block;
mod commands;
mod confinement;
mod crowds;
mod data;
mod deflate;
mod devices;
mod digests;
mod directory_rights;
mod disks;
mod embedding;
mod events;
mod extremes;
mod fail2ban;
mod faults;
mod features;
mod fixtures;
mod framing;
mod full;
mod guessing;
mod kept;
mod life;
mod listings;
mod log;
mod login;
mod matrix;
mod mounted;
mod own_rules;
mod partial;
mod paths;
mod publications;
mod quota;
mod rates;
mod rights;
mod searches;
mod session_list;
mod shares;
mod slow_disk;
mod slow_storage;
mod tls;
mod unique;

use std::path::Path;
use std::time::Duration;

use ftp_server::{
    LocalConfig, LoginPolicy, Rights, Server, ServerBuilder, ServerConfig, SyncPolicy, Timeouts,
};
use ftp_tests::raw::RawSession;
use tempfile::TempDir;

/// The prefix of the names of all files of unfinished uploads, and of their records.
const HIDDEN: &str = ".ftp-upload-";
const RECORD: &str = ".ftp-upload-record-";

/// Time that a shutdown gives a session that it has cut, to reply.
const CUT: Duration = Duration::from_secs(2);

/// Time after which a shutdown cuts a transfer that moves no byte.
const DRAIN_STALL: Duration = Duration::from_secs(5);

/// A server with user `u`, password `p` and all rights over its own directory.
struct Fixture {
    root: TempDir,
    server: Server,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn configured(config: ServerConfig) -> Self {
        Self::with(|builder| builder.config(config))
    }

    /// Starts it with other settings for the files of the root.
    fn keeping(local: LocalConfig) -> Self {
        Self::with(|builder| builder.local_config(local))
    }

    fn with(adjust: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let builder = Server::builder()
            .root(root.path())
            .config(quick())
            .local_config(LocalConfig::new().sync(SyncPolicy::None))
            .user("u", "p", Rights::FULL)
            .user("fxp", "p", Rights::FULL | Rights::FXP)
            .user("reader", "p", Rights::READ);
        let server = adjust(builder).bind("127.0.0.1:0").expect("a server on loopback");
        Self { root, server }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("a file in the root");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns all names in the root, including hidden ones.
    fn names(&self) -> Vec<String> {
        names_in(self.root.path())
    }

    /// As [`names`](Self::names), without the files of unfinished uploads.
    fn published(&self) -> Vec<String> {
        published_in(self.root.path())
    }

    /// Returns a session after the greeting.
    fn greeted(&self) -> RawSession {
        RawSession::greeted(self.server.local_addr())
    }

    /// Returns a session that is logged in as `u`.
    fn session(&self) -> RawSession {
        RawSession::login(self.server.local_addr(), "u", "p")
    }
}

/// Plays a dialogue: each line must get its code.
#[track_caller]
fn play(session: &mut RawSession, dialogue: &[(&str, u16)]) {
    for (line, code) in dialogue {
        session.expect(line, *code);
    }
    session.expect_in_step();
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a readable directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// As [`names_in`], without the files of unfinished uploads.
fn published_in(directory: &Path) -> Vec<String> {
    names_in(directory).into_iter().filter(|name| !name.starts_with(HIDDEN)).collect()
}

/// Returns whether a file with this name has the bytes of an unfinished upload.
fn has_bytes(name: &str) -> bool {
    name.starts_with(HIDDEN) && !name.starts_with(RECORD)
}

/// Returns settings without a delay after a wrong password, and with timeouts that no transfer of a
/// busy machine exceeds.
fn quick() -> ServerConfig {
    ServerConfig::new()
        .timeouts(
            Timeouts::new().data_connect(Duration::from_secs(60)).stall(Duration::from_secs(60)),
        )
        .logins(LoginPolicy::new().delay(Duration::ZERO))
}

/// Returns the settings of [`quick`] after a change.
fn quick_with(change: impl FnOnce(&mut ServerConfig)) -> ServerConfig {
    let mut config = quick();
    change(&mut config);
    config
}
