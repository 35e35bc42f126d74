//! What the server shows clients: a pair of PEM files, or one of our own that is made once and kept.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use ftp_proto::HostName;
use ftp_server::{PassiveAddress, Tls, TlsError};

use super::findings::Findings;
use super::outgoing;
use super::settings::{Protection, Settings};
use super::tls;
use crate::display::{in_full, shown_path};
use crate::exit::{Exit, Failure};

/// The file of our own certificate and its key, in the state directory.
const OWN: &str = "self-signed.pem";

/// How long before its end a certificate is warned of, in seconds.
const SOON: i64 = 14 * 86_400;

/// What was loaded last.
#[derive(Default)]
pub(super) struct Certificates {
    /// Our own, read once: who gave root up could not read it again.
    own: Option<Vec<u8>>,
}

impl Certificates {
    /// What `settings` say of TLS, with the certificate as it is on disk now. Our own is made if
    /// there is none yet. `None` without any.
    ///
    /// # Errors
    ///
    /// `Usage` names the file and what is wrong with it; `Local` if ours can neither be read nor
    /// made.
    pub(super) fn load(&mut self, settings: &Settings) -> Result<Option<Tls>, Failure> {
        let protection = &settings.tls;
        let loaded = match (&protection.certificate, &protection.key) {
            (Some(certificate), Some(key)) => Tls::from_files(certificate, key),
            _ if protection.self_signed => {
                let pem = match self.own.take() {
                    Some(pem) => pem,
                    None => own(settings)?,
                };
                let loaded = Tls::from_pem(&pem, &pem);
                if let Err(error) = &loaded {
                    return Err(damaged(error));
                }
                self.own = Some(pem);
                loaded
            }
            _ => return Ok(None),
        };
        let tls = loaded.and_then(|tls| with_policies(tls, protection)).map_err(unusable)?;
        Ok(Some(tls))
    }
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
        .auth_ssl_alias(protection.auth_ssl_alias);
    match &protection.client_ca {
        Some(file) => tls.client_ca_file(file, protection.client_certificates),
        None => Ok(tls),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: TlsError) -> Failure {
    Failure::usage(format!("TLS: {}", in_full(&error)))
}

/// Our own certificate is not what we made. It is not made again unasked: clients may know its key.
fn damaged(error: &TlsError) -> Failure {
    let path = match state_directory() {
        Ok(directory) => shown_path(&directory.join(OWN)),
        Err(failure) => return failure,
    };
    let what_to_do = "remove it to have a new one made, with another key";
    Failure::usage(format!("TLS: {path} is damaged: {}; {what_to_do}", in_full(error)))
}

/// Where the server keeps what it makes for itself.
fn state_directory() -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd's may be several, of which the first is ours.
    let by_systemd = variable("STATE_DIRECTORY")
        .and_then(|all| std::env::split_paths(&all).next().filter(|path| path.is_absolute()));
    let by_user =
        || variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let by_home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let below = || by_user().or_else(by_home).map(|path| path.join("ftp-cli"));
    by_systemd.or_else(below).ok_or_else(|| {
        Failure::usage(
            "--tls-self-signed: no place to keep the certificate: set STATE_DIRECTORY or HOME",
        )
    })
}

/// Our own certificate and key; made, if there is none.
fn own(settings: &Settings) -> Result<Vec<u8>, Failure> {
    let directory = state_directory()?;
    let path = directory.join(OWN);
    let failed = |error: &io::Error| Failure::local(shown_path(&path), error);
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return other.map_err(|error| failed(&error)),
    }
    let pem = tls::self_signed(names(settings))
        .map_err(|why| Failure::new(Exit::Unsupported, format!("--tls-self-signed: {why}")))?;
    let keep = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // Readable by its owner alone, and under its name only when it is whole and on disk.
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(pem.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Ok(_) => fs::File::open(&directory)?.sync_all(),
            // Another start was faster.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    };
    keep().and_then(|()| fs::read(&path)).map_err(|error| failed(&error))
}

/// What this host may be called by clients: names and addresses that are known from here.
fn names(settings: &Settings) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    names
        .extend(fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()));
    names.extend(wanted(settings));
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    names.extend(outgoing::outgoing().map(|address| address.to_string()));
    names.retain(|name| is_name(name));
    let mut known = Vec::new();
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    known
}

/// What a certificate can be for: an address, or a host name that is more than a number.
fn is_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || HostName::parse(name.as_bytes()).is_ok()
}

/// What the settings call this host.
fn wanted(settings: &Settings) -> Vec<String> {
    let host = |host: &HostName| match host {
        HostName::Domain(name) => name.clone(),
        HostName::Address(address) => address.to_string(),
    };
    let mut names: Vec<String> = settings.server.hosts.iter().map(host).collect();
    match &settings.server.passive.address {
        Some(PassiveAddress::Name(name)) => names.push(name.to_string()),
        Some(PassiveAddress::Address(address)) => names.push(address.to_string()),
        None => {}
    }
    let hosts = settings.all_listen().into_iter().map(|at| at.ip().to_canonical());
    names.extend(hosts.filter(|host| !host.is_unspecified()).map(|host| host.to_string()));
    names
}

/// What `--check` has to say of it.
pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let mut file = settings.tls.certificate.clone();
    if settings.tls.self_signed {
        match state_directory() {
            Ok(directory) => file = Some(directory.join(OWN)),
            Err(failure) => {
                return findings.fail(failure.exit, format_args!("{}", failure.message));
            }
        }
    }
    let Some(file) = file else { return };
    let shown = shown_path(&file);
    // To look makes nothing.
    if settings.tls.self_signed && !file.exists() {
        let what = "tls.self_signed: the first start will make a certificate";
        return findings.ok(format_args!("{what} and keep it in {shown}"));
    }
    match Certificates::default().load(settings) {
        Ok(Some(tls)) => {
            findings.ok(format_args!(
                "{shown} can be shown; clients may --pin {}",
                tls.pin().unwrap_or_default()
            ));
            if let Some(left) = seconds_left(&tls).filter(|left| *left < SOON) {
                let days = left / 86_400;
                let what_to_do = "renew it, and send SIGHUP";
                findings.warn(format_args!("{shown} expires in {days} days; {what_to_do}"));
            }
            misfits(&tls, &shown, settings, findings);
        }
        Ok(None) => {}
        Err(failure) => {
            let exit = failure.exit;
            let why = failure.message;
            findings
                .fail(exit, format_args!("{why}; the server does not start before that is right"));
        }
    }
}

/// How long it can still be shown; less than nothing, if it is over.
fn seconds_left(tls: &Tls) -> Option<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(tls.not_after()?.unix_seconds() - i64::try_from(now).ok()?)
}

/// Whether it is for what the settings call this host.
fn misfits(tls: &Tls, shown: &str, settings: &Settings, findings: &mut Findings) {
    let counts = |name: &String| name.parse::<IpAddr>().map_or(true, |host| !host.is_loopback());
    let mut misfits = wanted(settings);
    misfits.retain(|name| counts(name) && !tls.is_for(name));
    if misfits.is_empty() {
        return;
    }
    let what_to_do = match settings.tls.self_signed {
        true => "remove the file to have a new one made, with another key",
        false => "have one issued that does",
    };
    let why = "clients that go there and look at names refuse it";
    let misfits = misfits.join(", ");
    findings.warn(format_args!("{shown} does not name {misfits}: {why}; {what_to_do}"));
}
