//! Downloads one file to a local target, completely or not at all. Also finds that target.
//!
//! If the user's path is a symbolic link, the file that it leads to is replaced. A FIFO or device
//! receives the data. An existing file stays until the new one is complete, except with
//! `--in-place`.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf, is_separator};

use ftp_client::error::JobFault;
use ftp_client::file::{Left, Why};
use ftp_client::{Client, Done, Error, FileOptions, Get, Observer, Place};
use ftp_proto::{FtpUrl, RepresentationType, Verb};

use super::{Attempt, Context, RemoteFile, TransferDisplay, not_moved, unverified, wrong_size};
use crate::connect::Sessions;
use crate::console::Output;
use crate::console::output::{shown, shown_path};
use crate::exit::{CREATE_DIRECTORIES, Exit, Failure, Result};
use crate::remote;
use crate::system::OsStrExt;

/// Downloads a file. If the attempt must start from byte 0, does not resume a partial file.
///
/// # Errors
///
/// Returns the failure. The target is then unchanged, except with `--continue`, `--in-place` or
/// `--remove-source`, or if it is a stream.
pub(crate) fn download<'j>(
    context: &'j Context<'_>,
    client: &mut Client,
    remote: &mut RemoteFile<'_>,
    target: &'j Target,
    attempt: Attempt<'_, 'j>,
) -> Result<Done> {
    let is_directory = Cell::new(false);
    let done = run(context, remote, target, attempt, |job, show| {
        job.attempt(client, show).inspect_err(|error| {
            let is_refused = matches!(error, Error::Refused { verb: Verb::Retr | Verb::Size, .. })
                && remote::is_about_name(error);
            // Several files may be missing, and each question takes round trips.
            is_directory.set(
                is_refused
                    && context.is_of_one
                    && remote::is_directory(client, job.place().path()) == Some(true),
            );
        })
    });
    done.map_err(|failure| {
        let hint = match is_directory.get() {
            true => "; use ftp-cli get -r to download a directory",
            false => "",
        };
        // As after an upload.
        let fatal = failure.fatal || failure.exit == Exit::Local && !client.is_settled();
        Failure { fatal, ..failure }.context(remote.name).hinted(hint)
    })
}

/// `--segments`: downloads a file over several connections.
///
/// # Errors
///
/// Returns the same failures as [`download`].
pub(crate) fn in_segments<'j>(
    context: &'j Context<'_>,
    sessions: &mut Sessions<'_>,
    url: &FtpUrl,
    (remote, target): (&RemoteFile<'_>, &'j Target),
    attempt: Attempt<'_, 'j>,
) -> Result<Done> {
    let pool = sessions.pool_of(url)?;
    let most = context.settings.segments;
    run(context, remote, target, attempt, |job, show| job.attempt_over(&pool, most, show))
}

fn run<'j>(
    context: &'j Context<'_>,
    remote: &RemoteFile<'_>,
    target: &'j Target,
    attempt: Attempt<'_, 'j>,
    download: impl FnOnce(&mut Get<'_>, &dyn Observer) -> Result<Done, Error>,
) -> Result<Done> {
    let show = TransferDisplay::new(context, remote.name, attempt.fields).to(target);
    let attempted = |job: &mut Get<'_>| {
        job.set_place(remote.place.clone());
        if attempt.from_start {
            job.start_over();
        }
        let done = download(job, &show);
        let is_binary = remote.representation == RepresentationType::Image;
        done.map_err(|error| failure_of(context, target, error, job.left(), is_binary))
    };
    match target {
        Target::Output => {
            let checks = context.refuses_binary;
            let mut output = CheckedOutput { output: context.output.clone(), checks };
            attempted(&mut job(context, remote, |place, options| {
                Get::to_writer(place, &mut output, options)
            }))
        }
        Target::Direct(path) => {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|error| Failure::local(shown_path(path), &error))?;
            let mut file = DirectFile(file);
            attempted(&mut job(context, remote, |place, options| {
                Get::to_writer(place, &mut file, options)
            }))
        }
        Target::File(path) => {
            let new = |place, options: &_| match context.settings.in_place {
                true => Get::in_place(place, path, options),
                false => Get::to_path(place, path, options),
            };
            let mut kept = attempt.memory.borrow_mut();
            attempted(kept.get_or_insert_with(|| job(context, remote, new)))
        }
    }
}

fn job<'j>(
    context: &'j Context<'_>,
    remote: &RemoteFile<'_>,
    new: impl FnOnce(Place, &FileOptions) -> Get<'j>,
) -> Get<'j> {
    let options = context.settings.of_file(remote.representation);
    let job = new(remote.place.clone(), &options).among(&context.targets);
    job.known_as(remote.name.to_string(), remote.user.clone())
}

/// Returns the failure of a download, with a hint about the received bytes.
fn failure_of(
    context: &Context<'_>,
    target: &Target,
    error: Error,
    left: &Left,
    is_binary: bool,
) -> Failure {
    let (verify, preserve) = (context.settings.verify, context.settings.preserve);
    let fatal = error.affects_others();
    let mut failure = match (error, target) {
        (Error::Local(error), Target::Output) => Failure::output(&error),
        (Error::Local(error), Target::Direct(path)) => Failure::local(shown_path(path), &error),
        (Error::Local(error), _) if error.kind() == ErrorKind::AlreadyExists => {
            Failure::item(Exit::Partial, error.to_string())
        }
        (Error::Local(error), Target::File(path)) => {
            use ErrorKind::{PermissionDenied, ResourceBusy};
            let is_closed = matches!(error.kind(), PermissionDenied | ResourceBusy);
            let hint = match is_closed && !context.settings.in_place && path.is_file() {
                true => "; use --in-place to write to the file itself",
                false => "",
            };
            Failure { fatal, ..Failure::new(Exit::Local, format!("{error}{hint}")) }
        }
        (Error::Incomplete { bytes, announced: Some(asked), .. }, _)
            if matches!(left, Left::Ranges(_)) && bytes > asked =>
        {
            let message = "the server sent more than the rest of the file: it ignores REST, or the file has grown";
            Failure::item(Exit::Integrity, message).never_retried()
        }
        (Error::Incomplete { bytes, announced: Some(size), .. }, _)
            if matches!(left, Left::Wrong | Left::Part(_) | Left::InPlace) =>
        {
            let mut failure = wrong_size(bytes, size);
            failure.message.push_str("; use --verify none for a growing file");
            failure
        }
        (Error::Changed, _) => {
            Failure::item(Exit::Integrity, "the file on the server changed during the download")
        }
        (error @ Error::Job(JobFault::Unreported(_)), _) if preserve => {
            Failure::from(error).context("--preserve")
        }
        (error @ Error::Job(_), _) => not_moved(&error),
        (error, _) => unverified(&error, verify).unwrap_or_else(|| error.into()),
    };
    let hint = match left {
        // These options exclude -c.
        Left::Removed if !is_binary || context.settings.removes_source => return failure,
        Left::Removed => "; partial file removed; use -c to keep it and resume".to_owned(),
        Left::Part(part) => {
            format!("; partial file kept in {}; use -c to resume", shown_path(part))
        }
        Left::Ranges(first) => {
            let hint = "run the same command again to resume from the ranges in";
            format!("; {hint} {}*", shown_path(first))
        }
        // Without -c, nothing shows later where the bytes came from.
        Left::InPlace if context.settings.resume => "; use -c to resume".to_owned(),
        Left::Stream => return failure.never_retried(),
        _ => return failure,
    };
    if failure.is_signal() {
        let _ = context.witness.messages.usage.left.set(hint.clone());
    }
    failure.message.push_str(&hint);
    failure
}

/// Standard output. If it is checked, the first bytes must not be those of a binary file, which would
/// change the state of a terminal.
struct CheckedOutput {
    output: Output,
    checks: bool,
}

impl Write for CheckedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.checks) && bytes.contains(&0) {
            return Err(io::Error::other("the file is binary; use get, or -o - to show it"));
        }
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A FIFO or device that receives a download.
struct DirectFile(File);

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.sync_all() {
            // FIFOs and devices need no sync and report EINVAL.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

/// Returns the note that a download does not use the bytes of the file `name`.
pub(crate) fn from_zero(name: &str, why: Why, is_target: bool) -> String {
    // What differs would be kept.
    let is_kept = is_target && !matches!(why, Why::TailDiffers | Why::Refuted);
    let why = match why {
        Why::NoRestart => return "the server cannot resume: downloading from the start".to_owned(),
        Why::AnotherSource => "may belong to another file",
        Why::AnotherVersion => "may belong to another version of the file",
        Why::NotFlushed => "may be damaged, because the run ended before its bytes were on disk",
        Why::TailDiffers | Why::Refuted => "differs from the file on the server",
        _ => "may belong to another file, because nothing shows where its bytes came from",
    };
    let hint = match is_kept {
        true => "; use --if-changed to keep a file of the same size and time",
        false => "",
    };
    format!("{name} {why}: downloading from the start{hint}")
}

/// Returns whether the target exists, so that `--no-clobber` keeps it.
pub(crate) fn exists(target: &Target) -> bool {
    matches!(target, Target::File(path) if fs::symlink_metadata(path).is_ok())
}

/// Meaning of LOCAL.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Standard output (`-`).
    Output,
    /// Existing object that is neither file nor directory: FIFO, device.
    Direct(PathBuf),
    /// An existing or new file.
    File(PathBuf),
}

/// Returns the last part of a path on a server.
///
/// # Errors
///
/// Returns `Usage` if that does not name a file.
pub(crate) fn name_of(path: &[u8]) -> Result<&[u8]> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if matches!(name, b"" | b"." | b"..") {
        let name = shown(name);
        return Err(Failure::usage(format!(
            "the path ends in \"{name}\", which does not name a file"
        )));
    }
    Ok(name)
}

/// Returns the local name of a server's file: the last part of its path.
///
/// # Errors
///
/// Returns `Usage` if that does not name a file, and `Local` if it cannot name one on this system.
pub(crate) fn local_name_of(remote: &[u8]) -> Result<OsString> {
    let name = name_of(remote)?;
    let local = Place::at(name).local_name().map(OsStr::to_owned);
    local.map_err(|error| {
        Failure::local(shown(name), &error).hinted("; name the local file: ftp-cli get URL LOCAL")
    })
}

/// Formats the target for messages.
impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output => f.write_str("standard output"),
            Self::Direct(path) | Self::File(path) => f.write_str(&shown_path(path)),
        }
    }
}

impl Target {
    /// Finds the local target of the remote file `remote` for the operand LOCAL. If LOCAL is an
    /// existing directory, the file keeps its name there. Without LOCAL, it keeps its name in the
    /// current directory. Creates missing directories if `creates` is set.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the target cannot be a file, and `Usage` if there is no valid name.
    pub(crate) fn find(local: Option<&OsStr>, remote: &[u8], creates: bool) -> Result<Self> {
        let Some(local) = local else { return Self::file(Path::new(&local_name_of(remote)?)) };
        if local == "-" {
            return Ok(Self::Output);
        }
        let path = Path::new(local);
        if creates {
            let is_directory = ends_as_directory(local);
            make_directories(if is_directory { path } else { parent(path) })?;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Self::file(&path.join(local_name_of(remote)?)),
            _ if local.is_empty() => Err(Failure::usage("LOCAL is empty")),
            _ => Self::file(path),
        }
    }

    /// Checks that files can be created in `directory`, and creates it if `creates` is set.
    ///
    /// # Errors
    ///
    /// Returns `Local` if it is missing or not a directory.
    pub(crate) fn check_directory(directory: &Path, creates: bool) -> Result {
        if creates {
            make_directories(directory)?;
        }
        check_is_directory(directory, directory)
    }

    /// Returns the name for messages and events.
    pub(crate) fn name(&self) -> &[u8] {
        match self {
            Self::Output => b"-",
            Self::Direct(path) | Self::File(path) => path.as_os_str().as_bytes(),
        }
    }

    fn file(named: &Path) -> Result<Self> {
        Self::at(named.to_owned(), named)
    }

    /// Returns the target at `path`, to which links at `named` lead.
    fn at(path: PathBuf, named: &Path) -> Result<Self> {
        let fail = |error: &io::Error| Err(Failure::local(shown_path(named), error));
        let found = fs::metadata(&path);
        match &found {
            Ok(metadata) if metadata.is_dir() => return fail(&ErrorKind::IsADirectory.into()),
            // A link in /proc/self/fd may lead to an object without a name.
            Ok(metadata) if !metadata.is_file() => return Ok(Self::Direct(path)),
            Err(error) if error.kind() != ErrorKind::NotFound => return fail(error),
            _ => {}
        }
        // The system has refused links that lead in a circle.
        if let Ok(to) = fs::read_link(&path) {
            return Self::at(path.parent().unwrap_or(Path::new("")).join(to), named);
        }
        if let Err(error) = found {
            if ends_as_directory(path.as_os_str()) {
                return Err(missing(named, &error));
            }
            check_is_directory(parent(&path), named)?;
        }
        Ok(Self::File(path))
    }
}

/// Checks that `named` can be created in `directory`.
fn check_is_directory(directory: &Path, named: &Path) -> Result {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::local(shown_path(named), &ErrorKind::NotADirectory.into())),
        Err(error) => Err(missing(named, &error)),
    }
}

fn missing(named: &Path, error: &io::Error) -> Failure {
    let hint = if error.kind() == ErrorKind::NotFound { CREATE_DIRECTORIES } else { "" };
    Failure::local(shown_path(named), error).hinted(hint)
}

pub(crate) fn ends_as_directory(path: &OsStr) -> bool {
    path.as_bytes().last().is_some_and(|last| is_separator(char::from(*last)))
}

fn make_directories(path: &Path) -> Result {
    fs::create_dir_all(path).map_err(|error| Failure::local(shown_path(path), &error))
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::os::unix::fs::symlink;

    /// Returns the target for LOCAL `local` in `directory`, for a remote `pub/r.txt`.
    #[cfg(unix)]
    fn found(directory: &Path, local: &str) -> Result<Target> {
        Target::find(Some(directory.join(local).as_os_str()), b"pub/r.txt", false)
    }

    #[test]
    fn name_of_is_the_last_part() {
        for (remote, want) in [
            ("a", Some("a")),
            ("pub/a b", Some("a b")),
            ("/pub/-x", Some("-x")),
            ("", None),
            ("a/", None),
            ("a/.", None),
            ("..", None),
            ("a/..", None),
            ("...", Some("...")),
        ] {
            let name = name_of(remote.as_bytes());
            assert_eq!(name.as_ref().ok().copied(), want.map(str::as_bytes), "{remote}");
            assert!(name.is_ok() || name.unwrap_err().exit == Exit::Usage);
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_local_target_follows_links_the_user_named_li_08_hl_05_hl_06() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("dir")).unwrap();
        fs::create_dir_all(root.join("taken/r.txt")).unwrap();
        fs::write(root.join("file"), "old").unwrap();
        symlink("dir", root.join("to-dir")).unwrap();
        symlink("file", root.join("to-file")).unwrap();
        symlink("to-file", root.join("to-link")).unwrap();
        symlink("dir/new", root.join("dangling")).unwrap();
        symlink("/dev/null", root.join("to-null")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (local, want) in [
            ("file", Some("file")),
            ("new", Some("new")),
            ("dir", Some("dir/r.txt")),
            ("dir/", Some("dir/r.txt")),
            ("to-dir", Some("to-dir/r.txt")),
            ("to-file", Some("file")),
            ("to-link", Some("file")),
            ("dangling", Some("dir/new")),
            ("taken", None),
            ("loop", None),
            ("new/", None),
            ("file/x", None),
            ("nowhere/x", None),
        ] {
            match (found(root, local), want) {
                (Ok(Target::File(path)), Some(want)) => {
                    assert_eq!(path, root.join(want), "{local}");
                }
                (Err(failure), None) => {
                    assert_eq!(failure.exit, Exit::Local, "{local}");
                }
                (found, _) => panic!("{local}: {found:?}"),
            }
        }
        assert!(matches!(found(root, "to-null"), Ok(Target::Direct(_))));
        assert!(matches!(found(root, "/dev/null"), Ok(Target::Direct(_))));
        assert!(matches!(Target::find(Some(OsStr::new("-")), b"r", false), Ok(Target::Output)));
        assert!(Target::find(Some(OsStr::new("")), b"r", false).is_err());
        assert!(
            matches!(Target::find(None, b"p/r", false), Ok(Target::File(path)) if path == Path::new("r"))
        );
    }
}
