//! Uploads over a file whose object store goes away at each of their requests: the network is cut,
//! or the store is killed and started again. curl and lftp resume. A success is the whole new file,
//! and any other end leaves the old or the new one, never a mixture of both.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftp_server::{Rights, S3Store, S3Timeouts, Server};
use ftp_tests::at_once::at_once;
use ftp_tests::between::{Fate, between};
use ftp_tests::content::binary;
use ftp_tests::peer::{ObjectStore, Peer};
use ftp_tests::process::{LIMIT, Ran, run_with};
use ftp_tests::raw::RawSession;
use ftp_tests::root::TempRoot;
use ftp_tests::scale;
use ftp_tests::wait::{at_last, wait_until};

use super::interop_curl::curl;

const OLD: usize = 300_000;

/// How often lftp tries if its store comes back meanwhile.
const TRIES: u32 = 6;

/// The lengths of new files: of one request, and of several parts.
const LENGTHS: [usize; 2] = [700_000, (11 << 20) + 9];

/// A client with its own way to resume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    /// `SIZE`, `APPE`
    Curl,
    /// `SIZE`, `REST`, `STOR`
    Lftp,
}

/// The way in which a store goes away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Loss {
    /// This number of requests do not arrive.
    Requests(u64),
    /// The store has got the first one of them, and its answer is lost.
    Answer(u64),
    /// The store is killed, and started again before the client resumes.
    Restart,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    who: Who,
    length: usize,
    /// The number of requests before the loss.
    step: u64,
    loss: Loss,
}

/// The requests between a server and its store.
#[derive(Default)]
struct Network {
    passed: AtomicU64,
    /// When requests are lost: the number of those that pass first, and how they are lost.
    cut: Mutex<Option<(u64, Loss)>>,
}

impl Network {
    fn begin(&self, cut: Option<(u64, Loss)>) {
        self.passed.store(0, Ordering::SeqCst);
        *self.cut.lock().unwrap() = cut;
    }

    /// Decides over a request. `kill` ends the store.
    fn decide(&self, kill: &dyn Fn()) -> Fate {
        let count = self.passed.fetch_add(1, Ordering::SeqCst);
        let cut = *self.cut.lock().unwrap();
        let Some((lost, loss)) =
            cut.and_then(|(step, loss)| Some((count.checked_sub(step)?, loss)))
        else {
            return Fate::Pass(None);
        };
        match loss {
            Loss::Answer(_) if lost == 0 => Fate::AnswerLost,
            Loss::Requests(all) | Loss::Answer(all) if lost < all => Fate::Lost,
            Loss::Requests(_) | Loss::Answer(_) => Fate::Pass(None),
            Loss::Restart => {
                kill();
                Fate::Lost
            }
        }
    }
}

/// A server, the network before its store, and the files of a client.
struct Scene {
    network: Arc<Network>,
    server: Server,
    local: TempRoot,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Scene {
    fn start(store: &Arc<Mutex<ObjectStore>>, name: &str, length: usize) -> Self {
        let network = Arc::new(Network::default());
        // The program before the store outlives the test, and the store must not.
        let (all, own) = (Arc::clone(&network), Arc::downgrade(store));
        let kill = move || own.upgrade().into_iter().for_each(|it| it.lock().unwrap().kill());
        let at = store.lock().unwrap();
        let address = between(at.address(), move |_| all.decide(&kill));
        let timeouts = S3Timeouts::new().late(Duration::from_secs(1));
        let built = S3Store::builder(format!("http://{address}"), "bucket")
            .credentials(at.access_key, at.secret_key)
            .timeouts(timeouts)
            .part_size(5 << 20)
            .lease(Duration::from_secs(2));
        drop(at);
        let built = built.build().expect("a store");
        wait_until("the store takes objects", || built.probe().is_ok());
        let storage = built.storage(name).expect("a storage");
        let builder = Server::builder().storage(storage).user("u", "p", Rights::FULL);
        let server = builder.bind("127.0.0.1:0").expect("a server");
        let (old, new) = (binary(OLD, 1), binary(length, 2));
        let local = TempRoot::new();
        local.write("new", &new);
        session(server.local_addr()).upload("STOR f", &old);
        Self { network, server, local, old, new }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stores the new file, or resumes that. lftp tries at most `tries` times; curl tries again if it resumes.
    fn put(&self, who: Who, resumes: bool, tries: u32) -> Ran {
        let mut command = match who {
            Who::Curl => self.curl(resumes),
            Who::Lftp => self.lftp(resumes, tries),
        };
        run_with(&mut command, &[], 5 * LIMIT)
    }

    fn curl(&self, resumes: bool) -> Command {
        let mut command = curl(&Peer::find("curl").expect("it was found before"));
        if resumes {
            command.args(["-C", "-", "--retry", "4", "--retry-delay", "1", "--retry-all-errors"]);
        }
        command
            .arg("-T")
            .arg(self.local.join("new"))
            .arg(format!("ftp://u:p@{}/f", self.address()));
        command
    }

    fn lftp(&self, resumes: bool, tries: u32) -> Command {
        let (address, flag) = (self.address(), if resumes { "-c " } else { "" });
        let script = format!(
            "debug 9\nset cmd:fail-exit yes; set net:max-retries {tries}; set net:timeout 15\n\
             set net:reconnect-interval-base 1; set net:reconnect-interval-max 1\n\
             open -u u,p ftp://{address}\nput {flag}new -o f\n"
        );
        let script = self.local.write("script", script.as_bytes());
        // lftp 4.9.2 hangs after the 226 of an upload that it began again by itself.
        let mut command = Peer::find("timeout").expect("it is one of the coreutils").command();
        command.env("HOME", self.local.path()).current_dir(self.local.path());
        command.args(["-k", "1", "60", "lftp", "-f"]).arg(script);
        command
    }

    /// Says what is wrong with the file after this end of a client.
    fn check(&self, ran: &Ran) -> Result<(), String> {
        let is_success = ran.code() == Some(0);
        let found = at_last("the file is read", || {
            let mut session = session(self.address());
            let data = session.passive();
            if session.ask("RETR f").code != 150 {
                return None;
            }
            let found = data.read_to_end();
            (session.reply().code == 226).then_some(found)
        });
        let what = match &found {
            found if *found == self.new => return Ok(()),
            found if *found == self.old && !is_success => return Ok(()),
            found if *found == self.old => "the old file",
            _ => "a mixture",
        };
        Err(format!("{what} of {} bytes after {ran:?}", found.len()))
    }
}

fn session(address: SocketAddr) -> RawSession {
    let mut session = RawSession::login(address, "u", "p");
    session.expect("TYPE I", 200);
    session
}

/// Returns the number of requests of an upload.
fn steps(store: &Arc<Mutex<ObjectStore>>, who: Who, length: usize) -> u64 {
    let scene = Scene::start(store, &format!("steps-{who:?}-{length}"), length);
    scene.network.begin(None);
    let ran = scene.put(who, false, TRIES);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    scene.check(&ran).unwrap();
    scene.network.passed.load(Ordering::SeqCst)
}

/// Plays a case, and returns what went wrong.
fn play(store: &Arc<Mutex<ObjectStore>>, case: Case) -> Option<String> {
    let Case { who, length, step, loss } = case;
    let name = format!("{who:?}-{length}-{step}-{loss:?}");
    let scene = Scene::start(store, &name, length);
    scene.network.begin(Some((step, loss)));
    // Without its store, a server fails each of them.
    let first = scene.put(who, false, if loss == Loss::Restart { 2 } else { TRIES });
    if loss == Loss::Restart {
        scene.network.begin(None);
        store.lock().unwrap().start_again();
    }
    // If the server has begun no upload, the old file is the only one that a client could resume.
    let has_begun = first.stderr.windows(11).any(|it| it == b"150 Opening");
    let last = match first.code() {
        Some(0) => first,
        _ => scene.put(who, has_begun, TRIES),
    };
    scene.network.begin(None);
    let broken = scene.check(&last).err()?;
    Some(format!("{name}: {broken}"))
}

/// Returns the clients and lengths, in a plain run two of them, with the number of their requests at
/// this store.
fn all_steps(store: &Arc<Mutex<ObjectStore>>) -> Vec<(Who, usize, u64)> {
    let installed = [(Who::Curl, "curl"), (Who::Lftp, "lftp")];
    let installed = installed.into_iter().filter(|(_, program)| Peer::find(program).is_some());
    let files = installed.flat_map(|(who, _)| LENGTHS.map(|length| (who, length)));
    at_once(4, scale::some(files.collect(), 2), |(who, length)| {
        (who, length, steps(store, who, length))
    })
}

/// Returns cases with each of these losses after each number of requests; in a plain run, about
/// `plain` of them.
fn cases(steps: &[(Who, usize, u64)], losses: &[Loss], plain: usize) -> Vec<Case> {
    let cases = steps.iter().flat_map(|&(who, length, count)| {
        let each = (0..count).flat_map(|step| losses.iter().map(move |loss| (step, *loss)));
        each.map(move |(step, loss)| Case { who, length, step, loss })
    });
    let cases: Vec<_> = cases.collect();
    // Odd, so that each of four losses has its turn.
    let stride = cases.len().div_ceil(scale::count(plain, cases.len()).max(1)) | 1;
    cases.into_iter().step_by(stride).collect()
}

/// Plays cases, a few at a time, and reports those that fail.
#[track_caller]
#[expect(clippy::print_stdout, reason = "it shows how many cases there are")]
fn check(store: ObjectStore, losses: &[Loss], plain: usize, at_a_time: usize) {
    let (name, store) = (store.name, Arc::new(Mutex::new(store)));
    let cases = cases(&all_steps(&store), losses, plain);
    println!("{name}: {} cases", cases.len());
    let broken = at_once(at_a_time, cases, |case| play(&store, case));
    let broken: Vec<_> = broken.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{name}: {}", broken.join("\n"));
}

#[test]
fn a_network_that_is_cut_at_each_request_of_a_replacement_mixes_no_files_fs_13_fs_15() {
    // One request, which is sent again, and as many as make the command and the next one fail.
    const LOSSES: [Loss; 4] =
        [Loss::Requests(1), Loss::Requests(12), Loss::Answer(1), Loss::Answer(12)];
    let starts = vec![ObjectStore::seaweedfs, ObjectStore::moto];
    for store in scale::some(starts, 1).into_iter().filter_map(|start| start()) {
        check(store, &LOSSES, 4, 4);
    }
}

#[test]
fn a_store_that_is_killed_at_each_request_of_a_replacement_mixes_no_files_fs_13_fs_15() {
    if let Some(store) = ObjectStore::seaweedfs() {
        check(store, &[Loss::Restart], 2, 1);
    }
}
