//! Every kind of bytes that can exist before a resumed download, against every kind of server: after
//! success, the local file is the server's, except in the cells that the documentation names.

#![expect(clippy::indexing_slicing, reason = "the lengths are those of this file")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ftp_client::file::{Checksum, HashAlgorithm};
use ftp_client::{Client, Done, Error, FileOptions, Get, Place, Resume};
use ftp_tests::at_once::at_once;

use crate::peer::timeouts;

/// The size of the file, and the number of bytes that an interrupted download leaves: more than are
/// compared again.
const SIZE: usize = 150_000;
const KEPT: usize = 100_000;

/// What exists before the download.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Existing {
    Nothing,
    OurPart,
    OurPartOfAnotherUrl,
    ForeignPart,
    LocalShorter,
    LocalEqual,
    LocalLonger,
    /// Fetched by an earlier run, and unchanged since.
    OurWhole,
    /// Fetched by an earlier run, and then changed.
    EditedNewer,
    EditedOlder,
}

const EXISTING: [Existing; 10] = [
    Existing::Nothing,
    Existing::OurPart,
    Existing::OurPartOfAnotherUrl,
    Existing::ForeignPart,
    Existing::LocalShorter,
    Existing::LocalEqual,
    Existing::LocalLonger,
    Existing::OurWhole,
    Existing::EditedNewer,
    Existing::EditedOlder,
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Restart {
    Works,
    Refused,
    Ignored,
}

/// The server's file, compared with the one that the existing bytes came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Truth {
    Same,
    Another,
    /// Of equal size and time, with the same bytes before the resume point and at the end.
    AnotherOfEqualFacts,
}

/// The server, whose behaviour changes between two runs.
pub(crate) struct Behaviour {
    pub(crate) content: Vec<u8>,
    time: &'static str,
    pub(crate) has_digest: bool,
    has_time: bool,
    pub(crate) has_size: bool,
    pub(crate) restart: Restart,
    /// Whether a part goes on after its end.
    pub(crate) goes_on: bool,
    /// The number of bytes after which each transfer is cut.
    pub(crate) cut: Option<usize>,
    /// The number of sessions that are accepted at once.
    pub(crate) most: usize,
    sessions: usize,
    /// The number of transfers that began.
    pub(crate) transfers: usize,
}

pub(crate) struct Site {
    address: SocketAddr,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
}

impl Site {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let behaviour = Arc::new(Mutex::new(Behaviour {
            content: Vec::new(),
            time: "213 20200101000000",
            has_digest: false,
            has_time: true,
            has_size: true,
            restart: Restart::Works,
            goes_on: false,
            cut: None,
            most: usize::MAX,
            sessions: 0,
            transfers: 0,
        }));
        let shared = Arc::clone(&behaviour);
        // Ends with the process.
        std::thread::spawn(move || {
            for mut control in listener.incoming().flatten() {
                let mut now = shared.lock().unwrap();
                if now.sessions == now.most {
                    let _ = control.write_all(b"421 too many\r\n");
                    continue;
                }
                now.sessions += 1;
                drop(now);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    drop(serve(&control, &shared));
                    shared.lock().unwrap().sessions -= 1;
                });
            }
        });
        Self { address, behaviour }
    }

    pub(crate) fn connect(&self) -> Result<Client, Error> {
        let builder = Client::builder().timeouts(timeouts());
        let mut client = builder.connect(&self.address.to_string())?;
        client.login("u", "p").map(|()| client)
    }

    pub(crate) fn get(&self, path: &str, target: &Path, resume: Resume) -> Result<Done, Error> {
        let mut client = self.connect()?;
        let options = FileOptions::new().resume(resume);
        let options = match resume {
            Resume::Trusted => options.verify(ftp_client::file::Verify::None),
            _ => options,
        };
        let done = Get::to_path(Place::at(path), target, &options).attempt(&mut client, &());
        let _ = client.quit();
        done
    }
}

fn serve(mut control: &TcpStream, shared: &Mutex<Behaviour>) -> std::io::Result<()> {
    control.set_nodelay(true)?;
    let mut lines = BufReader::new(control.try_clone()?);
    let mut reply = |text: &str| control.write_all(format!("{text}\r\n").as_bytes());
    let (mut passive, mut from, mut part) = (None, 0, None);
    reply("220 ready")?;
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // ABOR comes after Telnet commands.
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end().trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let mut now = shared.lock().unwrap();
        match verb {
            "USER" => reply("331 password")?,
            "PASS" | "TYPE" | "OPTS" => reply("200 ok")?,
            "FEAT" if now.has_digest => {
                reply(
                    "211-x\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n RANG STREAM\r\n HASH SHA-256*\r\n211 end",
                )?;
            }
            "FEAT" => reply("211-x\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 end")?,
            "SIZE" if now.has_size => reply(&format!("213 {}", now.content.len()))?,
            "MDTM" if now.has_time => reply(now.time)?,
            "EPSV" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let port = listener.local_addr()?.port();
                passive = Some(listener);
                reply(&format!("229 ok (|||{port}|)"))?;
            }
            "REST" if now.restart == Restart::Refused && argument != "0" => reply("502 no")?,
            "REST" => {
                from = argument.parse().unwrap_or_default();
                reply("350 go on")?;
            }
            "RANG" => {
                let ends: Vec<usize> = argument.split(' ').flat_map(str::parse).collect();
                part = Some(ends).filter(|ends| ends.len() == 2 && ends[0] <= ends[1]);
                reply("350 go on")?;
            }
            "HASH" if now.has_digest => {
                let all = now.content.len();
                let end = part.take().map_or(all, |ends| (ends[1] + 1).min(all));
                let mut sum = Checksum::new(HashAlgorithm::Sha256).unwrap();
                sum.update(&now.content[..end]);
                let sum = sum.finish();
                reply(&format!("213 SHA-256 0-{} {sum} {argument}", end - 1))?;
            }
            "RETR" => {
                let start = if now.restart == Restart::Ignored { 0 } else { from };
                let all = now.content.len();
                let start = std::mem::take(&mut from).min(start).min(all);
                let (start, all) = match part.take() {
                    Some(ends) if now.goes_on => (ends[0].min(all), all),
                    Some(ends) => (ends[0].min(all), (ends[1] + 1).min(all)),
                    None => (start, all),
                };
                let end = now.cut.map_or(all, |cut| all.min(start + cut));
                let bytes = now.content[start..end].to_vec();
                now.transfers += 1;
                // Other sessions go on meanwhile.
                drop(now);
                reply("150 ok")?;
                let listener = passive.take().expect("EPSV came before");
                let (mut data, _) = listener.accept()?;
                // The client may end the transfer.
                let sent = data.write_all(&bytes);
                drop(data);
                reply(if end < all || sent.is_err() { "426 cut" } else { "226 done" })?;
            }
            "ABOR" => reply("226 ok")?,
            "QUIT" => return reply("221 bye"),
            _ => reply("502 what?")?,
        }
    }
}

/// Bytes without repetitions.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push(state.to_le_bytes()[3]);
    }
    bytes
}

/// Prepares what exists at `target`, by real downloads where this program wrote it.
fn prepare(site: &Site, existing: Existing, target: &Path, old: &[u8]) {
    let part = target.with_extension("part");
    let cut = |after: Option<usize>| site.behaviour.lock().unwrap().cut = after;
    match existing {
        Existing::Nothing => {}
        Existing::OurPart | Existing::OurPartOfAnotherUrl => {
            cut(Some(KEPT));
            let path = if existing == Existing::OurPart { "a" } else { "b" };
            site.get(path, target, Resume::Proven).unwrap_err();
            assert_eq!(fs::read(&part).unwrap(), &old[..KEPT]);
            cut(None);
        }
        Existing::ForeignPart => fs::write(&part, &old[..KEPT]).unwrap(),
        Existing::LocalShorter => fs::write(target, &old[..KEPT]).unwrap(),
        Existing::LocalEqual => fs::write(target, old).unwrap(),
        Existing::LocalLonger => fs::write(target, [old, &b"more"[..]].concat()).unwrap(),
        Existing::OurWhole | Existing::EditedNewer | Existing::EditedOlder => {
            site.get("a", target, Resume::Proven).unwrap();
            assert_eq!(fs::read(target).unwrap(), old);
            if existing == Existing::OurWhole {
                return;
            }
            let before = fs::metadata(target).unwrap().modified().unwrap();
            let mut edited = old.to_vec();
            edited[5] ^= 1;
            // In place, so that the attribute stays.
            let file = fs::File::options().write(true).open(target).unwrap();
            (&file).write_all(&edited).unwrap();
            let day = Duration::from_secs(86_400);
            let time = match existing {
                Existing::EditedNewer => SystemTime::now() + day,
                _ => before - day,
            };
            file.set_modified(time).unwrap();
        }
    }
}

/// Returns whether the documentation names the cell as one in which the content may differ.
fn is_documented(
    existing: Existing,
    resume: Resume,
    (has_digest, has_time): (bool, bool),
    restart: Restart,
    truth: Truth,
) -> bool {
    if resume == Resume::Trusted {
        // `--verify none` takes existing bytes as they are, unless the size, the time or the last
        // 64 KiB refute them.
        return existing != Existing::Nothing;
    }
    // A server without digests whose file was exchanged for another of equal size and time, and
    // with equal bytes there.
    let has_record = matches!(existing, Existing::OurPart | Existing::OurWhole);
    let is_resumed = existing == Existing::OurWhole || restart == Restart::Works;
    has_record && is_resumed && has_time && !has_digest && truth == Truth::AnotherOfEqualFacts
}

#[test]
fn after_success_the_content_is_the_servers_except_in_the_documented_cells_as_09() {
    let (old, other) = (noise(1, SIZE), noise(2, SIZE - 1_000));
    let mut equal = old.clone();
    equal[7] ^= 1;
    let pairs = [Resume::Proven, Resume::Trusted].into_iter();
    let pairs = pairs.flat_map(|resume| EXISTING.map(|existing| (resume, existing)));
    let done = at_once(20, pairs, |(resume, existing)| {
        let site = Site::start();
        let (mut cases, mut resumed, mut excused) = (0, 0, Vec::new());
        for (has_digest, has_time) in [(false, false), (false, true), (true, false), (true, true)] {
            for restart in [Restart::Works, Restart::Refused, Restart::Ignored] {
                for truth in [Truth::Same, Truth::Another, Truth::AnotherOfEqualFacts] {
                    cases += 1;
                    let root = tempfile::tempdir().unwrap();
                    let target = root.path().join("a");
                    let set = |restart, content: &[u8], time, has_digest| {
                        let mut now = site.behaviour.lock().unwrap();
                        now.content = content.to_vec();
                        (now.time, now.has_time, now.cut) = (time, has_time, None);
                        (now.has_digest, now.restart) = (has_digest, restart);
                    };
                    set(Restart::Works, &old, "213 20200101000000", false);
                    prepare(&site, existing, &target, &old);
                    let (content, time) = match truth {
                        Truth::Same => (&old, "213 20200101000000"),
                        Truth::Another => (&other, "213 20210101000000"),
                        Truth::AnotherOfEqualFacts => (&equal, "213 20200101000000"),
                    };
                    set(restart, content, time, has_digest);
                    let cell = (existing, resume, has_digest, has_time, restart, truth);
                    let done = site.get("a", &target, resume);
                    let done = done.unwrap_or_else(|error| panic!("{cell:?}: {error}"));
                    resumed += u32::from(done.resumed > 0);
                    if existing == Existing::ForeignPart {
                        let part = fs::read(target.with_extension("part")).unwrap();
                        assert_eq!(part, &old[..KEPT], "{cell:?}: a foreign file was used");
                    }
                    if fs::read(&target).unwrap() == *content {
                        continue;
                    }
                    let facts = (has_digest, has_time);
                    let is_documented = is_documented(existing, resume, facts, restart, truth);
                    assert!(is_documented, "{cell:?}: {done:?}");
                    excused.push(cell);
                }
            }
        }
        (cases, resumed, excused)
    });
    let cases: u32 = done.iter().map(|(cases, ..)| cases).sum();
    let resumed: u32 = done.iter().map(|(_, resumed, _)| resumed).sum();
    let excused: Vec<_> = done.into_iter().flat_map(|(.., excused)| excused).collect();
    assert_eq!(cases, 2 * 10 * 4 * 3 * 3);
    let proven = excused.iter().filter(|cell| cell.1 == Resume::Proven).count();
    assert_eq!(proven, 4, "{excused:?}");
    println!("{cases} cases, {resumed} resumed, {} in the documented exceptions", excused.len());
}
