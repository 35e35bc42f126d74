//! Loads the certificates of the server and its virtual hosts from PEM files. Instead of a file,
//! the server itself can use a self-signed certificate, which is created once and kept.

pub(super) mod watch;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ftp_proto::HostName;
use rustix::fs::CWD;

use super::check::Findings;
use super::config::{Config, Host, Protection, Settings, key_of, outgoing};
use crate::daemon::{DaemonError, DaemonErrorKind};
use crate::deadline::unix_now;
use crate::storage::rename_new;
use crate::{PassiveAddress, Tls, TlsError};
use ftp_proto::text::values::{in_full, shown_path};

/// File of the self-signed certificate and its key, in the state directory.
const OWN: &str = "self-signed.pem";

const DAY: i64 = 86_400;

/// Remaining validity, in seconds, below which messages about the expiry are warnings.
const SOON: i64 = 14 * DAY;

const REFUSAL: &str = "clients that verify certificate names will refuse this certificate";

/// Treatment of a certificate that has expired or is not valid yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dates {
    /// Refuse the certificate, unless it is already in use.
    Required,
    /// Use the certificate and report the fault, unless it replaces another one: at boot, the clock
    /// may be wrong.
    Reported,
}

impl Config {
    /// Returns the treatment, at startup, of certificates outside their validity periods.
    pub(super) fn dates(&self) -> Dates {
        if self.has_file() { Dates::Reported } else { Dates::Required }
    }
}

#[derive(Clone)]
pub(super) struct FileCertificate {
    pub(super) path: PathBuf,
    key: PathBuf,
    /// The virtual host; `None` for the server's own certificate.
    pub(super) host: Option<HostName>,
    pub(super) tls: Tls,
}

/// The TLS configuration of a server.
#[derive(Clone, Default)]
pub(super) struct Loaded {
    /// Everything that connections need; `None` without a certificate.
    pub(super) tls: Option<Tls>,
    /// `tls` without the certificates of hosts.
    own: Option<Tls>,
    /// Certificates from files, the server's own first.
    pub(super) files: Vec<FileCertificate>,
    /// Messages about files that cannot be used, and certificates outside their validity period.
    pub(super) failures: Vec<String>,
    /// The self-signed certificate, read once: the process may not read its file after it has
    /// dropped privileges.
    self_signed: Option<Vec<u8>>,
}

impl Loaded {
    /// Returns whether a certificate has replaced a different certificate of `former`.
    pub(super) fn replaces(&self, former: &Self) -> bool {
        let of = |tls: &Tls| tls.certificate().map(<[u8]>::to_vec);
        let own = self.tls.as_ref().zip(former.tls.as_ref());
        own.is_some_and(|(new, old)| of(new) != of(old))
            || self.files.iter().any(|file| file.replaces_one_of(former))
    }
}

impl FileCertificate {
    /// Returns whether this certificate has replaced a different certificate of the same host in
    /// `former`.
    pub(super) fn replaces_one_of(&self, former: &Loaded) -> bool {
        let mut same = former.files.iter().filter(|old| old.host == self.host);
        same.any(|old| old.tls.certificate() != self.tls.certificate())
    }
}

impl Loaded {
    /// Returns the virtual host of each certificate (`None` for the server's own), with the expiry
    /// of the certificate in seconds since 1970.
    pub(super) fn ends(&self) -> Vec<(Option<String>, i64)> {
        let end = |tls: &Tls| tls.not_after().map(|end| end.unix_seconds());
        let own = self.tls.as_ref().and_then(end).map(|end| (None, end));
        let hosts = self.files.iter().filter_map(|certificate| {
            Some((Some(certificate.host.as_ref()?.to_string()), end(&certificate.tls)?))
        });
        own.into_iter().chain(hosts).collect()
    }
}

impl Loaded {
    /// Loads the certificates of `settings` from disk, to replace these. Returns no certificates if the
    /// settings name none of the server. Creates the self-signed certificate if it is missing.
    ///
    /// If the files of a host cannot be used and their paths have not changed, the host keeps its
    /// former certificate. An error of one host must not prevent changes to the others.
    /// A certificate that was in use before stays in use although it has expired.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if a file is unusable, or if there is no directory for the self-signed
    /// certificate. If the self-signed certificate cannot be read or written, returns `Local`. If
    /// that certificate cannot be generated, returns `Unsupported`.
    pub(super) fn load(&self, settings: &Settings, dates: Dates) -> Result<Self, DaemonError> {
        let (own, pem) = self.load_own(settings, dates)?;
        self.with_hosts(own, pem, settings, dates)
    }

    /// Loads the certificates of the same settings again. Unlike [`load`](Self::load), also keeps the
    /// server's own former certificate if its files cannot be used.
    ///
    /// # Errors
    ///
    /// Returns an error of [`load`](Self::load) if there is no former certificate to keep.
    pub(super) fn renew(&self, settings: &Settings) -> Result<Self, DaemonError> {
        let (own, pem) = match (self.load_own(settings, Dates::Required), &self.own) {
            (Err(failure), Some(own)) => {
                let fault = Some(kept(&failure.message));
                (Some(Usable { tls: own.clone(), fault }), self.self_signed.clone())
            }
            (loaded, _) => loaded?,
        };
        self.with_hosts(own, pem, settings, Dates::Required)
    }

    /// Returns the TLS settings with the server's own certificate, if it has one, and the self-signed
    /// certificate, if it is known.
    fn load_own(
        &self,
        settings: &Settings,
        dates: Dates,
    ) -> Result<(Option<Usable>, Option<Vec<u8>>), DaemonError> {
        let protection = &settings.tls;
        let mut known = self.self_signed.clone();
        let loaded = match (&protection.certificate, &protection.key) {
            (Some(certificate), Some(key)) => {
                Usable::from_files(certificate, key, self.own.as_ref(), dates)
            }
            _ if protection.self_signed => {
                let pem = known.map_or_else(|| own(settings), Ok)?;
                let tls = Tls::from_pem(&pem, &pem).map_err(|error| damaged(settings, error))?;
                known = Some(pem);
                Ok(Usable { tls, fault: None })
            }
            _ => return Ok((None, known)),
        };
        let Usable { tls, fault } = loaded.map_err(unusable)?;
        let tls = with_policies(tls, protection).map_err(unusable)?;
        Ok((Some(Usable { tls, fault }), known))
    }

    /// Returns the configuration with the server's own certificate and those of the virtual hosts.
    fn with_hosts(
        &self,
        own: Option<Usable>,
        self_signed: Option<Vec<u8>>,
        settings: &Settings,
        dates: Dates,
    ) -> Result<Self, DaemonError> {
        let Some(Usable { tls: own, fault }) = own else {
            return Ok(Self { self_signed, ..Self::default() });
        };
        let mut tls = own.clone();
        let Protection { certificate, key, .. } = &settings.tls;
        let of_server = certificate.clone().zip(key.clone());
        let of_server = of_server.map(|(path, key)| FileCertificate {
            path,
            key,
            host: None,
            tls: own.clone(),
        });
        let mut files: Vec<FileCertificate> = of_server.into_iter().collect();
        let mut failures: Vec<String> = fault.into_iter().collect();
        for (name, host) in settings.hosts.iter() {
            let Some((path, key)) = host.certificate.as_ref().zip(host.key.as_ref()) else {
                continue;
            };
            let is_same = |other: &&FileCertificate| {
                other.host.as_ref() == Some(name) && other.path == *path && other.key == *key
            };
            let same = self.files.iter().find(is_same);
            let in_use = same.map(|same| &same.tls);
            let certificate = match Usable::from_files(path, key, in_use, dates).map_err(unusable) {
                Ok(Usable { tls, fault }) => {
                    failures.extend(fault);
                    let (path, key) = (path.clone(), key.clone());
                    FileCertificate { path, key, host: Some(name.clone()), tls }
                }
                Err(failure) => {
                    let Some(same) = same else { return Err(failure) };
                    failures.push(kept(&failure.message));
                    same.clone()
                }
            };
            tls = tls.host(name.clone(), &certificate.tls);
            files.push(certificate);
        }
        Ok(Self { tls: Some(tls), own: Some(own), files, failures, self_signed })
    }
}

/// A usable certificate, with a message if the clock is outside its validity period.
struct Usable {
    tls: Tls,
    fault: Option<String>,
}

impl Usable {
    /// Reads a certificate and its key; `former` is the certificate that they replace.
    fn from_files(
        certificate: &Path,
        key: &Path,
        former: Option<&Tls>,
        dates: Dates,
    ) -> Result<Self, TlsError> {
        let (error, what_to_do) = match Tls::from_files(certificate, key) {
            Ok(tls) => return Ok(Self { tls, fault: None }),
            Err(error @ TlsError::Expired { .. }) => (error, "renew it"),
            Err(error @ TlsError::NotYetValid { .. }) => (error, "check the clock"),
            Err(error) => return Err(error),
        };
        let tls = Tls::from_files_ignoring_dates(certificate, key)?;
        let may_be_used = match former {
            Some(former) => former.certificate() == tls.certificate(),
            None => dates == Dates::Reported,
        };
        if !may_be_used {
            return Err(error);
        }
        let effect = "clients that verify certificates refuse the connection";
        let fault = Some(format!("TLS: {}; {effect}; {what_to_do}", in_full(&error)));
        Ok(Self { tls, fault })
    }
}

/// Returns the message that a former certificate stays in use.
pub(super) fn kept(why: &str) -> String {
    format!("{why}; the previous certificate stays in use")
}

fn with_policies(tls: Tls, protection: &Protection) -> Result<Tls, TlsError> {
    let tls = tls
        .control(protection.control)
        .data(protection.data)
        .session_reuse(protection.session_reuse)
        .allow_missing_close_notify(protection.allow_missing_close_notify)
        .min_version(protection.min_version)
        .cert_user(protection.cert_user)
        .exempt(protection.exempt.clone())
        .auth_ssl_alias(protection.auth_ssl_alias)
        .sscn_any(protection.sscn_any);
    let tls = match &protection.client_ca {
        Some(file) => tls.client_ca_file(file, protection.client_certificates)?,
        None => tls,
    };
    let tls = match &protection.sscn_ca {
        Some(file) => tls.sscn_ca_file(file)?,
        None => tls,
    };
    protection.sscn_pins.iter().try_fold(tls, |tls, pin| tls.sscn_pin(pin))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: TlsError) -> DaemonError {
    DaemonError::configuration(format!("TLS: {}", in_full(&error)))
}

/// Returns the failure for a damaged self-signed certificate. The server does not replace the
/// certificate automatically, because clients may have pinned its key.
fn damaged(settings: &Settings, error: TlsError) -> DaemonError {
    let path = match state_directory(settings) {
        _ if matches!(error, TlsError::Absent) => return unusable(error),
        Ok(directory) => shown_path(&directory.join(OWN)),
        Err(failure) => return failure,
    };
    let what_to_do = "delete it to create a new one with another key";
    DaemonError::configuration(format!("TLS: {path} is damaged: {}; {what_to_do}", in_full(&error)))
}

fn state_directory(settings: &Settings) -> Result<PathBuf, DaemonError> {
    let variable = |name| settings.environment.get(name);
    let by_systemd = settings.environment.state_directory();
    let by_user =
        || variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let by_home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let below = || by_user().or_else(by_home).map(|path| path.join("ftp-cli"));
    by_systemd.or_else(below).ok_or_else(|| {
        DaemonError::configuration(
            "--tls-self-signed: no directory for the certificate: set STATE_DIRECTORY or HOME",
        )
    })
}

/// Returns the state directory of the service, and the file of the self-signed certificate if it is
/// used or was created before, each with the setting or variable that names it.
pub(super) fn state_files(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let own = state_directory(settings).ok().map(|directory| directory.join(OWN));
    let own = own.filter(|path| settings.tls.self_signed || path.exists());
    let by_service = settings.environment.state_directory();
    let by_service = by_service.map(|directory| ("STATE_DIRECTORY", directory));
    own.map(|path| ("tls.self_signed", path)).into_iter().chain(by_service).collect()
}

/// Returns the self-signed certificate and its key. Creates them if they are missing.
fn own(settings: &Settings) -> Result<Vec<u8>, DaemonError> {
    let directory = state_directory(settings)?;
    let path = directory.join(OWN);
    let failed = |error: &io::Error| DaemonError::local(shown_path(&path), error);
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return other.map_err(|error| failed(&error)),
    }
    let pem = new(settings)?;
    let keep = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // The file is readable only by its owner. It gets its final name only when it is complete
        // and synced.
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(pem.as_bytes())?;
        file.as_file().sync_all()?;
        let named = match fs::hard_link(file.path(), &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                // The file system has no hard links.
                rename_new((CWD, file.path()), (CWD, &*path)).map_err(io::Error::from)
            }
            named => named,
        };
        match named {
            Ok(()) => fs::File::open(&directory)?.sync_all(),
            // Another process created the file first.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    };
    keep().and_then(|()| fs::read(&path)).map_err(|error| failed(&error))
}

/// Creates a self-signed certificate and its key, as PEM.
fn new(settings: &Settings) -> Result<String, DaemonError> {
    self_signed(names(settings)).map_err(|why| {
        DaemonError::new(DaemonErrorKind::Unsupported, format!("--tls-self-signed: {why}"))
    })
}

/// Creates a key and a certificate for these names and addresses, as PEM with the key first.
#[cfg(feature = "self-signed")]
fn self_signed(names: Vec<String>) -> Result<String, String> {
    crate::tls::self_signed_pem(names).map_err(|error| error.to_string())
}

/// Fails, because this build cannot create certificates.
#[cfg(not(feature = "self-signed"))]
fn self_signed(_names: Vec<String>) -> Result<String, String> {
    Err("built without TLS".to_owned())
}

/// Returns the names and addresses for the self-signed certificate: those of this host that are
/// known locally, and those in the settings.
fn names(settings: &Settings) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    names
        .extend(fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()));
    names.extend(wanted(settings));
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    names.extend(outgoing().map(|address| address.to_string()));
    names.retain(|name| is_name(name));
    let mut known = Vec::new();
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    known
}

/// Returns whether a certificate can contain this name: an address, or a host name that is not just
/// a number.
fn is_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || HostName::parse(name.as_bytes()).is_ok()
}

/// Returns a name in the form that certificates use, in which IPv6 addresses have no brackets.
fn plain_name(host: &HostName) -> String {
    match host {
        HostName::Domain(name) => name.clone(),
        HostName::Address(address) => address.to_string(),
    }
}

/// Returns the names that the settings require in the server's own certificate.
fn wanted(settings: &Settings) -> Vec<String> {
    let host = plain_name;
    let with_own = |host: &Host| host.certificate.is_some();
    let others = settings.hosts.iter().filter(|(_, host)| !with_own(host)).map(|(name, _)| name);
    let mut names: Vec<String> = settings.host_names.iter().chain(others).map(host).collect();
    match &settings.server.passive.address {
        Some(PassiveAddress::Name(name)) => names.push(name.to_string()),
        Some(PassiveAddress::Address(address)) => names.push(address.to_string()),
        None => {}
    }
    let hosts = settings.all_listen().into_iter().map(|at| at.ip().to_canonical());
    names.extend(hosts.filter(|host| !host.is_unspecified()).map(|host| host.to_string()));
    names
}

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let settings = &config.settings;
    let mut file = settings.tls.certificate.clone();
    if settings.tls.self_signed {
        match state_directory(settings) {
            Ok(directory) => file = Some(directory.join(OWN)),
            Err(failure) => {
                return findings.fail(failure.kind, format_args!("{}", failure.message));
            }
        }
    }
    let Some(file) = file else { return };
    let shown = shown_path(&file);
    let mut known = Loaded::default();
    let is_new = settings.tls.self_signed && !file.exists();
    if is_new {
        // A check creates no file, but needs a certificate to load the other files.
        match new(settings) {
            Ok(pem) => known.self_signed = Some(pem.into_bytes()),
            Err(failure) => return findings.fail(failure.kind, failure.message),
        }
        let what = "tls.self_signed: the first start will create a certificate";
        findings.ok(format_args!("{what} and keep it in {shown}"));
    }
    match known.load(settings, config.dates()) {
        Ok(Loaded { failures, .. }) if !failures.is_empty() => {
            for failure in failures {
                findings.fail(DaemonErrorKind::Configuration, failure);
            }
        }
        Ok(Loaded { tls, files, .. }) => {
            if let Some(tls) = tls.filter(|_| !is_new) {
                valid(settings, &tls, settings.tls.self_signed, &shown, findings);
                misfits(&tls, &shown, settings, findings);
            }
            for FileCertificate { path, host, tls, .. } in &files {
                let Some(host) = host else { continue };
                valid(settings, tls, false, &shown_path(path), findings);
                misfits_host(tls, path, host, findings);
            }
        }
        Err(failure) => {
            let kind = failure.kind;
            let why = failure.message;
            findings
                .fail(kind, format_args!("{why}; the server will not start until this is fixed"));
        }
    }
}

/// Adds a finding that a certificate is valid, one if its issuer is missing, and one about its expiry
/// unless the server created it.
fn valid(settings: &Settings, tls: &Tls, is_created: bool, shown: &str, findings: &mut Findings) {
    let pin = tls.pin().unwrap_or_default();
    let words = format!("{shown} is valid; clients can use --pin {pin}");
    match is_created {
        true => findings.note(words),
        false => findings.ok(words),
    }
    if !tls.has_issuer() {
        let why = "clients refuse it unless they trust its issuer itself";
        let what_to_do = "install the whole chain, such as fullchain.pem";
        findings
            .warn(format_args!("{shown} lacks the certificate of its issuer: {why}; {what_to_do}"));
    }
    let Some(left) = seconds_left(tls).filter(|_| !is_created) else { return };
    let validity = in_days(left);
    if left >= SOON {
        return findings.ok(format_args!("{shown} {validity}"));
    }
    let what_to_do = match settings.tls.watch.is_zero() {
        true => "renew it, then send SIGHUP",
        false => "renew it; the server will load the new one",
    };
    findings.warn(format_args!("{shown} {validity}; {what_to_do}"));
}

/// Returns the seconds until the certificate expires; negative after expiry.
fn seconds_left(tls: &Tls) -> Option<i64> {
    Some(tls.not_after()?.unix_seconds() - unix_now())
}

/// Returns a predicate such as `expires in 2 days` for a certificate that expires in `left`
/// seconds.
fn in_days(left: i64) -> String {
    match left.div_euclid(DAY) {
        ..0 => "has expired".to_owned(),
        0 => "expires in less than a day".to_owned(),
        1 => "expires in 1 day".to_owned(),
        days => format!("expires in {days} days"),
    }
}

/// Adds a finding if the certificate of a virtual host does not name that host.
fn misfits_host(tls: &Tls, path: &Path, host: &HostName, findings: &mut Findings) {
    if !tls.is_for(&plain_name(host)) {
        let key = key_of(host, "certificate");
        let path = shown_path(path);
        let what_to_do = "install a certificate for this host";
        findings.warn(format_args!("{key}: {path} does not name {host}: {REFUSAL}; {what_to_do}"));
    }
}

/// Adds a finding if the server's own certificate lacks names that the settings require.
fn misfits(tls: &Tls, shown: &str, settings: &Settings, findings: &mut Findings) {
    // Clients in the same network connect by a name or address that the settings need not contain.
    let announced = match settings.server.passive.address {
        Some(PassiveAddress::Address(address)) if address.is_private() => Some(address.into()),
        _ => None,
    };
    let counts = |name: &String| {
        name.parse::<IpAddr>().map_or(true, |at| !at.is_loopback() && Some(at) != announced)
    };
    let mut misfits = wanted(settings);
    misfits.retain(|name| counts(name) && !tls.is_for(name));
    if misfits.is_empty() {
        return;
    }
    let what_to_do = match settings.tls.self_signed {
        true => "delete the file to create a new one with another key",
        false => "install a certificate that contains all these names",
    };
    let misfits = misfits.join(", ");
    findings.warn(format_args!("{shown} does not name {misfits}: {REFUSAL}; {what_to_do}"));
}
