//! Every combination of what is known and what the server has, when an upload is resumed: after
//! success, the server has the bytes of the local file, except in the documented cases.

#![expect(clippy::indexing_slicing, reason = "the lengths are those of this file")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ftp_client::file::{Checksum, HashAlgorithm};
use ftp_client::{Client, Error, FileOptions, Place, Put, Resume};
use ftp_tests::at_once::at_once;
use ftp_tests::content::binary;

use crate::peer::timeouts;

/// The length of the local file.
const LENGTH: usize = 150_000;

/// The number of bytes that an interrupted upload left. The last 64 KiB do not begin at byte 0.
const CUT: usize = 100_000;

/// What the server can do, and the files that it has.
#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    has_digest: bool,
    appends: bool,
    reads: bool,
    /// Whether the next upload is cut after [`CUT`] bytes.
    cuts: bool,
    /// Whether bytes in the middle of the next upload are lost.
    loses: bool,
    /// Whether the server hangs up when it is asked for a digest.
    is_slow: bool,
    /// What the server sends at the next download that it refuses, before it hangs up.
    last_words: Option<&'static str>,
}

/// A server that keeps its state across connections.
struct Store {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Store {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // Ends with the test.
        std::thread::spawn(move || {
            for control in listener.incoming().map_while(Result::ok) {
                let _ = serve(&control, &shared);
            }
        });
        Self { address, state }
    }

    fn client(&self) -> Result<Client, Error> {
        let builder = Client::builder().timeouts(timeouts());
        let mut client = builder.connect(&self.address.to_string())?;
        client.login("u", "p")?;
        Ok(client)
    }

    fn put(&self, local: &Path, path: &str, resume: Resume) -> Result<(), Error> {
        let mut client = self.client()?;
        let options = FileOptions::new().resume(resume);
        let mut put = Put::from_path(local, Place::at(path), &options);
        put.attempt(&mut client, &()).map(drop)
    }
}

fn serve(mut control: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(control);
    let mut passive = None::<TcpListener>;
    let mut offset = 0;
    control.write_all(b"220 ready\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (verb, path) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let mut state = state.lock().unwrap();
        let found = state.files.get(path).cloned();
        let reply = match (verb, found) {
            ("USER", _) => "331 password".to_owned(),
            ("PASS", _) => "230 in".to_owned(),
            ("TYPE", _) => "200 ok".to_owned(),
            ("FEAT", _) if state.has_digest => "211-so\r\n SIZE\r\n XCRC\r\n211 end".to_owned(),
            ("SIZE", Some(bytes)) => format!("213 {}", bytes.len()),
            ("MDTM", Some(_)) => "213 20990101000000".to_owned(),
            ("XCRC", _) if state.is_slow => return Ok(()),
            ("XCRC", Some(bytes)) if state.has_digest => {
                let mut checksum = Checksum::new(HashAlgorithm::Crc32).unwrap();
                checksum.update(&bytes);
                format!("250 {}", checksum.finish())
            }
            ("SIZE" | "MDTM", None) => "550 no such file".to_owned(),
            ("REST", _) => {
                offset = path.parse().unwrap();
                "350 go on".to_owned()
            }
            ("EPSV", _) => {
                let listener = passive.insert(TcpListener::bind("127.0.0.1:0")?);
                format!("229 here (|||{}|)", listener.local_addr()?.port())
            }
            ("RETR", Some(bytes)) if state.reads => {
                control.write_all(b"150 go\r\n")?;
                let mut data = passive.take().unwrap().accept()?.0;
                let _ = data.write_all(bytes.get(std::mem::take(&mut offset)..).unwrap());
                "226 sent".to_owned()
            }
            ("APPE", _) if !state.appends => "554 no restart".to_owned(),
            ("STOR" | "APPE", old) => {
                control.write_all(b"150 go\r\n")?;
                let mut data = passive.take().unwrap().accept()?.0;
                let mut bytes = match verb {
                    "APPE" => old.unwrap_or_default(),
                    _ => Vec::new(),
                };
                data.read_to_end(&mut bytes)?;
                let is_cut = std::mem::take(&mut state.cuts);
                if is_cut {
                    bytes.truncate(CUT);
                }
                if std::mem::take(&mut state.loses) {
                    bytes.drain(1_000..1_100);
                }
                state.files.insert(path.to_owned(), bytes);
                if is_cut { "426 cut" } else { "226 done" }.to_owned()
            }
            ("RETR", _) => {
                offset = 0;
                if let Some(last) = state.last_words.take() {
                    return control.write_all(last.as_bytes());
                }
                "550 no".to_owned()
            }
            ("QUIT", _) => "221 bye".to_owned(),
            _ => "502 what".to_owned(),
        };
        control.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

/// What an earlier run left here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Journal {
    Fits,
    OfAnotherTarget,
    OfAnEditedFile,
    None,
}

/// What the server has now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum There {
    Nothing,
    /// Our first bytes.
    Ours,
    /// As many bytes of another file that ends alike.
    SameEnd,
    /// A shorter file with another end.
    Foreign,
    EqualLength,
    Same,
    Longer,
}

fn content(there: There, ours: &[u8]) -> Option<Vec<u8>> {
    let mut other = binary(LENGTH, 7);
    Some(match there {
        There::Nothing => return None,
        There::Ours => ours[..CUT].to_vec(),
        There::SameEnd => {
            other.truncate(CUT);
            other[1_000..].copy_from_slice(&ours[1_000..CUT]);
            other
        }
        There::Foreign => other[..CUT - 1].to_vec(),
        There::EqualLength => {
            other[1_000..].copy_from_slice(&ours[1_000..]);
            other
        }
        There::Same => ours.to_vec(),
        There::Longer => [ours, b"more"].concat(),
    })
}

#[test]
fn after_success_the_server_has_the_local_file_except_as_documented_as_09() {
    let both = [false, true];
    let all_journals =
        [Journal::Fits, Journal::OfAnotherTarget, Journal::OfAnEditedFile, Journal::None];
    let all_there = [
        There::Nothing,
        There::Ours,
        There::SameEnd,
        There::Foreign,
        There::EqualLength,
        There::Same,
        There::Longer,
    ];
    let pairs = [Resume::Proven, Resume::Trusted].into_iter();
    let pairs = pairs.flat_map(|resume| all_journals.map(|journal| (resume, journal)));
    let done = at_once(8, pairs, |(resume, journal)| {
        let store = Store::start();
        let (mut cases, mut excused, mut refused) = (0, Vec::new(), 0);
        for there in all_there {
            for (has_digest, appends) in both.map(|one| both.map(|other| (one, other))).concat() {
                for reads in both {
                    cases += 1;
                    let case =
                        format!("{resume:?} {journal:?} {there:?} {has_digest} {appends} {reads}");
                    let root = tempfile::tempdir().unwrap();
                    let local = root.path().join("a");
                    let ours = prepare(&store, &local, journal);
                    {
                        let mut state = store.state.lock().unwrap();
                        (state.has_digest, state.appends, state.reads) =
                            (has_digest, appends, reads);
                        state.files.clear();
                        if let Some(bytes) = content(there, &ours) {
                            state.files.insert("b".to_owned(), bytes);
                        }
                    }
                    let done = store.put(&local, "b", resume);
                    let now = store.state.lock().unwrap().files.get("b").cloned();
                    if done.is_err() {
                        refused += 1;
                        // Only a longer file, or a digest that differs at the end.
                        let is_joined = there == There::SameEnd
                            || there == There::Foreign && !reads
                            || there == There::EqualLength && resume == Resume::Trusted;
                        let is_expected = there == There::Longer || has_digest && is_joined;
                        assert!(is_expected, "{case}: {done:?}");
                        continue;
                    }
                    assert!(there != There::Longer, "{case}");
                    if now.as_deref() == Some(&ours) {
                        continue;
                    }
                    let is_shorter = matches!(there, There::SameEnd | There::Foreign);
                    let is_unseen = there == There::SameEnd || !reads;
                    // The documented exception: a shorter file of another program, with the
                    // same end, on a server without digests.
                    let by_journal = resume == Resume::Proven
                        && journal == Journal::Fits
                        && there == There::SameEnd
                        && reads
                        && !has_digest
                        && appends;
                    // `-c --verify none` takes existing bytes as they are.
                    let by_trust = resume == Resume::Trusted
                        && (is_shorter && appends || there == There::EqualLength)
                        && (is_unseen || there == There::EqualLength);
                    assert!(by_journal || by_trust, "{case}: the content is wrong");
                    excused.push(case);
                }
            }
        }
        (cases, excused, refused)
    });
    let cases: u32 = done.iter().map(|(cases, ..)| cases).sum();
    let refused: u32 = done.iter().map(|(.., refused)| refused).sum();
    let excused: Vec<_> = done.into_iter().flat_map(|(_, excused, _)| excused).collect();
    assert_eq!(cases, 2 * 4 * 7 * 2 * 2 * 2);
    println!("{cases} cases, {refused} refused, {} in the documented cases", excused.len());
    let by_journal = excused.iter().filter(|case| case.starts_with("Proven")).count();
    assert_eq!(by_journal, 1, "{excused:?}");
}

/// Makes the local file and what an earlier run left. Returns the content of the file.
fn prepare(store: &Store, local: &Path, journal: Journal) -> Vec<u8> {
    let mut ours = binary(LENGTH, 3);
    fs::write(local, &ours).unwrap();
    if journal == Journal::None {
        return ours;
    }
    {
        let mut state = store.state.lock().unwrap();
        *state = State { cuts: true, ..State::default() };
    }
    let path = if journal == Journal::OfAnotherTarget { "c" } else { "b" };
    store.put(local, path, Resume::Proven).unwrap_err();
    if journal == Journal::OfAnEditedFile {
        let file = fs::File::options().write(true).open(local).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        ours[10] ^= 1;
        (&file).write_all(&ours).unwrap();
        file.set_modified(before).unwrap();
    }
    ours
}

#[test]
fn a_lost_connection_during_the_comparison_ends_only_the_attempt() {
    let store = Store::start();
    let root = tempfile::tempdir().unwrap();
    let local = root.path().join("a");
    // The second one is the answer to another command.
    for (last, is_out_of_step) in [("550 no\r\n421 bye\r\n", false), ("257 \"/\" here\r\n", true)] {
        let ours = prepare(&store, &local, Journal::Fits);
        {
            let mut state = store.state.lock().unwrap();
            (state.appends, state.last_words) = (true, Some(last));
            state.files.insert("b".to_owned(), ours[..CUT].to_vec());
        }
        let lost = store.put(&local, "b", Resume::Proven).unwrap_err();
        assert!(lost.is_out_of_step() == is_out_of_step, "{lost}");
        assert!(is_out_of_step || lost.is_transient(), "{lost}");
        store.put(&local, "b", Resume::Proven).unwrap();
        assert_eq!(store.state.lock().unwrap().files.get("b"), Some(&ours));
    }
}

#[test]
fn what_the_size_has_refuted_is_not_resumed_by_a_later_run_as_09() {
    let store = Store::start();
    let root = tempfile::tempdir().unwrap();
    let local = root.path().join("a");
    let ours = prepare(&store, &local, Journal::None);
    *store.state.lock().unwrap() = State { appends: true, loses: true, ..State::default() };
    let wrong = store.put(&local, "b", Resume::Proven).unwrap_err();
    assert!(matches!(wrong, Error::Incomplete { .. }), "{wrong}");
    store.put(&local, "b", Resume::Proven).unwrap();
    assert_eq!(store.state.lock().unwrap().files.get("b"), Some(&ours));
}

#[test]
fn a_digest_that_costs_the_connection_is_asked_for_once() {
    let store = Store::start();
    let root = tempfile::tempdir().unwrap();
    let local = root.path().join("a");
    let ours = prepare(&store, &local, Journal::None);
    let files = HashMap::from([("b".to_owned(), binary(LENGTH, 4))]);
    *store.state.lock().unwrap() =
        State { files, has_digest: true, is_slow: true, ..State::default() };
    let options = FileOptions::new().resume(Resume::Proven);
    let mut put = Put::from_path(&local, Place::at("b"), &options);
    let lost = put.attempt(&mut store.client().unwrap(), &()).unwrap_err();
    assert!(lost.is_transient(), "{lost}");
    put.attempt(&mut store.client().unwrap(), &()).unwrap();
    assert_eq!(store.state.lock().unwrap().files.get("b"), Some(&ours));
}
