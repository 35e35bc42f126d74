//! Clients that others wrote against our server under TLS: explicit and implicit, active and passive,
//! TLS 1.2 and 1.3, each policy for the reuse of sessions. What they are asked to do is the same for
//! all and stands here; how each is told stands in its own file, and what one of them cannot do in
//! [`LACKS`]. What is then on either side is compared to the byte.
//!
//! Without `FTP_SCALE=1` each way of connecting is tried with one policy, and each policy with some
//! way; with it all with all, and files of 64 MiB.

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

use ftp_server::{Event, EventKind, Observer, Server, ServerConfig, SessionReuse, Tls, TlsPolicy};
use ftp_tests::at_once::at_once;
use ftp_tests::content::binary;
use ftp_tests::peer::Peer;
use ftp_tests::process::Ran;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::site::OurServer;
use ftp_tests::tls::{Authority, Kind, Version};

/// How many transfers of a kind follow each other on one control connection.
const IN_A_ROW: usize = 10;

/// How much of a file is there before it is continued, in bytes.
const THERE: usize = 70_000;

/// How long a file that is continued is in the end, in bytes.
const WHOLE: usize = 200_000;

/// How large the large files are, in bytes.
const LARGE: usize = 64 << 20;

const POLICIES: [SessionReuse; 4] =
    [SessionReuse::Off, SessionReuse::Observe, SessionReuse::Prefer, SessionReuse::Require];

/// One way to connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cell {
    implicit: bool,
    active: bool,
    version: Version,
    reuse: SessionReuse,
}

/// What is asked of a client in a [`Cell`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Task {
    /// Ten uploads in a row, of no byte, one, a record's edge and more.
    Put,
    /// Ten downloads in a row of the same.
    Get,
    /// Ten long lists in a row.
    List,
    /// An upload and a download go on where they were cut, and a file is added to, if the client can.
    Continue,
    /// 64 MiB up and down.
    Large,
}

impl Task {
    const ALL: [Self; 5] = [Self::Put, Self::Get, Self::List, Self::Continue, Self::Large];
}

/// One thing to do, with the name of the local and of the remote file. Names are plain words.
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
    /// Goes on behind the [`THERE`] bytes that the remote file has.
    ContinuePut,
    /// Goes on behind the [`THERE`] bytes that the local file has.
    ContinueGet,
}

/// A client.
struct Client {
    name: &'static str,
    find: fn() -> Option<Peer>,
    can_be_active: bool,
    /// Whether it has APPE for more than to continue.
    appends: bool,
    resumes: Resumes,
    /// Does the steps in the local directory, logged in once if it can. What it wrote to standard
    /// output, or what it said went wrong.
    perform: fn(&Meeting, &[Step]) -> Result<Vec<u8>, String>,
}

/// Whether the data connections of a client resume the session of its control connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resumes {
    All,
    Nothing,
    /// With TLS 1.3 not behind an upload: it keeps one ticket, which OpenSSL lets it use once, and
    /// the server gives new ones with what is downloaded only.
    NotBehindUploads,
}

/// A known lack of a client: what it cannot do in which cells, and what is said then. One
/// that no longer shows fails its test, as one that is not here does.
struct Lack {
    client: &'static str,
    of: fn(Cell, Task) -> bool,
    says: &'static str,
}

const LACKS: &[Lack] = &[
    // It accepts the connection and goes on in clear, with any server: see
    // `curl_protects_no_connection_that_it_accepts`.
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

/// How many data connections were protected, and how many of them resumed a session.
#[derive(Debug, Default)]
struct Reuse {
    protected: AtomicUsize,
    resumed: AtomicUsize,
    /// Those that did not end well.
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

/// A client, our server, and a directory for the client to work in.
struct Meeting {
    peer: Peer,
    cell: Cell,
    reuse: Arc<Reuse>,
    server: OurServer,
    local: TempRoot,
    /// Scripts, certificates, and what a client keeps about itself.
    home: TempRoot,
    ca_file: PathBuf,
}

impl Meeting {
    /// Ready, or `None`, having said so, if the client is not installed.
    #[track_caller]
    fn new(client: &Client, cell: Cell, authority: &Authority) -> Option<Self> {
        let peer = (client.find)()?;
        let (local, home) = (TempRoot::new(), TempRoot::new());
        let files = authority.issue(Kind::Good).write(&home, "server");
        let tls = Tls::from_files(&files.certificate, &files.key).expect("a sound pair");
        let tls =
            tls.session_reuse(cell.reuse).control(TlsPolicy::Required).data(TlsPolicy::Required);
        // No other direction than the one that is meant.
        let config = ServerConfig::default().with(|config| {
            config.active.enabled = cell.active;
            config.passive.enabled = !cell.active;
        });
        let reuse = Arc::new(Reuse::default());
        let builder = Server::builder().config(config).tls(tls).observer(Arc::clone(&reuse));
        let server = OurServer::built(builder.implicit_tls((Ipv4Addr::LOCALHOST, 0).into()));
        let ca_file = authority.write(&home, "ca.pem");
        Some(Self { peer, cell, reuse, server, local, home, ca_file })
    }

    /// Where the client connects to.
    fn address(&self) -> SocketAddr {
        let implicit = || self.server.server.implicit_addrs().next().expect("one was asked for");
        if self.cell.implicit { implicit() } else { self.server.address }
    }

    /// The client's command line to add to, in the local directory.
    fn command(&self) -> Command {
        let mut command = self.peer.command();
        command.env("HOME", self.home.path()).current_dir(self.local.path());
        command
    }

    /// Whether the client does the task, and what is then on both sides is right to the byte.
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
                    // curl makes no file for no bytes.
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

/// No byte, one, the edge of a record, and more of both.
fn content(number: usize) -> Vec<u8> {
    const SIZES: [usize; IN_A_ROW] = [0, 1, 16_384, 16_385, 100, 70_000, 0, 333_333, 5, 32_768];
    binary(SIZES[number], 10 + number as u64)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a program wrote to standard output, or how it ended and what it said last.
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

/// The cells of a client; without `FTP_SCALE=1` one policy each.
fn cells(client: &Client) -> Vec<Cell> {
    let (mut cells, mut ways) = (Vec::new(), 0);
    for implicit in [false, true] {
        for active in [false, true].into_iter().filter(|active| client.can_be_active || !active) {
            for version in Version::ALL {
                // Over all ways each policy once with each version.
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

/// Insists that the client does in all cells what it can, but for what is known.
#[track_caller]
fn is_met(client: &Client) {
    let authority = Authority::new();
    let wrong = at_once(4, cells(client), |cell| wrong_in(client, cell, &authority)).concat();
    assert!(wrong.is_empty(), "{}:\n{wrong}", client.name);
}

/// What the client does in a cell and should not, or does not do and should.
fn wrong_in(client: &Client, cell: Cell, authority: &Authority) -> String {
    let mut wrong = String::new();
    let Some(meeting) = Meeting::new(client, cell, authority) else { return wrong };
    let mut is_lacking = false;
    for &task in Task::ALL.iter().filter(|task| scale::is_full() || **task != Task::Large) {
        let is_of = |lack: &&Lack| lack.client == client.name && (lack.of)(cell, task);
        let lack = LACKS.iter().find(is_of);
        // Once is enough to see that a lack is still there.
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
    // The server is told when it is over, and clients before.
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
fn curl_meets_us_under_tls_go_13() {
    is_met(&curl::CURL);
}

#[test]
fn lftp_meets_us_under_tls_go_13() {
    is_met(&lftp::LFTP);
}

#[test]
fn ftplib_meets_us_under_tls_go_13() {
    is_met(&ftplib::FTPLIB);
}

#[test]
fn ftplib_as_it_is_meets_us_under_tls() {
    is_met(&ftplib::FTPLIB_AS_IT_IS);
}

#[test]
fn s_client_meets_us_under_tls() {
    is_met(&s_client::S_CLIENT);
}
