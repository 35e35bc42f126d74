//! Runs programs after events: `hooks.stored` after each completed upload, `hooks.program` after
//! the events of `hooks.events`.

mod check;
mod dead_letters;
mod event;
mod notice;
mod pool;
mod process;
mod queue;
mod stored;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ftp_server::{Event, Observer};

pub(crate) use self::event::HookEvent;
use self::notice::{Letter, Notice};
use self::pool::{Job, Pool};
use self::stored::Stored;
use super::findings::Findings;
use super::logging::LOG;
use super::settings::{HookSettings, Settings};
use crate::lock::lock;

/// Time that the shutdown leaves to the last events for which there was no place in the queue.
const LAST_LETTERS: Duration = Duration::from_secs(2);

/// Lines that always fit into the queue of the log.
const LINES_AT_ONCE: usize = 100;

/// Runner of the programs that are set.
pub(super) struct Hooks {
    programs: Mutex<Programs>,
    uploads: Arc<Pool<Stored>>,
    notices: Arc<Pool<Notice>>,
    letters: Arc<Pool<Letter>>,
}

/// Programs for further events.
#[derive(Clone, Default)]
struct Programs {
    stored: Option<Arc<stored::Program>>,
    notified: Option<Arc<notice::Program>>,
}

impl Hooks {
    /// Returns a runner without programs.
    pub(super) fn new() -> Self {
        let uploads = Arc::new(Pool::new(false));
        let notices = Arc::new(Pool::new(true));
        let letters = Arc::new(Pool::new(false));
        Self { programs: Mutex::default(), uploads, notices, letters }
    }

    /// Starts the threads that these settings need.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it refuses a thread.
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

    /// Applies settings that [`prepare`](Self::prepare) has accepted, to further events.
    pub(super) fn set(&self, settings: &Settings) {
        let hooks = &settings.hooks;
        self.uploads.set(stored::AT_ONCE);
        self.notices.set(hooks.processes);
        self.letters.set(1);
        *lock(&self.programs) = Programs {
            stored: stored::Program::of(hooks).map(Arc::new),
            notified: notice::Program::of(hooks, &self.letters).map(Arc::new),
        };
    }

    /// Makes [`finish`](Self::finish) stop waiting.
    pub(super) fn cut(&self) {
        self.uploads.cut();
        self.notices.cut();
    }

    /// Waits for the queued programs for at most `limit`, then kills the running ones and accounts
    /// for the others, in the log `settle` waits for.
    pub(super) fn finish(&self, limit: Duration, settle: impl Fn()) {
        let start = Instant::now();
        let left = self.uploads.finish(limit).len();
        if left > 0 {
            log::error!(target: LOG, "hooks.stored: not started for {left} files: the server is stopping");
        }
        let left = self.notices.finish(limit.saturating_sub(start.elapsed()));
        for (notice, count) in left.into_iter().zip(1..) {
            notice.fail("not started: the server is stopping");
            if count % LINES_AT_ONCE == 0 {
                settle();
            }
        }
        for letter in self.letters.finish(LAST_LETTERS) {
            // It writes itself.
            let _ = letter.run(&|| true);
        }
    }
}

/// Looks at programs and directory for `--check`.
pub(super) fn check(settings: &HookSettings, findings: &mut Findings) {
    check::check(settings, findings);
}

impl Observer for Hooks {
    fn observe(&self, event: &Event<'_>) {
        let programs = lock(&self.programs).clone();
        if let Some(stored) = programs.stored.and_then(|program| Stored::of(&program, event)) {
            self.uploads.push(stored);
        }
        if let Some(notice) = programs.notified.and_then(|program| Notice::of(&program, event)) {
            self.notices.push(notice);
        }
    }
}
