//! The reply matrix: `matrix.txt` holds the reply to every command in every state, and each cell is
//! tested with a server over a socket.
//!
//! Every cell has its own connection, root and user, so that cells are independent. The codes in
//! the table are derived from `docs/dev/conformance.md`, not from a server.

mod scene;
mod table;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ftp_proto::Verb;
use ftp_server::{
    AuthError, Authenticator, LocalConfig, LocalStorage, Login, LoginAttempt, Rights, Server,
    SyncPolicy,
};
use ftp_tests::raw::{DEADLINE, RawSession};
use ftp_tests::root::TempRoot;
use ftp_tests::tls::TlsClient;
use ftp_tests::wait::patiently;

use self::scene::Scene;
use self::table::Table;
pub(super) use self::table::unescape;
use super::DRAIN_STALL;

const TABLE: &str = include_str!("matrix.txt");

/// The number of cells that are tested at once.
const THREADS: usize = 6;

/// The number of sessions with a running transfer when their server shuts down.
const DRAINED: usize = 16;

#[test]
fn every_matrix_cell_gets_its_reply_codes_go_03() {
    let table = Table::parse(TABLE);
    let answers = answers(&table);
    let skipped: Vec<_> = table.cells().filter(|cell| !answers.contains_key(cell)).collect();
    if !skipped.is_empty() {
        let mut states: Vec<_> = skipped.iter().map(|(_, state)| &*table.states[*state]).collect();
        states.dedup();
        assert_eq!(states, ["V6"]);
        eprintln!("skipped: cells of {states:?}: this machine has no IPv6 loopback");
    }
    let mismatches = table.mismatches(answers);
    let count = mismatches.len();
    assert!(count == 0, "{count} of {} cells:\n{}", answers.len(), mismatches.join("\n"));
}

/// The test above would fail for any wrong code in the table, and would name that cell alone: each
/// code is altered and compared with the server's replies.
#[test]
fn every_wrong_code_in_the_matrix_is_detected_go_03() {
    let mut table = Table::parse(TABLE);
    let answers = answers(&table);
    // A wrong cell is reported by the test above, and is skipped here.
    let right: Vec<_> = answers
        .iter()
        .filter(|((row, state), answer)| table.rows[*row].cells[*state] == **answer)
        .map(|(&cell, _)| cell)
        .collect();
    let before = table.mismatches(answers);
    assert_eq!(before.len() + right.len(), answers.len());
    for (row, state) in right {
        let label = table.label(row, state);
        let cell = table.rows[row].cells[state].clone();
        // A cell is compared with its own reply only: those of its row stand for all others.
        let before = table.mismatches_in(row, answers).count();
        for wrong in altered(&cell) {
            table.rows[row].cells[state] = wrong;
            let reported = table.mismatch(row, state, &answers[&(row, state)]);
            assert!(reported.is_some_and(|line| line.starts_with(&label)), "{label}");
        }
        assert_eq!(table.mismatches_in(row, answers).count(), before + 1, "{label}");
        table.rows[row].cells[state] = cell;
    }
}

/// Returns variants of the codes with one of them, or the end, changed.
fn altered(cell: &str) -> Vec<String> {
    let codes: Vec<&str> = cell.trim_end_matches('.').split('+').collect();
    let mut others: Vec<String> = (0..codes.len())
        .map(|at| {
            let mut codes: Vec<String> = codes.iter().map(|&code| code.to_owned()).collect();
            codes[at] = if codes[at] == "200" { "202".to_owned() } else { "200".to_owned() };
            codes.join("+") + if cell.ends_with('.') { "." } else { "" }
        })
        .collect();
    others.push(match cell.strip_suffix('.') {
        Some(open) => open.to_owned(),
        None => format!("{cell}."),
    });
    others
}

#[test]
fn each_code_of_a_cell_is_altered() {
    assert_eq!(altered("150+226"), ["200+226", "150+200", "150+226."]);
    assert_eq!(altered("200."), ["202.", "200"]);
}

#[test]
fn the_matrix_covers_every_verb_go_03() {
    let table = Table::parse(TABLE);
    // ST-01.
    assert!(table.states.len() >= 12, "{:?}", table.states);
    let asked = table.cells().count();
    assert!(asked >= 2_400, "only {asked} cells are asked");
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for row in &table.rows {
        let word: String = row.line.chars().take_while(char::is_ascii_alphanumeric).collect();
        *classes.entry(word).or_default() += 1;
        assert!(!row.ids.is_empty(), "{}: no id", row.line);
    }
    for verb in Verb::KNOWN {
        let count = classes.get(verb.as_str()).copied().unwrap_or_default();
        assert!(count >= 3, "{verb}: {count} classes of arguments");
    }
    for word in ["XCUP", "XCWD", "XMKD", "XPWD", "XRMD"] {
        assert!(classes.contains_key(word), "{word}");
    }
}

/// Lines that change everything that a session remembers, after `PASV`.
const CHANGES: &str = "OPTS MLST size; // OPTS HASH SHA-1 // CLNT x // TYPE I // MODE B // \
                       CWD /full // EPSV ALL // EPSV // RNFR x // REST 2";

/// The effect of a command ends with the login: a later one gets the replies of a new connection.
#[test]
fn rein_and_auth_end_the_effect_of_every_command_cm_17_cm_64_hs_23() {
    let table = Table::parse(TABLE);
    let field = Field::new();
    let servers = field.servers();
    let set = |state| Scene::set(&field, &servers, state).unwrap();
    let column = |state: &str| table.states.iter().position(|other| other == state).unwrap();
    let (after_pasv, logged_in) = (column("PV"), column("L"));
    // A refused line and the end of the connection leave nothing.
    let is_served = |answer: &str| answer.starts_with(['1', '2', '3']) && !answer.ends_with('.');
    let served = table.rows.iter().filter(|row| is_served(&row.cells[after_pasv]));
    let lines: Vec<_> = served.map(|row| &*row.line).chain([CHANGES]).collect();
    assert!(lines.len() > 100, "only {} lines", lines.len());
    for end in ["REIN", "AUTH TLS"] {
        let mut new = set(if end == "REIN" { "OG" } else { "TG" });
        new.log_in();
        let want = new.shown();
        for line in &lines {
            let mut scene = set("OP");
            scene.ask(line);
            scene.begin_again(end);
            assert_eq!(scene.shown(), want, "{line} // {end}");
        }
    }
    for row in &table.rows {
        let mut scene = set("PV");
        assert!(scene.ask(CHANGES).split('+').all(is_served), "{CHANGES}");
        scene.begin_again("REIN");
        assert_eq!(scene.ask(&row.line), row.cells[logged_in], "{CHANGES} // REIN // {}", row.line);
    }
}

/// The server's replies in each cell.
type Answers = BTreeMap<(usize, usize), String>;

/// Tests every cell, once for all tests.
fn answers(table: &Table) -> &'static Answers {
    static ANSWERS: OnceLock<Answers> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        let field = Field::new();
        let start = Instant::now();
        let answers = field.ask_all(table);
        let taken = start.elapsed();
        // A hanging cell exceeds this limit; a busy machine does not.
        assert!(taken < Duration::from_secs(600), "{} cells took {taken:?}", answers.len());
        answers
    })
}

/// The directories of all cells, and servers over them.
struct Field {
    base: TempRoot,
    next: AtomicUsize,
}

impl Field {
    fn new() -> Self {
        // Thousands of small files, also in full runs.
        Self { base: TempRoot::in_memory(), next: AtomicUsize::new(0) }
    }

    fn ask_all(&self, table: &Table) -> Answers {
        let draining = table.states.iter().position(|state| state == "DR").unwrap();
        let (last, cells): (Vec<_>, Vec<_>) =
            table.cells().partition(|(_, state)| *state == draining);
        let next = AtomicUsize::new(0);
        let ask = || {
            // Each thread has its own servers: the parallel work of one is limited (CM-126).
            let servers = self.servers();
            let mut answers = Answers::new();
            while let Some(&(row, state)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(mut scene) = Scene::set(self, &servers, &table.states[state]) else {
                    continue;
                };
                answers.insert((row, state), scene.ask(&table.rows[row].line));
            }
            answers
        };
        let mut answers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            let each = threads.into_iter().map(|thread| thread.join().unwrap());
            each.reduce(|mut all, more| {
                all.extend(more);
                all
            })
        })
        .unwrap();
        for cells in last.chunks(DRAINED) {
            answers.extend(patiently(DRAIN_STALL, |_| self.ask_draining(table, cells)));
        }
        answers
    }

    /// Tests the cells whose server shuts down during transfers. Panics if that took so long that the
    /// shutdown may have cut transfers, which waited for their turn here.
    fn ask_draining(&self, table: &Table, cells: &[(usize, usize)]) -> Answers {
        let servers = self.servers();
        let set = |_: &_| Scene::set(self, &servers, "TR").unwrap();
        let scenes: Vec<_> = cells.iter().map(set).collect();
        let mut idle = RawSession::greeted(servers.ipv4.local_addr());
        let Servers { ipv4, .. } = servers;
        let begun = Instant::now();
        let stopping = std::thread::spawn(move || ipv4.shutdown(DEADLINE));
        // An idle session gets it at once (ST-13).
        idle.expect_reply(421);
        let ask = |((row, state), mut scene): ((usize, usize), Scene)| {
            scene.is_draining = true;
            ((row, state), scene.ask(&table.rows[row].line))
        };
        let answers = cells.iter().copied().zip(scenes).map(ask).collect();
        assert!(begun.elapsed() < DRAIN_STALL, "{:?}: they may have stalled", begun.elapsed());
        assert_eq!(stopping.join().unwrap().stuck, 0);
        answers
    }

    fn servers(&self) -> Servers {
        let start = |address| {
            let base = self.base.path().to_owned();
            // While many sessions wait for their turn, their transfers stall.
            let stall = Duration::from_secs(600);
            let config = super::quick_with(|config| config.timeouts.stall = stall);
            Server::builder().config(config).authenticator(OneEach { base }).bind(address)
        };
        let ipv4 = start("127.0.0.1:0").unwrap();
        let ipv6 = start("[::1]:0").ok();
        Servers {
            ipv4,
            ipv6,
            tls: self.protected(),
            client: TlsClient::trusting_any_certificate().name("127.0.0.1"),
        }
    }

    /// Starts a server with a certificate.
    fn protected(&self) -> Server {
        let pair = ftp_tests::tls::Authority::new().issue(ftp_tests::tls::Kind::Good);
        let builder = Server::builder().config(super::quick()).tls(super::tls::tls_of(&pair));
        let base = self.base.path().to_owned();
        builder.authenticator(OneEach { base }).bind("127.0.0.1:0").unwrap()
    }

    /// Makes a root with all objects of the table, and returns its user.
    fn user(&self, kind: &str) -> (String, PathBuf) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let user = format!("{kind}-{number}");
        let root = self.base.path().join(&user);
        for directory in ["empty", "full/x"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (name, content) in
            [("file", "0123456789"), ("other", "other"), ("one", "1"), ("two", "12")]
        {
            fs::write(root.join(name), content).unwrap();
        }
        File::create(root.join("big")).unwrap().set_len(1024 * 1024 + 1).unwrap();
        drop(UnixListener::bind(root.join("socket")).unwrap());
        symlink("/etc", root.join("out")).unwrap();
        (user, root)
    }
}

struct Servers {
    ipv4: Server,
    ipv6: Option<Server>,
    /// With a certificate.
    tls: Server,
    /// A TLS client. It requests no server name, so any HOST matches.
    client: TlsClient,
}

/// Accepts each user with a directory and the password `p`: each cell has its own user. The name
/// determines the rights.
struct OneEach {
    base: PathBuf,
}

impl Authenticator for OneEach {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        let name = std::str::from_utf8(attempt.user).map_err(|_| AuthError::Refused)?;
        let root = self.base.join(name);
        if attempt.password != b"p" || !root.is_dir() {
            return Err(AuthError::Refused);
        }
        match attempt.account {
            None if name.starts_with("accounted") => return Err(AuthError::NeedAccount),
            None | Some(b"acct") => {}
            Some(_) => return Err(AuthError::Refused),
        }
        let storage = LocalStorage::open(&root).map_err(|_| AuthError::NoHome)?;
        let config = LocalConfig::new().sync(SyncPolicy::None);
        let storage = Arc::new(storage.configured(config).map_err(|_| AuthError::NoHome)?);
        let rights = if name.starts_with("reader") { Rights::READ } else { Rights::FULL };
        Ok(Login::new(storage, rights))
    }
}
