//! Runs programs after events: `hooks.stored` after each completed upload, `hooks.program` after
//! the events of `hooks.events`.
//!
//! The queue of events is a directory, the [`Spool`]. The event of an upload is there before the
//! upload gets its name, so an event survives the death of the server at any time.

mod notice;
mod spool;

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::{Event, Observer};

use self::notice::{EventForm, HiddenFile, Hook, Notice, is_published, new_id};
use self::spool::{DeadLetters, unanswered};
pub(super) use self::spool::{Spool, flaw, needs_spool, spool_directory, spool_files};
use super::config::{Config, HookEvent, Settings};
use super::logging::LOG;
use super::programs::pool::{Job, ProgramPool};
use super::{DaemonError, DiskAnswer, answers};
use crate::lock::Lock;
use crate::log::Settle;
use ftp_proto::text::values::{counted, shown_path};

/// Time limit at shutdown for killed programs to end. It is longer than the time limit for a single
/// killed program.
const LAST: Duration = Duration::from_secs(3);

/// Pause until the next check whether there is room for the events that a former server left.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Hooks {
    runners: [HookRunner; EventForm::ALL.len()],
    /// The queue on disk, from the first configured program on.
    spool: OnceLock<Arc<Spool>>,
    /// When to check whether there is room for the events that a former server left.
    next_look: Lock<Option<Instant>>,
    is_looking: AtomicBool,
}

/// The program of one form for the next events, and the threads that run it.
struct HookRunner {
    form: EventForm,
    hook: Lock<Option<Arc<Hook>>>,
    pool: Arc<ProgramPool<Notice>>,
}

impl Hooks {
    pub(super) fn new() -> Self {
        let runners = EventForm::ALL.map(|form| {
            // `hooks.program` gets a user's events in order.
            let pool = Arc::new(ProgramPool::new("hooks", form == EventForm::Json));
            HookRunner { form, hook: Lock::default(), pool }
        });
        let (next_look, is_looking) = Default::default();
        Self { runners, spool: OnceLock::new(), next_look, is_looking }
    }

    /// Opens the spool if these settings need it, and returns it for [`set`](Self::set). Call it as the
    /// user that the server runs as.
    ///
    /// # Errors
    ///
    /// Returns why other users of the computer can change the spool, that its disk does not answer, or
    /// the errors of [`Spool::open`].
    pub(super) fn open(&self, config: &Config) -> Result<Option<Arc<Spool>>, DaemonError> {
        let hooks = &config.settings.hooks;
        if let (Some(_), Some(path)) = (&hooks.program, &hooks.dead_letters) {
            let is_directory = answers(vec![path.clone()], |path| path.is_dir());
            let wrong = match is_directory.into_iter().find_map(DiskAnswer::given) {
                Some(true) => None,
                Some(false) => Some("is not a directory; until it is one"),
                None => Some("does not answer; until it does"),
            };
            if let Some(wrong) = wrong {
                let shown = shown_path(path);
                log::warn!(
                    target: LOG,
                    "hooks.dead_letters: {shown} {wrong}, undelivered events are kept only in the log"
                );
            }
        }
        let open = self.spool.get();
        if EventForm::ALL.iter().all(|form| form.command(hooks).is_none()) {
            return Ok(open.cloned());
        }
        let is_open = open.is_some();
        let opened = answers(vec![config.clone()], move |config| {
            if let Some(why) = flaw(&config.settings) {
                return Err(DaemonError::configuration(why));
            }
            let new = (!is_open).then(|| Spool::open(&config));
            new.transpose()
        });
        match (opened.into_iter().find_map(DiskAnswer::given), open) {
            (Some(new), open) => {
                let new = new?.map(Arc::new);
                new.iter().for_each(decide_in_time);
                Ok(new.or_else(|| open.cloned()))
            }
            (None, Some(open)) => {
                let why = unanswered(&config.settings);
                log::warn!(target: LOG, "{why}; the open spool stays in use");
                Ok(Some(Arc::clone(open)))
            }
            (None, None) => Err(unanswered(&config.settings)),
        }
    }

    /// Returns whether the open spool is not where these settings put it.
    pub(super) fn has_other_spool(&self, settings: &Settings) -> bool {
        self.spool.get().is_some_and(|spool| !spool.is_at(spool_directory(settings).as_deref()))
    }

    /// Applies settings to later events; [`open`](Self::open) has returned their spool.
    pub(super) fn set(&self, settings: &Settings, spool: Option<Arc<Spool>>) {
        let hooks = &settings.hooks;
        let Some(spool) = spool else { return };
        let spool = self.spool.get_or_init(|| spool);
        for HookRunner { form, hook, pool } in &self.runners {
            let new = Hook::of(*form, settings, spool, pool).map(Arc::new);
            if new.is_some() {
                pool.set(form.at_once(hooks));
            }
            *hook.lock() = new;
        }
        self.recover(spool);
    }

    /// Retries events of a former server that did not fit into the queue, at most once per [`LOOK`]
    /// and without blocking on the disk. Returns the time until the next attempt, or `None` if
    /// nothing is pending.
    pub(super) fn attend(self: &Arc<Self>) -> Option<Duration> {
        let mut next = self.next_look.lock();
        let left = (*next)?.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        *next = Some(Instant::now() + LOOK);
        let spool = self.spool.get()?;
        if !self.is_looking.swap(true, Ordering::Relaxed) {
            let (hooks, place) = (Arc::clone(self), Arc::clone(spool));
            let begun = spool.later(move || {
                hooks.recover(&place);
                hooks.is_looking.store(false, Ordering::Relaxed);
            });
            if !begun {
                self.is_looking.store(false, Ordering::Relaxed);
            }
        }
        Some(LOOK)
    }

    /// Queues the events that a former server left, except for those of uploads that it did not
    /// publish.
    fn recover(&self, spool: &Arc<Spool>) {
        let is_first = self.next_look.lock().is_none();
        let (mut idle, mut waiting, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for found in spool.take_left() {
            let Some((_, suffix)) = found.split_once('.') else { continue };
            let mut runners = self.runners.iter();
            let Some(runner) = runners.find(|runner| runner.form.suffix() == suffix) else {
                continue;
            };
            if full.contains(&suffix) {
                waiting.push(found);
                continue;
            }
            let json = fs::read_to_string(spool.at(&found));
            if json.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                continue;
            }
            // The former server was killed before it wrote the event, so it confirmed nothing.
            if json.as_ref().is_ok_and(String::is_empty) {
                spool.remove(&found);
                continue;
            }
            let Some(hook) = runner.hook.lock().clone() else {
                idle.push(found);
                continue;
            };
            match json.ok().and_then(|json| Notice::read(&hook, found.clone(), None, json)) {
                Some(notice) if !runner.pool.has_room(&notice) => {
                    full.push(runner.form.suffix());
                    waiting.push(found);
                }
                Some(notice) => notice.push(),
                None => refuse(spool, &found, &"is not an event; remove it"),
            }
        }
        let is_next = !waiting.is_empty();
        if !waiting.is_empty() && is_first {
            let events = counted(waiting.len(), "event");
            log::warn!(target: LOG, "hooks.spool: {events} wait there until the queue has room");
        }
        *self.next_look.lock() = is_next.then(|| Instant::now() + LOOK);
        if !idle.is_empty() && is_first {
            let files = counted(idle.len(), "file");
            log::warn!(target: LOG, "hooks.spool: {files} left there: no hook is configured for them");
        }
        waiting.append(&mut idle);
        spool.put_back(waiting);
    }

    /// Writes an event to the spool for each configured program that gets it.
    fn record(&self, event: &Event<'_>, hidden_file: Option<HiddenFile>) -> Vec<Arc<Notice>> {
        let current = |runner: &HookRunner| runner.hook.lock().clone();
        let hooks: Vec<Arc<Hook>> = self.runners.iter().filter_map(current).collect();
        if hooks.is_empty() {
            return Vec::new();
        }
        let id = new_id();
        let notices = hooks.iter().filter_map(|hook| Notice::of(hook, &id, event, hidden_file));
        notices.inspect(|notice| notice.record()).collect()
    }

    /// Makes [`finish`](Self::finish) stop waiting.
    pub(super) fn cut(&self) {
        self.runners.iter().for_each(|runner| runner.pool.cut());
    }

    /// Waits at most `limit` for the queued programs. Then kills the running programs. What is left
    /// stays in the spool.
    pub(super) fn finish(&self, limit: Duration) {
        let Some(spool) = self.spool.get() else { return };
        let pools = || self.runners.iter().map(|runner| &runner.pool);
        // Stops both pools first, so that they finish in parallel.
        pools().for_each(|pool| pool.stop());
        let now = Instant::now();
        let until = now.checked_add(limit).unwrap_or(now);
        pools().for_each(|pool| pool.wait(until));
        let fail = |notices: Vec<Arc<Notice>>, why: &'static str| {
            // A disk that hangs must not delay the shutdown; the files stay then.
            spool.unconfined(move || notices.iter().for_each(|notice| notice.fail(why)));
        };
        let queued = pools().flat_map(|pool| pool.end()).collect();
        let until = Instant::now() + LAST;
        fail(queued, "not started: the server is stopping");
        // The threads report the failures of their own jobs, except for jobs that hang.
        let hung = pools().flat_map(|pool| pool.give_up(until)).collect();
        fail(hung, "killed: the server is stopping");
        spool.close();
    }
}

fn refuse(spool: &Spool, found: &str, why: &dyn Display) {
    log::error!(target: LOG, "hooks.spool: {}: {why}", shown_path(&spool.at(found)));
}

/// If this is the name of an event of an upload that was being published, renames the event if it
/// was, and removes it if it was not. If that is unknown, the event becomes a dead letter, because no
/// hook may run for a file that is not there. Returns the new name, under which the event may be
/// missing; `None` if the event does not count, or cannot be read.
fn decide(spool: &Spool, found: String) -> Option<String> {
    let mut parts = found.splitn(3, '.');
    let (Some(id), Some(suffix), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Some(found);
    };
    EventForm::ALL.iter().find(|form| form.suffix() == suffix)?;
    let Some(hidden_file) = HiddenFile::parse(rest) else {
        refuse(spool, &found, &"is not the name of an event");
        return None;
    };
    let json = match fs::read_to_string(spool.at(&found)) {
        Ok(json) => json,
        // The answer to an earlier question came late.
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            refuse(spool, &found, &error);
            return None;
        }
    };
    match is_published(&json, hidden_file) {
        Ok(true) => {
            let name = format!("{id}.{suffix}");
            spool.rename(&found, &name);
            return Some(name);
        }
        Ok(false) => spool.remove(&found),
        Err(error) => bury(spool, &found, &error),
    }
    None
}

/// Makes an event a dead letter, or else a log line: it is unknown whether its upload was published.
fn bury(spool: &Spool, found: &str, why: &dyn Display) {
    let json = match fs::read_to_string(spool.at(found)) {
        Ok(json) => json,
        Err(error) => return refuse(spool, found, &error),
    };
    let name = format!("{}.json", found.split('.').next().unwrap_or(found));
    let letters = spool.failed().map(DeadLetters::new);
    let kept = letters.map(|letters| letters.keep(&spool.at(found), &name, &json));
    let place = match kept {
        Some(Ok(path)) => {
            spool.remove(found);
            format!("is in {}", shown_path(&path))
        }
        // Nobody delivers it from there, but nothing else has it.
        _ => format!("stays in {}: {}", shown_path(&spool.at(found)), json.trim_end()),
    };
    log::error!(target: LOG, "hooks.spool: cannot tell whether an upload was stored: {why}; the event {place}");
}

/// Decides which uploads were published, before a sweeper or a session removes their hidden files. The
/// events below disks that do not answer become dead letters: to wait for them would hold up the
/// sweeper, also on other disks.
fn decide_in_time(spool: &Arc<Spool>) {
    let left = spool.take_left();
    let asked = Arc::clone(spool);
    let decided = answers(left.clone(), move |found| decide(&asked, found));
    for (answer, found) in decided.into_iter().zip(left) {
        match answer.given() {
            Some(decided) => spool.put_back(decided),
            // No disk decides about this event.
            None if found.split('.').count() < 3 => spool.put_back([found]),
            None => bury(spool, &found, &"its disk does not answer"),
        }
    }
}

/// The daemon did not start: what was queued stays in the spool.
impl Drop for Hooks {
    fn drop(&mut self) {
        self.runners.iter().for_each(|runner| drop(runner.pool.end()));
    }
}

impl Observer for Hooks {
    /// Queues the programs of an event. Those of a stored file were announced before.
    fn observe(&self, event: &Event<'_>) {
        if HookEvent::of(event) != Some(HookEvent::Stored) {
            self.record(event, None).into_iter().for_each(Notice::push);
        }
    }

    /// An announcement that is dropped leaves its events in the spool.
    fn before_publication(
        &self,
        event: &Event<'_>,
        hidden_file: Option<(u64, u64)>,
    ) -> Option<Settle> {
        let notices = self.record(event, hidden_file.map(HiddenFile::from));
        if notices.is_empty() {
            return None;
        }
        Some(Box::new(move |is_made| {
            notices.into_iter().for_each(if is_made { Notice::push } else { Notice::withdraw });
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    use std::path::PathBuf;
    use std::sync::mpsc;

    use ftp_proto::{RepresentationType, Verb};
    use ftp_tests::lying_disk::LyingDisk;
    use ftp_tests::raw::RawSession;
    use ftp_tests::root::TempRoot;
    use ftp_tests::wait::wait_until;
    use tempfile::TempDir;

    use super::*;
    use crate::daemon::programs::pool::JOBS;
    use crate::testing::{Fault, FaultStorage, StorageCall};
    use crate::{
        Direction, EventKind, Login, MemoryStorage, Rights, Server, Transfer, TransferEnd,
        UserTable,
    };

    fn apply(hooks: &Hooks, config: &Config) {
        let spool = hooks.open(config).unwrap();
        hooks.set(&config.settings, spool);
    }

    /// Returns a directory with an empty spool, and a configuration without `hooks.stored` that uses
    /// the spool.
    fn empty_spool() -> (TempDir, PathBuf, Config) {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("spool");
        fs::DirBuilder::new().mode(0o700).create(&spool).unwrap();
        let mut config = Config::new();
        config.set("hooks.program", "/bin/true").unwrap();
        config.set("hooks.spool", spool.to_str().unwrap()).unwrap();
        (directory, spool, config)
    }

    /// Returns hooks with this command as `hooks.stored`, and an event of a stored file for it.
    fn stored(command: &str) -> (Hooks, impl Fn() -> Arc<Notice>) {
        let mut config = Config::new();
        config.set("hooks.stored", command).unwrap();
        let hooks = Hooks::new();
        apply(&hooks, &config);
        let hook = hooks.runners[1].hook.lock().clone().unwrap();
        let json = r#"{"peer":"127.0.0.1","user":"u","path":"/a \\x01","bytes":5,"id":"7"}"#;
        let notice = move || Notice::read(&hook, "7.stored".to_owned(), None, json.to_owned());
        (hooks, move || notice().unwrap())
    }

    #[test]
    fn a_spool_for_settings_that_are_not_used_is_free_again() {
        let (_directory, spool, config) = empty_spool();
        let (hooks, others) = (Hooks::new(), Hooks::new());
        drop(hooks.open(&config).unwrap());
        // A program that another test starts holds the lock until its exec.
        let mut opened = others.open(&config);
        for _ in 0..100 {
            if opened.is_err() {
                std::thread::sleep(Duration::from_millis(20));
                opened = others.open(&config);
            }
        }
        let opened = opened.unwrap();
        // A refused spool gets no directory either.
        fs::remove_dir(spool.join("failed")).unwrap();
        let refused = hooks.open(&config).map(drop).unwrap_err();
        assert!(refused.message.contains("in use by another server"), "{refused}");
        assert!(!spool.join("failed").exists());
        drop(opened);
    }

    #[test]
    fn a_disk_that_does_not_answer_holds_up_no_start() {
        let silent = TempRoot::new();
        let Some(disk) = LyingDisk::mount(silent.path(), [("d/f", "x")]) else { return };
        let place = silent.join("d").to_str().unwrap().to_owned();
        let held = disk.lies();
        let (_directory, spool, mut config) = empty_spool();
        config.set("hooks.dead_letters", &place).unwrap();
        // Events of uploads below the disk, of this server and of one that noted no length.
        let json = format!("{{\"local_path\":\"{place}/f\"}}\n");
        let events = ["1.event.7-1", "2.event.7"].map(|name| spool.join(name));
        events.iter().for_each(|event| fs::write(event, &json).unwrap());
        let hooks = Arc::new(Hooks::new());
        apply(&hooks, &config);
        // Neither delivered nor lost, and no sweeper waits for them.
        let letters = ["1.json", "2.json"].map(|name| spool.join("failed").join(name));
        let are_buried = || letters.iter().all(|it| it.exists());
        assert!(are_buried() && !events.iter().any(|event| event.exists()));
        // A reload keeps the spool that is open.
        config.set("hooks.spool", &place).unwrap();
        assert!(hooks.open(&config).unwrap().is_some());
        let refused = Hooks::new().open(&config).map(drop).unwrap_err();
        assert_eq!(refused.message, format!("hooks.spool: {place}: timed out"));
        drop(held);
        hooks.finish(Duration::ZERO);
    }

    #[test]
    fn events_that_do_not_fit_into_the_queue_are_delivered_when_there_is_room() {
        let (_directory, spool, config) = empty_spool();
        let hooks = Arc::new(Hooks::new());
        apply(&hooks, &config);
        let pool = &hooks.runners[0].pool;
        pool.set(0);
        // Three fit.
        let json = format!("{{\"path\":\"/{}\"}}\n", "x".repeat(1024 * 1024));
        let names: Vec<_> = (0..5).map(|number| format!("{number}.event")).collect();
        names.iter().for_each(|name| fs::write(spool.join(name), &json).unwrap());
        let opened = hooks.spool.get().unwrap();
        opened.put_back(names);
        hooks.recover(opened);
        let left = opened.take_left();
        assert_eq!(left, ["3.event", "4.event"]);
        opened.put_back(left);
        pool.set(1);
        wait_until("no event is left", || {
            *hooks.next_look.lock() = hooks.attend().map(|_| Instant::now());
            fs::read_dir(&spool).unwrap().count() == 1
        });
        hooks.finish(Duration::ZERO);
    }

    #[test]
    fn a_disk_that_hangs_does_not_delay_the_end() {
        let (hooks, _) = stored("[\"/bin/true\"]");
        let spool = Arc::clone(hooks.spool.get().unwrap());
        let (end, hang) = mpsc::channel::<()>();
        assert!(spool.unconfined(move || hang.recv()).is_none());
        hooks.finish(Duration::ZERO);
        assert!(spool.at("").exists(), "it does not wait for the disk");
        drop(end);
        wait_until("the temporary spool is removed", || !spool.at("").exists());
    }

    #[test]
    fn a_hook_gets_the_upload_details_in_its_environment() {
        let (hooks, notice) = stored(
            r#"["/bin/sh", "-c", 'test "$FTP_USER $FTP_PEER $FTP_PATH $FTP_BYTES $FTP_ID ${FTP_LOCAL_PATH-none} $# $2" = "$3"', "sh", "a  b", "$(id) ;", "u 127.0.0.1 /a \u0001 5 7 none 3 $(id) ;"]"#,
        );
        assert_eq!(notice().run(&|| false), Ok(()));
        hooks.finish(Duration::ZERO);
    }

    #[test]
    fn an_upload_that_was_not_published_is_withdrawn_without_its_hook_too() {
        let (directory, spool, config) = empty_spool();
        // A link to the missing file, and 9 bytes of a text that were stored as 7.
        let local_path = directory.path().join("link/f");
        fs::create_dir(directory.path().join("link")).unwrap();
        std::os::unix::fs::symlink("../f", &local_path).unwrap();
        let json = format!("{{\"local_path\":\"{}\",\"bytes\":9}}\n", local_path.display());
        // The number of the third one is that of a file which was published: inode numbers of some disks
        // change in a restart.
        for (id, name, content) in [
            ("hidden", ".ftp-upload-0123456789abcdef", "content"),
            ("published", "f", "content"),
            ("renumbered", ".ftp-upload-0123456789abcde0", "record"),
        ] {
            let file = directory.path().join(name);
            fs::write(&file, content).unwrap();
            let inode = file.metadata().unwrap().ino();
            fs::write(spool.join(format!("{id}.stored.{inode}-7")), &json).unwrap();
            // As older servers left it.
            fs::write(spool.join(format!("{id}-old.stored.{inode}")), &json).unwrap();
        }
        fs::write(spool.join("malformed.stored.7-x"), &json).unwrap();
        // The server was killed before it wrote this event.
        fs::write(spool.join("empty.stored"), "").unwrap();
        let hooks = Hooks::new();
        apply(&hooks, &config);
        let entries = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = entries.filter(|name| name != "failed").collect();
        left.sort();
        let want = [
            "malformed.stored.7-x",
            "published-old.stored",
            "published.stored",
            "renumbered.stored",
        ];
        assert_eq!(left, want);
        hooks.finish(Duration::ZERO);
    }

    #[test]
    fn an_upload_in_a_directory_that_cannot_be_read_is_not_told_as_stored_hf_19() {
        let (directory, spool, config) = empty_spool();
        let (missing, file) = (directory.path().join("missing/f"), directory.path().join("file"));
        fs::write(&file, "x").unwrap();
        for (id, path) in [("1", missing), ("2", file.join("f"))] {
            let json = format!("{{\"local_path\":\"{}\"}}\n", path.display());
            fs::write(spool.join(format!("{id}.event.7-1")), json).unwrap();
        }
        let hooks = Hooks::new();
        apply(&hooks, &config);
        hooks.finish(Duration::from_secs(60));
        let mut letters: Vec<_> =
            fs::read_dir(spool.join("failed")).unwrap().map(|it| it.unwrap().file_name()).collect();
        letters.sort();
        assert_eq!(letters, ["1.json", "2.json"]);
    }

    /// Returns a server over `storage` whose hooks note stored files in `seen`. The directory of the
    /// user is `/disk`.
    fn serve(storage: FaultStorage, hooks: &Arc<Hooks>) -> Server {
        let mut login = Login::new(Arc::new(storage), Rights::FULL);
        login.local_paths = Some(Arc::new(|path| Some(PathBuf::from(format!("/disk{path}")))));
        let builder = Server::builder().observer(Arc::clone(hooks));
        let users = UserTable::new().user("u", "p", login);
        builder.authenticator(users).bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn an_upload_that_outlives_its_session_is_told_by_this_server_or_the_next_dc_45_hf_19() {
        for act in ["ABOR", "end of the client", "stopped", "killed"] {
            let (directory, spool, mut config) = empty_spool();
            let seen = directory.path().join("seen");
            let note = format!("echo \"$FTP_PATH $FTP_LOCAL_PATH\" >>{}", seen.display());
            config.set("hooks.stored", &format!("[\"/bin/sh\", \"-c\", '{note}']")).unwrap();
            let hooks = Arc::new(Hooks::new());
            apply(&hooks, &config);
            let is_told_now = matches!(act, "ABOR" | "end of the client");
            let time = Duration::from_secs(if is_told_now { 1 } else { 600 });
            let commit = StorageCall::UploadCommit;
            let storage = FaultStorage::new(MemoryStorage::new()).at(commit, 1, Fault::Delay(time));
            let server = serve(storage.clone(), &hooks);
            let mut session = RawSession::login(server.local_addr(), "u", "p");
            let data = session.passive();
            session.expect("STOR f", 150);
            data.close();
            wait_until("the file is being published", || storage.count(commit) > 0);
            match act {
                "ABOR" => drop(session.expect("ABOR", 426)),
                "end of the client" => drop(session),
                "stopped" => {
                    server.shutdown(Duration::ZERO);
                    hooks.finish(Duration::ZERO);
                }
                // What the server left when it was killed.
                _ => {
                    let next = directory.path().join("next");
                    fs::rename(&spool, &next).unwrap();
                    config.set("hooks.spool", next.to_str().unwrap()).unwrap();
                    hooks.spool.get().unwrap().close();
                }
            }
            let next = Hooks::new();
            if !is_told_now {
                assert!(!seen.exists(), "{act}");
                apply(&next, &config);
            }
            let told = || fs::read_to_string(&seen).unwrap_or_default();
            wait_until("the program runs", || told() == "/f /disk/f\n");
        }
    }

    #[test]
    fn an_announcement_stays_in_the_spool_until_its_end_dc_45_hf_19() {
        let (_directory, spool, mut config) = empty_spool();
        config.set("hooks.stored", "[\"/bin/true\"]").unwrap();
        config.set("hooks.events", "logout").unwrap();
        let hooks = Hooks::new();
        apply(&hooks, &config);
        hooks.runners.iter().for_each(|runner| runner.pool.set(0));
        let path = "/f".into();
        let transfer = Transfer {
            verb: Verb::Stor,
            path: &path,
            direction: Direction::Received,
            representation: RepresentationType::Image,
            bytes: 1,
            duration: Duration::ZERO,
            end: TransferEnd::Fin,
            reply: None,
            tls: None,
        };
        let event = Event::of_peer(([192, 0, 2, 1], 7).into(), EventKind::Transferred(transfer));
        let names = || -> Vec<String> {
            let entries = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name());
            let names = entries.map(|name| name.into_string().unwrap());
            names.filter(|name| name != "failed").collect()
        };
        // The event of a file that is stored is told by its announcement only.
        hooks.observe(&event);
        assert_eq!(names(), [""; 0]);
        hooks.before_publication(&event, Some((7, 1))).unwrap()(false);
        assert_eq!(names(), [""; 0]);
        hooks.before_publication(&event, Some((7, 1))).unwrap()(true);
        let [made] = &names()[..] else { panic!("{:?}", names()) };
        assert!(made.ends_with("-stored.stored"), "{made}");
        fs::remove_file(spool.join(made)).unwrap();
        drop(hooks.before_publication(&event, Some((7, 1))));
        let [left] = &names()[..] else { panic!("{:?}", names()) };
        assert!(left.ends_with("-stored.stored.7-1"), "{left}");
        hooks.finish(Duration::ZERO);
        assert_eq!(names().len(), 1);
    }

    #[test]
    fn an_event_left_without_its_hook_is_delivered_once_a_reload_has_the_hook() {
        let (_directory, spool, mut config) = empty_spool();
        let event = spool.join("1.stored");
        fs::write(&event, "{\"path\":\"/a\"}\n").unwrap();
        fs::write(spool.join("2.stored"), "{\"path\":\"/b\"}\n").unwrap();
        let hooks = Hooks::new();
        apply(&hooks, &config);
        assert!(event.exists());
        // A file that is gone by then is no error.
        fs::remove_file(spool.join("2.stored")).unwrap();
        config.set("hooks.stored", "[\"/bin/true\"]").unwrap();
        apply(&hooks, &config);
        hooks.finish(Duration::from_secs(60));
        assert!(!event.exists());
    }

    #[test]
    fn at_most_one_thousand_jobs_are_queued() {
        let (hooks, notice) = stored("[\"/bin/true\"]");
        let pool = &hooks.runners[1].pool;
        // No job leaves the queue meanwhile.
        pool.set(0);
        (0..JOBS + 3).for_each(|_| notice().push());
        assert_eq!(pool.end().len(), JOBS);
        notice().push();
        assert!(pool.end().is_empty());
        hooks.finish(Duration::ZERO);
    }
}
