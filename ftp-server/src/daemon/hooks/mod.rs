//! Runs programs after events: `hooks.stored` after each completed upload, `hooks.program` after
//! the events of `hooks.events`.

mod dead_letters;
mod event;
mod last;
mod notice;
mod stored;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::{Event, Observer};

pub(crate) use self::event::HookEvent;
use self::last::{LastLines, Left};
use self::notice::{FULL, Notice, UnqueuedEvent};
use self::stored::Stored;
use super::config::Settings;
use super::logging::LOG;
use super::programs::Stuck;
use super::programs::pool::{Job, ProgramPool};
use crate::daemon::values::{counted, shown_path};
use crate::lock::unpoisoned;

/// Time limit at shutdown for killed programs to end and dead letters to be written. It is longer
/// than the time limit for a single killed program.
const LAST_LETTERS: Duration = Duration::from_secs(3);

/// Hooks that were killed but have not ended.
static STUCK: Stuck = Stuck::new();

/// Reasons why events were not handled before the server stopped.
const NOT_STARTED: &str = "not started: the server is stopping";
const KILLED: &str = "killed: the server is stopping";

/// Runner of the configured programs.
pub(super) struct Hooks {
    programs: Mutex<Programs>,
    uploads: Arc<ProgramPool<Stored>>,
    notices: Arc<ProgramPool<Notice>>,
    letters: Arc<ProgramPool<UnqueuedEvent>>,
}

/// Programs for the next events.
#[derive(Clone, Default)]
struct Programs {
    stored: Option<Arc<stored::StoredProgram>>,
    notified: Option<Arc<notice::NoticeProgram>>,
}

impl Hooks {
    /// Returns a runner without programs.
    pub(super) fn new() -> Self {
        let uploads = Arc::new(ProgramPool::new("hooks", false));
        let notices = Arc::new(ProgramPool::new("hooks", true));
        let letters = Arc::new(ProgramPool::new("hooks", false));
        Self { programs: Mutex::default(), uploads, notices, letters }
    }

    /// Starts the threads that these settings need.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a thread cannot be started.
    pub(super) fn prepare(&self, settings: &Settings) -> io::Result<()> {
        let hooks = &settings.hooks;
        if !hooks.stored.is_empty() {
            self.uploads.prepare(stored::AT_ONCE)?;
        }
        if hooks.program.is_some() {
            self.notices.prepare(hooks.processes)?;
            self.letters.prepare(1)?;
        }
        Ok(())
    }

    /// Applies settings to later events; [`prepare`](Self::prepare) must have accepted them.
    pub(super) fn set(&self, settings: &Settings) {
        let hooks = &settings.hooks;
        self.uploads.set(stored::AT_ONCE);
        self.notices.set(hooks.processes);
        self.letters.set(1);
        if let (Some(_), Some(path)) = (&hooks.program, &hooks.dead_letters)
            && !path.is_dir()
        {
            let shown = shown_path(path);
            log::warn!(
                target: LOG,
                "hooks.dead_letters: {shown} is not a directory; until it is one, undelivered events are kept only in the log"
            );
        }
        *unpoisoned(self.programs.lock()) = Programs {
            stored: stored::StoredProgram::of(hooks).map(Arc::new),
            notified: notice::NoticeProgram::of(hooks, &self.letters).map(Arc::new),
        };
    }

    /// Makes [`finish`](Self::finish) stop waiting.
    pub(super) fn cut(&self) {
        self.uploads.cut();
        self.notices.cut();
    }

    /// Waits at most `limit` for the queued programs. Then kills the running programs, and logs the
    /// events that are left. `settle` waits until log lines are written.
    pub(super) fn finish(&self, limit: Duration, settle: impl Fn()) {
        // Stops both pools first, so that they finish in parallel.
        self.uploads.stop();
        self.notices.stop();
        let now = Instant::now();
        let until = now.checked_add(limit).unwrap_or(now);
        self.uploads.wait(until);
        self.notices.wait(until);
        let files = self.uploads.end().len();
        if files > 0 {
            log::error!(target: LOG, "hooks.stored: not started for {}: the server is stopping", counted(files, "file"));
        }
        let mut left = of(self.notices.end(), NOT_STARTED);
        left.extend(of(letters(self.letters.end()), FULL));
        let until = Instant::now() + LAST_LETTERS;
        let mut lines = LastLines::new(settle);
        let writing = last::begin(&left);
        last::account(left, &writing, until, || self.notices.is_cut(), &mut lines);
        // The threads report the failures of their own jobs, except for jobs that hang.
        for hung in self.uploads.give_up(until) {
            hung.fail(KILLED);
        }
        let mut hung = of(self.notices.give_up(until), KILLED);
        hung.extend(of(letters(self.letters.give_up(until)), FULL));
        for left in hung {
            lines.log(
                &left,
                Err("the server stopped before the dead letter was written".to_owned()),
            );
        }
    }
}

fn of(notices: Vec<Arc<Notice>>, why: &'static str) -> Vec<Left> {
    notices.into_iter().map(|notice| Left { notice, why }).collect()
}

fn letters(letters: Vec<Arc<UnqueuedEvent>>) -> Vec<Arc<Notice>> {
    letters.into_iter().map(|letter| Arc::clone(&letter.0)).collect()
}

impl Observer for Hooks {
    fn observe(&self, event: &Event<'_>) {
        let programs = unpoisoned(self.programs.lock()).clone();
        if let Some(stored) = programs.stored.and_then(|program| Stored::of(&program, event)) {
            self.uploads.push(Arc::new(stored));
        }
        if let Some(notice) = programs.notified.and_then(|program| Notice::of(&program, event)) {
            self.notices.push(Arc::new(notice));
        }
    }
}
