//! `hooks.stored`: a program that runs after each completed upload. Environment variables describe
//! the file.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ftp_proto::Escaped;

use super::STUCK;
use crate::daemon::config::HookSettings;
use crate::daemon::logging::LOG;
use crate::daemon::programs as process;
use crate::daemon::programs::pool::Job;
use crate::daemon::programs::queue::Queued;
use crate::daemon::users;
use crate::{Direction, Event, EventKind, Transfer};

/// Number of programs that run at once.
pub(super) const AT_ONCE: usize = 4;

/// Program to start, and its timeout.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct StoredProgram {
    program: String,
    arguments: Vec<String>,
    limit: Duration,
}

impl StoredProgram {
    /// Returns the program of these settings, if there is one.
    pub(super) fn of(settings: &HookSettings) -> Option<Self> {
        let (program, arguments) = settings.stored.split_first()?;
        let (program, arguments) = (program.clone(), arguments.to_vec());
        Some(Self { program, arguments, limit: settings.timeout })
    }
}

/// A stored file.
#[derive(Debug)]
pub(super) struct Stored {
    program: Arc<StoredProgram>,
    user: Vec<u8>,
    peer: IpAddr,
    /// The path as the user sees it; `local` is the path on disk.
    path: Vec<u8>,
    local: Option<PathBuf>,
    bytes: u64,
}

impl Stored {
    /// Returns the stored file, if the event is a complete upload.
    pub(super) fn of(program: &Arc<StoredProgram>, event: &Event<'_>) -> Option<Self> {
        let EventKind::Transferred(Transfer { direction, end, path, bytes, .. }) = event.kind
        else {
            return None;
        };
        (direction == Direction::Received && end.is_whole()).then(|| Self {
            program: Arc::clone(program),
            user: event.user.unwrap_or_default().to_vec(),
            peer: event.peer.ip(),
            path: path.as_bytes().to_vec(),
            local: users::local_path(path),
            bytes,
        })
    }

    fn complain(&self, why: &str) {
        let program = &self.program.program;
        let path = Escaped(&self.path);
        let user = Escaped(&self.user);
        log::error!(target: LOG, "hooks.stored: {program} for {path} of {user}: {why}");
    }
}

impl Queued for Stored {
    fn user(&self) -> &[u8] {
        &self.user
    }

    fn size(&self) -> usize {
        // Each file counts the same, whatever its name.
        0
    }
}

impl Job for Stored {
    fn run(&self, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let mut command = process::command(&self.program.program);
        command.args(&self.program.arguments);
        command.env("FTP_USER", OsStr::from_bytes(&self.user));
        command.env("FTP_PEER", self.peer.to_string());
        command.env("FTP_PATH", OsStr::from_bytes(&self.path));
        command.env("FTP_BYTES", self.bytes.to_string());
        command.envs(self.local.iter().map(|path| ("FTP_LOCAL_PATH", path)));
        process::run(&mut command, self.program.limit, is_over, &STUCK)
    }

    fn fail(&self, why: &str) {
        self.complain(why);
    }

    fn refuse(self: Arc<Self>) {
        self.complain("not started: the queue is full");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::programs::pool::ProgramPool;
    use crate::daemon::programs::queue::JOBS;

    fn stored(arguments: &[&str]) -> Stored {
        let (program, arguments) = arguments.split_first().unwrap();
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        let limit = Duration::from_secs(60);
        let program = Arc::new(StoredProgram { program: (*program).to_owned(), arguments, limit });
        let user = b"u".to_vec();
        let peer = [127, 0, 0, 1].into();
        Stored { program, user, peer, path: b"/a b".to_vec(), local: None, bytes: 5 }
    }

    #[test]
    fn a_hook_gets_the_upload_details_in_its_environment() {
        let test = "[ \"$FTP_USER $FTP_PEER $FTP_PATH $FTP_BYTES ${FTP_LOCAL_PATH-none}\" = \
                    \"u 127.0.0.1 /a b 5 none\" ] && [ \"$#\" = 2 ] && [ \"$2\" = '$(id) ;' ]";
        let arguments = ["/bin/sh", "-c", test, "sh", "a  b", "$(id) ;"];
        assert_eq!(stored(&arguments).run(&|| false), Ok(()));
    }

    #[test]
    fn at_most_one_thousand_jobs_are_queued() {
        let pool = ProgramPool::new("hooks", false);
        for _ in 0..JOBS + 3 {
            pool.push(Arc::new(stored(&["/bin/true"])));
        }
        assert_eq!(pool.end().len(), JOBS);
        pool.push(Arc::new(stored(&["/bin/true"])));
        assert!(pool.end().is_empty());
    }
}
