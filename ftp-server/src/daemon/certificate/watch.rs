//! Detects and loads changed certificate files, and reports how long certificates are valid.

use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use log::Level;

use super::{DAY, FileCertificate, Loaded, SOON, in_days, seconds_left};
use crate::daemon::config::{Config, Settings};
use ftp_proto::text::values::shown_path;

/// Pause between two reports of a certificate that expires soon.
const PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Remaining validity, in seconds, below which the expiry is reported each day.
const REPORTED: i64 = 21 * DAY;

/// Level of a message about a certificate, and how long the certificate is valid.
pub(crate) type Validity = (Level, String);

/// The certificate files of a plan, and when to check them.
pub(crate) struct Watch {
    files: Vec<WatchedFile>,
    /// Whether a check is in progress, perhaps one that began before a reload.
    is_looking: bool,
    interval: Duration,
    /// When to check the files; `None`: never.
    look_due: Option<Instant>,
    /// When to report certificates that expire soon; `None`: never.
    report_due: Option<Instant>,
    /// The logged reasons why files were not loaded.
    failures: Vec<String>,
}

/// A check of the files, which may take a long time.
pub(crate) struct FileCheck {
    files: Vec<WatchedFile>,
    /// Whether some files could not be loaded last time.
    is_retry: bool,
}

#[derive(Clone)]
struct WatchedFile {
    path: PathBuf,
    /// The state of the file before it was last loaded; `None` if it was missing or not a regular
    /// file.
    stamp: Option<FileStamp>,
}

/// The attributes by which a changed or replaced file is recognised.
#[derive(Clone, Eq, PartialEq)]
struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Nanoseconds,
    changed: Nanoseconds,
}

/// Seconds and nanoseconds of a time.
type Nanoseconds = (i64, i64);

impl FileStamp {
    /// Returns the stamp of a regular file, or of the regular file that a symbolic link leads to.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Watch {
    /// Returns a watch that starts from the current state of the files. Call this function before
    /// the files are loaded, so that a change in the meantime is detected.
    pub(crate) fn of(settings: &Settings) -> Self {
        let files = settings.certificate_files().into_iter();
        let watched =
            |path: &Path| WatchedFile { path: path.to_owned(), stamp: FileStamp::of(path) };
        let files: Vec<WatchedFile> = files.map(|(_, path)| watched(path)).collect();
        let interval = settings.tls.watch;
        let has_files = !files.is_empty();
        Self {
            files,
            is_looking: false,
            interval,
            look_due: (has_files && !interval.is_zero()).then(|| Instant::now() + interval),
            report_due: has_files.then(|| Instant::now() + PAUSE),
            failures: Vec::new(),
        }
    }

    /// Takes over the state of the watch from before a reload. A reload neither delays the daily
    /// report nor starts a second check while one hangs.
    pub(crate) fn after(self, former: &Self) -> Self {
        let report_due = self.report_due.map(|due| former.report_due.unwrap_or(due));
        Self { is_looking: former.is_looking, report_due, ..self }
    }

    /// Returns the time until the next check or report is due, or `None` if none ever is.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let due = [self.look_due, self.report_due].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Returns a check if one is due and none is in progress. The caller must pass the check to
    /// [`end`](Self::end) when it is done.
    pub(crate) fn begin(&mut self) -> Option<FileCheck> {
        let now = Instant::now();
        if self.look_due.is_none_or(|due| now < due) {
            return None;
        }
        self.look_due = Some(now + self.interval);
        if self.is_looking {
            return None;
        }
        self.is_looking = true;
        Some(FileCheck { files: self.files.clone(), is_retry: !self.failures.is_empty() })
    }

    /// Records the end of a check. `look` is `None` if the check has no result for these files.
    pub(crate) fn end(&mut self, look: Option<FileCheck>) {
        self.is_looking = false;
        if let Some(look) = look {
            self.files = look.files;
        }
    }

    /// Records why files were not loaded. Returns those that the previous call did not record.
    pub(crate) fn loaded(&mut self, failures: Vec<String>) -> Vec<String> {
        let known = std::mem::replace(&mut self.failures, failures);
        self.failures.iter().filter(|why| !known.contains(why)).cloned().collect()
    }

    pub(crate) fn must_report(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.report_due.is_some_and(|due| now >= due);
        if is_due {
            self.report_due = Some(now + PAUSE);
        }
        is_due
    }
}

impl FileCheck {
    /// Returns whether the files must be loaded: they have changed, or could not be loaded last
    /// time.
    pub(crate) fn must_load(&mut self) -> bool {
        let mut has_changed = self.is_retry;
        for file in &mut self.files {
            // A missing file is a replacement in progress (unlink, then create): keep the stamp and
            // look again later.
            let found = FileStamp::of(&file.path);
            if found.is_some() && found != file.stamp {
                file.stamp = found;
                has_changed = true;
            }
        }
        has_changed
    }
}

/// Describes how long a certificate is valid, with the level for the log.
pub(crate) fn validity(certificate: &FileCertificate) -> Option<Validity> {
    let left = seconds_left(&certificate.tls)?;
    let level = if left < SOON { Level::Warn } else { Level::Info };
    Some((level, format!("{} {}", shown_path(&certificate.path), in_days(left))))
}

/// Returns the validity if the certificate expires so soon that it is reported each day.
pub(crate) fn urgent_validity(certificate: &FileCertificate) -> Option<Validity> {
    seconds_left(&certificate.tls).filter(|left| *left < REPORTED)?;
    validity(certificate)
}

// Loads changed certificates in a thread. A file on a hung network mount must not block the main
// thread, which notifies the watchdog of the service manager.

pub(crate) struct Renewal {
    pub(crate) look: FileCheck,
    pub(crate) config: Arc<Config>,
    pub(crate) former: Loaded,
}

pub(crate) struct Renewed {
    pub(crate) look: FileCheck,
    pub(crate) config: Arc<Config>,
    /// `None` if the files did not need to be loaded.
    pub(crate) loaded: Option<Result<Loaded, String>>,
}

impl Renewal {
    /// Checks the files, and loads them if they have changed or could not be loaded last time.
    pub(crate) fn carry_out(self) -> Renewed {
        let Self { mut look, config, former } = self;
        let loaded = unharmed(|| {
            look.must_load().then(|| {
                let loaded = former.renew(&config.settings);
                loaded.map_err(|failure| failure.message)
            })
        });
        Renewed { look, config, loaded }
    }
}

/// Does the work, and turns a panic into a failure: without a result, no further check would begin.
fn unharmed<T>(work: impl FnOnce() -> Option<Result<T, String>>) -> Option<Result<T, String>> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Some(Err("internal error while checking the certificates".to_owned())))
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("is_new", &self.loaded.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)] // DIFF #[cfg(all(test, feature = "tls"))]#[cfg(test)]
mod tests {
    use ftp_proto::TimeVal;
    use ftp_tests::root::TempRoot;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::Tls;

    /// Returns a watch for which a check is always due.
    fn watch(paths: &[PathBuf]) -> Watch {
        let mut settings = Settings::default();
        settings.tls.certificate = paths.first().cloned();
        settings.tls.key = paths.get(1).cloned();
        settings.tls.watch = Duration::from_nanos(1);
        Watch::of(&settings)
    }

    fn must_load(watch: &mut Watch) -> bool {
        while watch.look_due.is_some_and(|due| Instant::now() < due) {
            std::thread::yield_now();
        }
        let mut look = watch.begin().expect("a look is due");
        let must_load = look.must_load();
        watch.end(Some(look));
        must_load
    }

    #[test]
    fn a_file_that_is_replaced_or_written_is_noticed_once() {
        let root = TempRoot::new();
        let paths = [root.write("crt", b"a"), root.write("key", b"k")];
        let mut watch = watch(&paths);
        assert!(!must_load(&mut watch));
        // A file of the same length.
        fs::write(root.join("new"), b"b").unwrap();
        fs::rename(root.join("new"), &paths[0]).unwrap();
        assert!(must_load(&mut watch) && !must_load(&mut watch));
        fs::write(&paths[1], b"kk").unwrap();
        assert!(must_load(&mut watch) && !must_load(&mut watch));
        // A symbolic link replaces the file, as when certbot renews a certificate.
        root.write("crt2", b"b");
        fs::remove_file(&paths[0]).unwrap();
        assert!(!must_load(&mut watch), "the file is missing for a moment only");
        std::os::unix::fs::symlink("crt2", &paths[0]).unwrap();
        assert!(must_load(&mut watch) && !must_load(&mut watch));
        // A file that was replaced by a directory is not loaded.
        fs::remove_file(&paths[1]).unwrap();
        fs::create_dir(&paths[1]).unwrap();
        assert!(!must_load(&mut watch));
    }

    #[test]
    fn a_failure_is_retried_and_reported_once() {
        let root = TempRoot::new();
        let mut watch = watch(&[root.write("crt", b"a"), root.write("key", b"k")]);
        let told = |watch: &mut Watch, failures: &[&str]| {
            let failures = failures.iter().map(|&why| why.to_owned());
            watch.loaded(failures.collect()).join(" ")
        };
        assert_eq!(told(&mut watch, &["x"]), "x");
        assert!(must_load(&mut watch), "although nothing has changed");
        assert_eq!(told(&mut watch, &["x"]), "");
        assert_eq!(told(&mut watch, &["x", "z"]), "z");
        assert_eq!(told(&mut watch, &["y"]), "y");
        assert_eq!(told(&mut watch, &[]), "");
        assert!(!must_load(&mut watch));
        assert_eq!(told(&mut watch, &["y"]), "y");
    }

    #[test]
    fn no_second_check_starts_while_one_hangs() {
        let root = TempRoot::new();
        let paths = [root.write("crt", b"a"), root.write("key", b"k")];
        let mut former = watch(&paths);
        let hung = former.begin().unwrap();
        former.report_due = Some(Instant::now());
        // A reload neither starts a second check nor delays the report.
        let mut later = watch(&paths).after(&former);
        assert!(later.begin().is_none() && later.begin().is_none());
        assert!(later.must_report());
        later.end(None);
        assert!(!must_load(&mut later));
        drop(hung);
    }

    #[test]
    fn no_check_is_due_without_an_interval_or_files() {
        let mut settings = Settings::default();
        assert_eq!(Watch::of(&settings).pause(), None);
        settings.tls.watch = Duration::ZERO;
        let file = TempRoot::new().join("crt");
        settings.tls.certificate = Some(file);
        let mut watch = Watch::of(&settings);
        assert_eq!(watch.look_due, None);
        assert!(watch.begin().is_none());
        // The daily report does not depend on the interval.
        assert!(watch.pause().is_some_and(|pause| pause > PAUSE / 2));
        assert!(!watch.must_report());
        watch.report_due = Some(Instant::now());
        assert!(watch.must_report() && !watch.must_report());
    }

    #[test]
    fn only_certificates_that_expire_soon_are_reported_daily() {
        let certificate = |end: TimeVal| {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(end.year().into(), end.month(), end.day());
            let key = KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
            Tls::from_pem(pem.as_bytes(), pem.as_bytes()).unwrap()
        };
        let far = certificate(TimeVal::new(2100, 1, 1, 0, 0, 0).unwrap());
        let now = far.not_after().unwrap().unix_seconds() - seconds_left(&far).unwrap();
        for (days, level, is_urgent) in [(300, Level::Info, false), (10, Level::Warn, true)] {
            let tls = certificate(TimeVal::from_unix_seconds(now + days * DAY).unwrap());
            let path = PathBuf::from("/x/server.crt");
            let certificate = FileCertificate { key: path.clone(), path, host: None, tls };
            let (found, words) = validity(&certificate).unwrap();
            assert_eq!(found, level, "{words}");
            assert!(words.starts_with("/x/server.crt expires in "), "{words}");
            assert_eq!(urgent_validity(&certificate).is_some(), is_urgent, "{words}");
        }
    }

    #[test]
    fn certificate_expiry_is_shown_in_whole_days() {
        for (left, want) in [
            (-1, "has expired"),
            (0, "expires in less than a day"),
            (DAY - 1, "expires in less than a day"),
            (DAY, "expires in 1 day"),
            (21 * DAY - 1, "expires in 20 days"),
        ] {
            assert_eq!(in_days(left), want, "{left}");
        }
    }

    #[test]
    fn a_panicking_check_counts_as_failed() {
        let failed = unharmed::<()>(|| panic!("a certificate that no parser expects"));
        assert_eq!(failed, Some(Err("internal error while checking the certificates".to_owned())));
        assert_eq!(unharmed(|| Some(Ok(1))), Some(Ok(1)));
        assert_eq!(unharmed::<()>(|| None), None);
    }
}
