//! Clients of other projects with our server under TLS: explicit and implicit, active and passive,
//! TLS 1.2 and 1.3, each policy of session resumption. The tasks are the same for all and are
//! defined here; each client has a file for its commands, and [`LACKS`] lists what a client cannot
//! do. The results on both sides are compared byte by byte.
//!
//! Without `FTP_SCALE=1`, each kind of connection is tested with one policy, and each policy with
//! one kind; with it, all combinations, and files of 64 MiB.

mod closes;
mod curl;
mod ftplib;
mod lftp;
mod s_client;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ftp_server::{
    Event, EventKind, Observer, PassivePolicy, Server, ServerConfig, SessionReuse, Tls, TlsPolicy,
};
use ftp_tests::at_once::at_once;
use ftp_tests::content::binary;
use ftp_tests::peer::Peer;
use ftp_tests::process::Ran;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind, Version};

/// The number of transfers of a kind in a row on one control connection.
const IN_A_ROW: usize = 10;

/// The length of the existing part of a resumed file, in bytes.
const THERE: usize = 70_000;

/// The final length of a resumed file, in bytes.
const WHOLE: usize = 200_000;

/// The size of the large files, in bytes.
const LARGE: usize = 64 << 20;

const POLICIES: [SessionReuse; 4] =
    [SessionReuse::Off, SessionReuse::Observe, SessionReuse::Prefer, SessionReuse::Require];

/// One kind of connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cell {
    implicit: bool,
    active: bool,
    version: Version,
    reuse: SessionReuse,
}

/// A task for a client in a [`Cell`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Task {
    /// Ten uploads in a row: of no byte, one byte, a full record and more.
    Put,
    /// The same as downloads.
    Get,
    /// Ten long listings in a row.
    List,
    /// A resumed upload and download, and an append if the client can.
    Continue,
    /// 64 MiB in both directions.
    Large,
}

impl Task {
    const ALL: [Self; 5] = [Self::Put, Self::Get, Self::List, Self::Continue, Self::Large];
}

/// One step, with the names of the local and the remote file. Names are plain words.
#[derive(Clone, Debug)]
struct Step {
    verb: Verb,
    local: String,
    remote: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Put,
    Get,
    List,
    Append,
    /// Resumes after the [`THERE`] bytes of the remote file.
    ContinuePut,
    /// Resumes after the [`THERE`] bytes of the local file.
    ContinueGet,
}

/// A client.
struct Client {
    name: &'static str,
    find: fn() -> Option<Peer>,
    can_be_active: bool,
    /// Whether it can use APPE other than to resume.
    appends: bool,
    resumes: Resumes,
    /// Does the steps in the local directory, with one login if possible. Returns its standard
    /// output, or its error message.
    perform: fn(&Meeting, &[Step]) -> Result<Vec<u8>, String>,
}

/// Whether the data connections of a client resume the session of its control connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resumes {
    All,
    Nothing,
    /// With TLS 1.3, not after an upload: it keeps one ticket, which OpenSSL uses once, and the
    /// server sends new ones only with downloads.
    NotBehindUploads,
}

/// A known fault of a client: what it cannot do in which cells, and its message then. A fault that
/// has disappeared fails the test, as does an unlisted one.
struct Lack {
    client: &'static str,
    of: fn(Cell, Task) -> bool,
    says: &'static str,
}

const LACKS: &[Lack] = &[
    // It accepts the connection and continues in plaintext, with any server: see
    // `curl_fails_in_active_mode_under_tls`.
    Lack { client: "curl", of: |cell, _| cell.active, says: "got 522" },
    // See `Resumes::NotBehindUploads`.
    Lack {
        client: "curl",
        of: |cell, task| {
            let uploads = [Task::Put, Task::Continue, Task::Large];
            (cell.version, cell.reuse) == (Version::V1_3, SessionReuse::Require)
                && uploads.contains(&task)
        },
        says: "got 522",
    },
    // It begins a new session for each connection.
    Lack {
        client: "ftplib as it is",
        of: |cell, _| cell.reuse == SessionReuse::Require,
        says: "522 ",
    },
];

/// The number of protected data connections, and of those that resumed a session.
#[derive(Debug, Default)]
struct Reuse {
    protected: AtomicUsize,
    resumed: AtomicUsize,
    /// The number of transfers that did not end well.
    cut: AtomicUsize,
}

impl Observer for Reuse {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = &event.kind
            && let Some(tls) = transfer.tls
        {
            self.protected.fetch_add(1, Ordering::SeqCst);
            self.resumed.fetch_add(usize::from(tls.resumed), Ordering::SeqCst);
            self.cut.fetch_add(usize::from(!transfer.end.is_whole()), Ordering::SeqCst);
        }
    }
}

/// A client, our server, and a directory for the client.
struct Meeting {
    peer: Peer,
    cell: Cell,
    reuse: Arc<Reuse>,
    server: OurServer,
    local: TempRoot,
    /// Scripts, certificates, and the client's own files.
    home: TempRoot,
    ca_file: PathBuf,
}

impl Meeting {
    /// Prepares everything. Reports and returns `None` if the client is not installed.
    #[track_caller]
    fn new(client: &Client, cell: Cell, authority: &Authority) -> Option<Self> {
        let peer = (client.find)()?;
        let (local, home) = (TempRoot::new(), TempRoot::new());
        let files = authority.issue(Kind::Good).write(&home, "server");
        let tls = Tls::from_files(&files.certificate, &files.key).expect("a sound pair");
        let tls =
            tls.session_reuse(cell.reuse).control(TlsPolicy::Required).data(TlsPolicy::Required);
        // Only the tested kind of data connection is enabled.
        let config = ServerConfig::new()
            .active(cell.active)
            .passive(PassivePolicy::new().enabled(!cell.active));
        let reuse = Arc::new(Reuse::default());
        let builder = Server::builder().config(config).tls(tls).observer(Arc::clone(&reuse));
        let server = OurServer::built(builder.implicit_tls((Ipv4Addr::LOCALHOST, 0).into()));
        let ca_file = authority.write(&home, "ca.pem");
        Some(Self { peer, cell, reuse, server, local, home, ca_file })
    }

    /// Returns the URL to which the client connects.
    fn address(&self) -> SocketAddr {
        let implicit = || self.server.server.implicit_addrs().next().expect("one was asked for");
        if self.cell.implicit { implicit() } else { self.server.address }
    }

    /// Returns the client's command line to extend, in the local directory.
    fn command(&self) -> Command {
        let mut command = self.peer.command();
        command.env("HOME", self.home.path()).current_dir(self.local.path());
        command
    }

    /// Runs a task, and compares the results on both sides byte by byte.
    fn does(&self, client: &Client, task: Task) -> Result<(), String> {
        let step = |verb, local: &str, remote: &str| Step {
            verb,
            local: local.to_owned(),
            remote: remote.to_owned(),
        };
        let same = |what: &str, got: &[u8], want: &[u8]| match got == want {
            true => Ok(()),
            false => Err(format!("{what}: {} bytes that are not the {}", got.len(), want.len())),
        };
        let perform = |steps: &[Step]| (client.perform)(self, steps);
        let there = |name: &str| read(&self.server.root.join(name));
        let here = |name: &str| read(&self.local.join(name));
        match task {
            Task::Put => {
                let steps: Vec<_> = (0..IN_A_ROW)
                    .map(|number| {
                        self.local.write(format!("up{number}"), &content(number));
                        step(Verb::Put, &format!("up{number}"), &format!("put{number}"))
                    })
                    .collect();
                perform(&steps)?;
                let put = |number| there(&format!("put{number}")).map(|bytes| (number, bytes));
                for found in (0..IN_A_ROW).map(put) {
                    let (number, bytes) = found?;
                    same(&format!("put{number}"), &bytes, &content(number))?;
                }
            }
            Task::Get => {
                let steps: Vec<_> = (0..IN_A_ROW)
                    .map(|number| {
                        self.server.root.write(format!("get{number}"), &content(number));
                        step(Verb::Get, &format!("down{number}"), &format!("get{number}"))
                    })
                    .collect();
                perform(&steps)?;
                for number in 0..IN_A_ROW {
                    let want = content(number);
                    // curl creates no file for an empty download.
                    let got =
                        if want.is_empty() { Vec::new() } else { here(&format!("down{number}"))? };
                    same(&format!("get{number}"), &got, &want)?;
                }
            }
            Task::List => {
                self.server.root.write("listed", b"");
                let said = perform(&vec![step(Verb::List, "", ""); IN_A_ROW])?;
                let said = String::from_utf8_lossy(&said);
                let count =
                    said.lines().filter(|line| line.trim_end().ends_with(" listed")).count();
                if count != IN_A_ROW {
                    return Err(format!("{count} of {IN_A_ROW} lists in {said}"));
                }
            }
            Task::Continue => {
                let (up, down) = (binary(WHOLE, 1), binary(WHOLE, 2));
                self.local.write("whole", &up);
                self.server.root.write("cut", &up[..THERE]);
                self.server.root.write("whole", &down);
                self.local.write("cut", &down[..THERE]);
                self.local.write("more", &content(8));
                self.server.root.write("appended", &content(9));
                let mut steps = vec![
                    step(Verb::ContinuePut, "whole", "cut"),
                    step(Verb::ContinueGet, "cut", "whole"),
                ];
                steps.extend(client.appends.then(|| step(Verb::Append, "more", "appended")));
                perform(&steps)?;
                same("an upload", &there("cut")?, &up)?;
                same("a download", &here("cut")?, &down)?;
                if client.appends {
                    same("appended", &there("appended")?, &[content(9), content(8)].concat())?;
                }
            }
            Task::Large => {
                let large = binary(LARGE, 3);
                self.local.write("large", &large);
                perform(&[step(Verb::Put, "large", "large"), step(Verb::Get, "again", "large")])?;
                same("put", &there("large")?, &large)?;
                same("got", &here("again")?, &large)?;
            }
        }
        Ok(())
    }
}

/// No byte, one byte, a full record, and more of both.
fn content(number: usize) -> Vec<u8> {
    const SIZES: [usize; IN_A_ROW] = [0, 1, 16_384, 16_385, 100, 70_000, 0, 333_333, 5, 32_768];
    binary(SIZES[number], 10 + number as u64)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the standard output of a program, or its exit status and last message.
fn outcome(ran: Ran) -> Result<Vec<u8>, String> {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    };
    match ran.code() {
        Some(0) => Ok(ran.stdout),
        code => Err(format!("exit {code:?}:\n{}\n{}", last(&ran.stdout), last(&ran.stderr))),
    }
}

/// The cells of a client; without `FTP_SCALE=1` with one policy each.
fn cells(client: &Client) -> Vec<Cell> {
    let (mut cells, mut ways) = (Vec::new(), 0);
    for implicit in [false, true] {
        for active in [false, true].into_iter().filter(|active| client.can_be_active || !active) {
            for version in Version::ALL {
                // Over all kinds of connections, each policy occurs once with each version.
                let turn = ways;
                ways += 1;
                for (number, reuse) in POLICIES.into_iter().enumerate() {
                    if scale::is_full() || number == (3 * turn + turn / 4) % 4 {
                        cells.push(Cell { implicit, active, version, reuse });
                    }
                }
            }
        }
    }
    cells
}

/// Asserts that the client does all tasks in all cells, except for its known faults.
#[track_caller]
fn is_met(client: &Client) {
    let authority = Authority::new();
    let wrong = at_once(4, cells(client), |cell| faults_in_cell(client, cell, &authority)).concat();
    assert!(wrong.is_empty(), "{}:\n{wrong}", client.name);
}

/// Returns the new and the missing faults of the client in a cell.
fn faults_in_cell(client: &Client, cell: Cell, authority: &Authority) -> String {
    let mut wrong = String::new();
    let Some(meeting) = Meeting::new(client, cell, authority) else { return wrong };
    let mut is_lacking = false;
    for &task in Task::ALL.iter().filter(|task| scale::is_full() || **task != Task::Large) {
        let is_of = |lack: &&Lack| lack.client == client.name && (lack.of)(cell, task);
        let lack = LACKS.iter().find(is_of);
        // One test shows that a fault still exists.
        if is_lacking && lack.is_some() {
            continue;
        }
        is_lacking |= lack.is_some();
        let found = meeting.does(client, task);
        let is_known = match (&found, lack) {
            (Ok(()), None) => true,
            (Err(said), Some(lack)) => said.contains(lack.says),
            _ => false,
        };
        if !is_known {
            let known = lack.map(|lack| lack.says);
            let found = found.map_or_else(|said| said, |()| "done".to_owned());
            wrong.push_str(&format!("{cell:?} {task:?}, known: {known:?}: {found}\n"));
        }
    }
    // Clients end before the server's count is complete.
    let Meeting { server, reuse, .. } = meeting;
    drop(server);
    let protected = reuse.protected.load(Ordering::SeqCst);
    let resumed = reuse.resumed.load(Ordering::SeqCst);
    let is_right = match (cell.reuse, client.resumes, cell.version) {
        _ if is_lacking => true,
        (SessionReuse::Off, ..) | (_, Resumes::Nothing, _) => resumed == 0,
        (_, Resumes::NotBehindUploads, Version::V1_3) => 0 < resumed && resumed < protected,
        _ => resumed == protected,
    };
    if !is_right || (protected < 3 * IN_A_ROW && !is_lacking) {
        wrong.push_str(&format!("{cell:?}: {resumed} of {protected} resumed a session\n"));
    }
    wrong
}

#[test]
fn curl_works_with_our_server_under_tls_go_13() {
    is_met(&curl::CURL);
}

#[test]
fn lftp_works_with_our_server_under_tls_go_13() {
    is_met(&lftp::LFTP);
}

#[test]
fn ftplib_works_with_our_server_under_tls_go_13() {
    is_met(&ftplib::FTPLIB);
}

#[test]
fn unmodified_ftplib_works_with_our_server_under_tls() {
    if scale::is_full() {
        is_met(&ftplib::FTPLIB_AS_IT_IS);
    }
}

#[test]
fn s_client_works_with_our_server_under_tls() {
    is_met(&s_client::S_CLIENT);
}
