//! An event for a hook: for `hooks.program` as JSON on its standard input, for `hooks.stored` in its
//! environment.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::spool::{DeadLetters, Spool};
use crate::daemon::config::{
    HookEvent, HookSettings, Settings, TomlEntry, ValueContent, json_object,
};
use crate::daemon::logging::LOG;
use crate::daemon::programs::pool::{Job, ProgramPool};
use crate::daemon::programs::{self as process, Stuck};
use crate::log::unescaped;
use crate::net::random;
use crate::storage::is_hidden_name;
use crate::{Direction, Event, EventKind, SyncPolicy, Transfer, TransferEnd, Verb};
use ftp_proto::text::values::shown_path;

/// Longest pause before a retry, or `hooks.retry_delay` if that is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Number of programs of `hooks.stored` that run at once.
const STORED_AT_ONCE: usize = 4;

/// Hooks that were killed but have not ended.
static STUCK: Stuck = Stuck::new();

/// Variables of `hooks.stored`, and the fields of the event that are their values.
const VARIABLES: [(&str, &str); 6] = [
    ("FTP_ID", "id"),
    ("FTP_USER", "user"),
    ("FTP_PEER", "peer"),
    ("FTP_PATH", "path"),
    ("FTP_LOCAL_PATH", "local_path"),
    ("FTP_BYTES", "bytes"),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EventForm {
    /// `hooks.program`: one line of JSON on standard input.
    Json,
    /// `hooks.stored`: environment variables.
    Environment,
}

impl EventForm {
    pub(super) const ALL: [Self; 2] = [Self::Json, Self::Environment];

    /// Returns the key of the program in the configuration.
    const fn key(self) -> &'static str {
        match self {
            Self::Json => "hooks.program",
            Self::Environment => "hooks.stored",
        }
    }

    /// Returns the end of the names of events in the spool.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Json => "event",
            Self::Environment => "stored",
        }
    }

    pub(super) fn command(self, settings: &HookSettings) -> Option<(PathBuf, &[String])> {
        match self {
            Self::Json => Some((settings.program.clone()?, &[])),
            Self::Environment => {
                let (path, arguments) = settings.stored.split_first()?;
                Some((path.into(), arguments))
            }
        }
    }

    pub(super) const fn at_once(self, settings: &HookSettings) -> usize {
        match self {
            Self::Json => settings.processes,
            Self::Environment => STORED_AT_ONCE,
        }
    }
}

/// A program to start, its events, and its limits.
pub(super) struct Hook {
    form: EventForm,
    path: PathBuf,
    arguments: Vec<String>,
    events: Vec<HookEvent>,
    limit: Duration,
    retries: u32,
    retry_delay: Duration,
    sync: SyncPolicy,
    letters: Option<DeadLetters>,
    spool: Arc<Spool>,
    pool: Arc<ProgramPool<Notice>>,
}

impl Hook {
    pub(super) fn of(
        form: EventForm,
        settings: &Settings,
        spool: &Arc<Spool>,
        pool: &Arc<ProgramPool<Notice>>,
    ) -> Option<Self> {
        let hooks = &settings.hooks;
        let (path, arguments) = form.command(hooks)?;
        let (events, retries, letters) = match form {
            EventForm::Json => {
                let directory = hooks.dead_letters.clone().or_else(|| spool.failed());
                (hooks.events.clone(), hooks.retries, directory.map(DeadLetters::new))
            }
            EventForm::Environment => (vec![HookEvent::Stored], 0, None),
        };
        Some(Self {
            form,
            path,
            arguments: arguments.to_vec(),
            events,
            limit: hooks.timeout,
            retries,
            retry_delay: hooks.retry_delay,
            sync: settings.local.sync,
            letters,
            spool: Arc::clone(spool),
            pool: Arc::clone(pool),
        })
    }
}

/// Returns the id of a new event. Ids sort by time.
pub(super) fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Without a random number, the time alone makes a collision unlikely.
    format!("{:019}-{:016x}", since.as_nanos(), random::number().unwrap_or_default())
}

/// Number of links that lead to one file at most, as in Linux.
const MOST_LINKS: usize = 40;

/// The file of an upload that is being published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct HiddenFile {
    inode: u64,
    /// Unknown in events of servers before this one.
    length: Option<u64>,
}

impl From<(u64, u64)> for HiddenFile {
    fn from((inode, length): (u64, u64)) -> Self {
        Self { inode, length: Some(length) }
    }
}

impl HiddenFile {
    /// Reads the end of the name of an event.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (inode, length) = match text.split_once('-') {
            Some((inode, length)) => (inode, Some(length.parse().ok()?)),
            None => (text, None),
        };
        Some(Self { inode: inode.parse().ok()?, length })
    }
}

/// An event for a hook, and its file in the spool.
pub(super) struct Notice {
    hook: Arc<Hook>,
    /// Name of the file in the spool.
    name: String,
    /// The file of the upload that is being published.
    hidden_file: Option<HiddenFile>,
    json: String,
    /// The fields of the JSON.
    fields: Vec<TomlEntry>,
    failures: AtomicU32,
}

impl Notice {
    /// Returns the notice of an event, if the hook handles this event.
    pub(super) fn of(
        hook: &Arc<Hook>,
        id: &str,
        event: &Event<'_>,
        hidden_file: Option<HiddenFile>,
    ) -> Option<Arc<Self>> {
        let word = HookEvent::of(event).filter(|word| hook.events.contains(word))?;
        let local = event.local_path();
        let mut more = vec![("hook", word.as_str().as_bytes())];
        more.extend(local.iter().map(|path| ("local_path", path.as_os_str().as_bytes())));
        more.push(("id", id.as_bytes()));
        let name = format!("{id}-{word}.{}", hook.form.suffix());
        Self::read(hook, name, hidden_file, event.to_json(&more) + "\n")
    }

    /// Returns the notice with this JSON; `None` if the JSON is incomplete.
    pub(super) fn read(
        hook: &Arc<Hook>,
        name: String,
        hidden_file: Option<HiddenFile>,
        json: String,
    ) -> Option<Arc<Self>> {
        let fields = json_object(json.as_bytes()).ok()?;
        let (hook, failures) = (Arc::clone(hook), AtomicU32::new(0));
        Some(Arc::new(Self { hook, name, hidden_file, json, fields, failures }))
    }

    /// Returns a field, with a text as it is escaped; empty if the field is missing.
    fn text(&self, field: &str) -> &str {
        self.field(field).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// Returns the name of the event's file until the upload, if any, is published.
    fn first_name(&self) -> String {
        let Some(HiddenFile { inode, length }) = self.hidden_file else { return self.name.clone() };
        let length = length.map(|length| format!("-{length}")).unwrap_or_default();
        format!("{}.{inode}{length}", self.name)
    }

    fn letter_name(&self) -> String {
        self.name.replace(self.hook.form.suffix(), "json")
    }

    /// Writes the event to the spool; that of an upload is synced as the upload is. If this fails,
    /// logs the event; it is in memory only.
    pub(super) fn record(&self) {
        let Hook { spool, sync, .. } = &*self.hook;
        let is_upload = self.text("hook") == HookEvent::Stored.as_str();
        let sync = if is_upload { *sync } else { SyncPolicy::None };
        if let Err(error) = spool.add(&self.first_name(), &self.json, sync) {
            let path = shown_path(&spool.at(&self.name));
            let json = self.json.trim_end();
            log::error!(target: LOG, "hooks.spool: cannot write {path}: {error}; if the server is killed, this event is lost: {json}");
        }
    }

    /// Queues a recorded event. If it is about an upload, the upload is published.
    pub(super) fn push(self: Arc<Self>) {
        if self.hidden_file.is_some() {
            let notice = Arc::clone(&self);
            let rename = move || notice.hook.spool.rename(&notice.first_name(), &notice.name);
            self.hook.spool.unconfined(rename);
        }
        let pool = Arc::clone(&self.hook.pool);
        pool.push(self);
    }

    /// Removes the recorded event of an upload that is not published.
    pub(super) fn withdraw(self: Arc<Self>) {
        let (name, spool) = (self.first_name(), Arc::clone(&self.hook.spool));
        self.hook.spool.unconfined(move || spool.remove(&name));
    }

    /// Makes the event a dead letter, or else a log line.
    fn bury(&self, why: &str) {
        let Hook { form, letters, spool, .. } = &*self.hook;
        let kept = match letters {
            _ if *form == EventForm::Environment => Ok(String::new()),
            None => Err("hooks.dead_letters is empty".to_owned()),
            Some(letters) => letters
                .keep(&spool.at(&self.name), &self.letter_name(), &self.json)
                .map(|path| format!("; the event is in {}", shown_path(&path))),
        };
        let json = self.json.trim_end();
        self.log(why, &kept.unwrap_or_else(|wrong| format!("; {wrong}; the event was {json}")));
        spool.remove(&self.name);
    }

    fn log(&self, why: &str, what: &str) {
        let (key, shown) = (self.hook.form.key(), shown_path(&self.hook.path));
        let subject = match self.hook.form {
            EventForm::Json => self.text("hook"),
            EventForm::Environment => self.text("path"),
        };
        let user = self.lane();
        let by = if user.is_empty() { "" } else { " of " };
        log::error!(target: LOG, "{key}: {shown} for {subject}{by}{user}: {why}{what}");
    }

    /// Returns the escaped name of the user. A refused login has no user, so all refused logins share
    /// one lane of the queue.
    fn lane(&self) -> &str {
        if self.text("hook") == HookEvent::LoginFailed.as_str() { "" } else { self.text("user") }
    }
}

fn field<'a>(fields: &'a [TomlEntry], name: &str) -> Option<&'a str> {
    match &fields.iter().find(|field| field.name == name)?.value.content {
        ValueContent::Single(_, text) => Some(text),
        _ => None,
    }
}

/// Returns whether a server that died had published the upload of an event: the file has its name, or
/// no hidden file beside it is that of the upload, which was moved away since. Device numbers are not
/// compared, because those of btrfs and of network file systems change. Inode numbers of FAT and FUSE
/// disks change too: a file of another length is another one.
///
/// # Errors
///
/// Returns why it is unknown: the directory is missing, or cannot be read completely.
pub(super) fn is_published(json: &str, hidden_file: HiddenFile) -> io::Result<bool> {
    // The server was killed before it wrote all of this event.
    let Ok(fields) = json_object(json.as_bytes()) else { return Ok(false) };
    let local_path = unescaped(field(&fields, "local_path").unwrap_or_default());
    let mut path = PathBuf::from(OsString::from_vec(local_path));
    // A symbolic link leads to the directory of the upload, also one to a file that is missing.
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path.pop();
        path.push(target);
    }
    let is_it = |found: Metadata| {
        hidden_file.inode == found.ino()
            && hidden_file.length.is_none_or(|length| length == found.len())
    };
    if fs::symlink_metadata(&path).is_ok_and(is_it) {
        return Ok(true);
    }
    for entry in fs::read_dir(path.parent().ok_or(ErrorKind::NotFound)?)? {
        let entry = entry?;
        if !is_hidden_name(entry.file_name().as_bytes()) {
            continue;
        }
        match entry.metadata() {
            // Another server has removed or published another upload just now.
            Err(error)
                if error.kind() == ErrorKind::NotFound && entry.ino() != hidden_file.inode => {}
            found => {
                if is_it(found?) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

impl Job for Notice {
    fn user(&self) -> &[u8] {
        self.lane().as_bytes()
    }

    fn size(&self) -> usize {
        self.json.len()
    }

    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let hook = &*self.hook;
        let mut command = process::command(&hook.path);
        command.args(&hook.arguments);
        match hook.form {
            EventForm::Json => {
                let input = process::input(&self.json).map_err(|error| error.to_string())?;
                command.stdin(input).stderr(Stdio::piped());
            }
            EventForm::Environment => {
                for (variable, field) in VARIABLES {
                    let value = self.field(field).map(unescaped).map(OsString::from_vec);
                    command.envs(value.map(|value| (variable, value)));
                }
            }
        }
        process::run(&mut command, hook.limit, is_over, &STUCK)?;
        hook.spool.remove(&self.name);
        Ok(())
    }

    fn retry(&self) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let doubled = 2_u32.saturating_pow(failures);
        let first = self.hook.retry_delay;
        let pause = first.saturating_mul(doubled).min(LONGEST_PAUSE.max(first));
        (failures < self.hook.retries).then_some(pause)
    }

    /// An event with retries left stays in the spool for the next start. A temporary spool is lost
    /// with the server, so there the event becomes a dead letter at once, if there is a directory
    /// for these.
    fn fail(&self, why: &str) {
        let Hook { spool, letters, retries, .. } = &*self.hook;
        let may_stay = !spool.is_temporary || letters.is_none();
        let path = spool.at(&self.name);
        if may_stay && self.failures.load(Ordering::Relaxed) <= *retries && path.exists() {
            return self.log(why, &format!("; the event stays in {}", shown_path(&path)));
        }
        self.bury(why);
    }

    fn refuse(self: Arc<Self>) {
        let spool = Arc::clone(&self.hook.spool);
        let notice = Arc::clone(&self);
        if !spool.later(move || notice.bury("not started: the queue is full")) {
            let json = self.json.trim_end();
            self.log("not started: the queue is full", &format!("; the event was {json}"));
            let kept = Arc::clone(&spool);
            spool.unconfined(move || kept.remove(&self.name));
        }
    }

    /// Leaves the event in the spool, for the next start.
    fn leave(&self) {
        let path = self.hook.spool.at(&self.name);
        self.log(
            "not started: the server is stopping",
            &format!("; the event stays in {}", shown_path(&path)),
        );
    }
}

impl HookEvent {
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        match &event.kind {
            EventKind::LoggedIn => Some(Self::Login),
            EventKind::LoginRefused { .. } => Some(Self::LoginFailed),
            EventKind::LoggedOut => Some(Self::Logout),
            EventKind::Ended { .. } => event.user.map(|_| Self::Logout),
            EventKind::Transferred(transfer) => Self::of_transfer(transfer),
            EventKind::Deleted { .. } | EventKind::DirectoryRemoved { .. } => Some(Self::Deleted),
            EventKind::DirectoryMade { .. } => Some(Self::Made),
            EventKind::Renamed { .. } => Some(Self::Renamed),
            _ => None,
        }
    }

    fn of_transfer(transfer: &Transfer<'_>) -> Option<Self> {
        let is_whole = transfer.end.is_whole();
        match (transfer.direction, transfer.end) {
            (Direction::Received, _) if is_whole => Some(Self::Stored),
            // These transfers never began.
            (_, TransferEnd::Refused | TransferEnd::NoData | TransferEnd::NoTls) => None,
            (Direction::Received, _) => Some(Self::Cut),
            (Direction::Sent, _) if is_whole && transfer.verb == Verb::Retr => {
                Some(Self::Retrieved)
            }
            _ => None,
        }
    }
}
