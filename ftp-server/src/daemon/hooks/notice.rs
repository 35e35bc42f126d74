//! `hooks.program`: a program that gets an event as JSON on its standard input.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ftp_proto::Escaped;

use super::STUCK;
use super::dead_letters::DeadLetters;
use super::event::HookEvent;
use crate::daemon::config::HookSettings;
use crate::daemon::logging::LOG;
use crate::daemon::programs as process;
use crate::daemon::programs::pool::{Job, ProgramPool};
use crate::daemon::programs::queue::Queued;
use crate::daemon::users;
use crate::daemon::values::shown_path;
use crate::{Event, EventKind, Transfer, VirtualPath};

/// Longest pause before a retry, or `hooks.retry_delay` if that is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Number of the next event of this process; the numbers give the events' files an order.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The program to start, its events, and its limits.
pub(super) struct NoticeProgram {
    path: PathBuf,
    events: Vec<HookEvent>,
    limit: Duration,
    retries: u32,
    retry_delay: Duration,
    dead_letters: Arc<DeadLetters>,
    /// Pool that writes the events that did not fit into the queue: sessions' threads must not wait
    /// for the disk.
    letters: Arc<ProgramPool<UnqueuedEvent>>,
}

impl NoticeProgram {
    /// Returns the program that `settings` configures, or `None` if it configures none.
    pub(super) fn of(
        settings: &HookSettings,
        letters: &Arc<ProgramPool<UnqueuedEvent>>,
    ) -> Option<Self> {
        Some(Self {
            path: settings.program.clone()?,
            events: settings.events.clone(),
            limit: settings.timeout,
            retries: settings.retries,
            retry_delay: settings.retry_delay,
            dead_letters: Arc::new(DeadLetters::new(settings.dead_letters.clone())),
            letters: Arc::clone(letters),
        })
    }
}

/// An event for the program.
pub(super) struct Notice {
    program: Arc<NoticeProgram>,
    event: HookEvent,
    user: Vec<u8>,
    json: String,
    /// Name of the event's file in the directory of dead letters.
    file_name: String,
    failures: AtomicU32,
}

impl Notice {
    /// Returns the notice of an event, if the program handles this event.
    pub(super) fn of(program: &Arc<NoticeProgram>, event: &Event<'_>) -> Option<Self> {
        let word = HookEvent::of(event).filter(|word| program.events.contains(word))?;
        let local = changed(event).and_then(users::local_path);
        let mut more = vec![("hook", word.as_str().as_bytes())];
        more.extend(local.iter().map(|path| ("local_path", path.as_os_str().as_bytes())));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            program: Arc::clone(program),
            event: word,
            // A refused login has no user, so all refused logins share one lane of the queue.
            user: event.user.unwrap_or_default().to_vec(),
            json: event.to_json(&more) + "\n",
            file_name: format!("{:013}-{number:08}-{word}.json", since.as_millis()),
            failures: AtomicU32::new(0),
        })
    }

    /// Returns the directory of dead letters for this event.
    pub(super) fn dead_letters(&self) -> &Arc<DeadLetters> {
        &self.program.dead_letters
    }

    /// Returns the name and the content of the event's file in the directory of dead letters.
    pub(super) fn letter(&self) -> (&str, &[u8]) {
        (&self.file_name, self.json.as_bytes())
    }

    /// Writes the event to the directory of dead letters, or else to the log.
    fn keep(&self, why: &str) {
        let (name, json) = self.letter();
        self.log(why, self.program.dead_letters.keep(name, json));
    }

    /// Logs why the event was not handled. The line names the event's file, or contains the event
    /// if there is no file.
    pub(super) fn log(&self, why: &str, kept: Result<PathBuf, String>) {
        let Self { program, event, .. } = self;
        let shown = shown_path(&program.path);
        let (user, by) = (Escaped(&self.user), if self.user.is_empty() { "" } else { " of " });
        match kept {
            Ok(path) => log::error!(
                target: LOG,
                "hooks.program: {shown} for {event}{by}{user}: {why}; the event is in {}",
                shown_path(&path)
            ),
            Err(wrong) => log::error!(
                target: LOG,
                "hooks.program: {shown} for {event}{by}{user}: {why}; {wrong}; the event was {}",
                self.json.trim_end()
            ),
        }
    }
}

/// Returns the path of the file or directory, if it exists after the event.
fn changed<'a>(event: &Event<'a>) -> Option<&'a VirtualPath> {
    match event.kind {
        EventKind::Transferred(Transfer { path, end, .. }) if end.is_whole() => Some(path),
        EventKind::DirectoryMade { path, .. } => Some(path),
        EventKind::Renamed { to, .. } => Some(to),
        _ => None,
    }
}

impl Queued for Notice {
    fn user(&self) -> &[u8] {
        &self.user
    }

    fn size(&self) -> usize {
        self.json.len()
    }
}

impl Job for Notice {
    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let input = process::input(&self.json).map_err(|error| error.to_string())?;
        let mut command = process::command(&self.program.path);
        command.stdin(input).stderr(Stdio::piped());
        process::run(&mut command, self.program.limit, is_over, &STUCK)
    }

    fn retry(&self) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let doubled = 2_u32.saturating_pow(failures);
        let first = self.program.retry_delay;
        let pause = first.saturating_mul(doubled).min(LONGEST_PAUSE.max(first));
        (failures < self.program.retries).then_some(pause)
    }

    fn fail(&self, why: &str) {
        self.keep(why);
    }

    fn refuse(self: Arc<Self>) {
        let letters = Arc::clone(&self.program.letters);
        letters.push(Arc::new(UnqueuedEvent(self)));
    }
}

/// An event that did not fit into the queue.
pub(super) struct UnqueuedEvent(pub(super) Arc<Notice>);

/// The reason why an [`UnqueuedEvent`] was not handled.
pub(super) const FULL: &str = "not started: the queue is full";

impl Queued for UnqueuedEvent {
    fn user(&self) -> &[u8] {
        self.0.user()
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

impl Job for UnqueuedEvent {
    fn run(&self, _is_over: &dyn Fn() -> bool) -> Result<(), String> {
        self.0.keep(FULL);
        Ok(())
    }

    fn fail(&self, why: &str) {
        self.refuse_for(why);
    }

    fn refuse(self: Arc<Self>) {
        self.refuse_for(FULL);
    }
}

impl UnqueuedEvent {
    /// Logs the event and the reason, without a dead letter.
    fn refuse_for(&self, why: &str) {
        let Notice { program, json, .. } = &*self.0;
        let shown = shown_path(&program.path);
        log::error!(target: LOG, "hooks.program: {shown}: {why}; the event was {}", json.trim_end());
    }
}
