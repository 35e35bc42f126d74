//! Temporary access keys for a token that the platform keeps in a file: `AssumeRoleWithWebIdentity`
//! of the AWS Security Token Service (STS).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ureq::http::Request;

use super::connection::{Connections, Place};
use super::encode::{http_time, iso_time, now, percent};
use super::error::{S3Error, STS_OPERATION};
use super::http::{S3Timeouts, header, lost, read_text, refused, retried};
use super::inner::Inner;
use super::sign::Credentials;
use super::xml;
use crate::lock::unpoisoned;

/// Maximum length of a token, in bytes. A token of Kubernetes has about 1,000 bytes.
const LONGEST_TOKEN: u64 = 64 * 1024;

/// Maximum time for retries of the first request. It is short, because a server may wait for the
/// keys at startup.
const FIRST: Duration = Duration::from_secs(5);

/// Minimum time between two renewals of the keys.
const PAUSE: Duration = Duration::from_secs(30);

/// The time between two checks of whether the keys must be renewed.
const TICK: Duration = Duration::from_secs(1);

/// A role, and the token that gives access to it.
#[derive(Clone, Debug)]
pub(super) struct WebIdentity {
    /// The name of the role, such as `arn:aws:iam::123456789012:role/ftp`.
    pub(super) role: String,
    pub(super) token_file: PathBuf,
    /// The URL of the service; `None` for the default URL of the region.
    pub(super) endpoint: Option<String>,
}

/// The service that issues keys for a role.
pub(super) struct Issuer {
    identity: WebIdentity,
    connections: Connections,
    timeouts: S3Timeouts,
}

/// Keys, and the time for which they are valid.
struct Issued {
    credentials: Credentials,
    lifetime: Duration,
}

impl Issuer {
    pub(super) fn new(
        identity: &WebIdentity,
        region: &str,
        timeouts: S3Timeouts,
        ca: Option<&[u8]>,
    ) -> Result<Self, S3Error> {
        let role = &identity.role;
        if role.is_empty() || !role.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = "invalid role: expected a name such as arn:aws:iam::123456789012:role/ftp";
            return Err(S3Error::Configuration(text.to_owned()));
        }
        let (place, ca) = match &identity.endpoint {
            Some(endpoint) => (Place::of(endpoint)?, ca),
            None => {
                // The regions in China have their own domain.
                let end = if region.starts_with("cn-") { ".cn" } else { "" };
                (Place::of(&format!("https://sts.{region}.amazonaws.com{end}"))?, None)
            }
        };
        let connections = Connections::to(&place, timeouts, ca)?;
        Ok(Self { identity: identity.clone(), connections, timeouts })
    }

    /// Requests keys, and retries after transient failures within `limit`.
    fn issue(&self, limit: Duration) -> Result<Issued, S3Error> {
        retried(limit, || self.once())
    }

    fn once(&self) -> Result<Issued, S3Error> {
        let Self { identity, connections, .. } = self;
        let WebIdentity { role, token_file, .. } = identity;
        let token = read_token(token_file).map_err(|error| {
            S3Error::NoKeys(format!("{}: cannot read the token: {error}", token_file.display()))
        })?;
        let form = format!(
            "Action={STS_OPERATION}&Version=2011-06-15&RoleSessionName=ftp-server&RoleArn={}\
             &WebIdentityToken={}",
            percent(role),
            percent(&token)
        );
        let uri = format!("{}://{}/", connections.scheme, connections.authority);
        let request = Request::post(uri)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .map_err(|error| wrong(&error.to_string()))?;
        let timeout = self.timeouts.connect + self.timeouts.answer;
        let request = connections.agent.configure_request(request).timeout_global(Some(timeout));
        let response = connections.agent.run(request.build());
        let response = response.map_err(|error| lost(STS_OPERATION, &error))?;
        let status = response.status().as_u16();
        let date = header(response.headers(), "date").and_then(http_time);
        let body = read_text(response.into_body(), STS_OPERATION)?;
        match status {
            200 => issued(&body, date.unwrap_or_else(now)),
            _ => Err(refused(STS_OPERATION, status, &body, None)),
        }
    }

    /// Logs the reason why there are no new keys, and returns it.
    fn reason(&self, error: S3Error) -> String {
        log::warn!("role {}: {error}", self.identity.role);
        match error {
            S3Error::NoKeys(reason) => reason,
            other => other.to_string(),
        }
    }
}

/// Returns the keys in a response. `date` is the time of the response by the service's clock, in
/// seconds since 1970.
fn issued(body: &str, date: i64) -> Result<Issued, S3Error> {
    let text = |name| xml::text(body, name).filter(|text| !text.is_empty());
    let missing = |name: &str| wrong(&format!("{name} is missing"));
    let credentials = Credentials {
        access_key: text("AccessKeyId").ok_or_else(|| missing("AccessKeyId"))?,
        secret_key: text("SecretAccessKey").ok_or_else(|| missing("SecretAccessKey"))?,
        session_token: Some(text("SessionToken").ok_or_else(|| missing("SessionToken"))?),
    };
    if !credentials.is_sendable() {
        return Err(wrong("the keys are not printable ASCII"));
    }
    let expiration = text("Expiration").and_then(|text| iso_time(&text));
    let left = expiration.ok_or_else(|| missing("Expiration"))?.saturating_sub(date);
    let lifetime = Duration::from_secs(u64::try_from(left).unwrap_or_default());
    Ok(Issued { credentials, lifetime })
}

fn wrong(reason: &str) -> S3Error {
    S3Error::Wrong { operation: STS_OPERATION, reason: reason.to_owned() }
}

fn read_token(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // Opening a FIFO would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    File::open(path)?.take(LONGEST_TOKEN + 1).read_to_string(&mut text)?;
    match text.trim() {
        "" => Err(io::Error::other("the file is empty")),
        _ if text.len() as u64 > LONGEST_TOKEN => Err(io::Error::other("longer than 64 KiB")),
        token => Ok(token.to_owned()),
    }
}

/// Requests the first keys. Returns the keys or the reason for the failure, and the time of the
/// next request.
pub(super) fn first(issuer: &Issuer) -> (Result<Credentials, String>, Instant) {
    match issuer.issue(FIRST) {
        Ok(Issued { credentials, lifetime }) => (Ok(credentials), renewal(lifetime)),
        Err(error) => (Err(issuer.reason(error)), Instant::now()),
    }
}

/// Renews the keys of a store until the store is dropped. The keys are renewed when a quarter of
/// their lifetime is left. They are also renewed when the store reports that they have expired, for
/// example after this computer was suspended. If a renewal fails, the old keys stay.
///
/// This function needs its own thread, so that a service that does not respond does not delay the
/// renewal of leases.
pub(super) fn keep_valid(store: &Weak<Inner>, issuer: &Issuer, mut due: Instant) {
    let mut earliest = Instant::now();
    loop {
        std::thread::sleep(TICK);
        let is_expired = |store: &Inner| store.client.are_expired.load(Ordering::Relaxed);
        let Some(is_expired) = store.upgrade().map(|store| is_expired(&store)) else { return };
        let now = Instant::now();
        if now < earliest || (now < due && !is_expired) {
            continue;
        }
        if let Err(error) = issuer.connections.addresses.look_up() {
            log::warn!("{error}");
        }
        // The request may take a long time, and the store may be dropped meanwhile.
        let issued = issuer.issue(issuer.timeouts.retries);
        let Some(store) = store.upgrade() else { return };
        let mut credentials = unpoisoned(store.client.credentials.write());
        match issued {
            Ok(issued) => {
                *credentials = Ok(issued.credentials);
                store.client.are_expired.store(false, Ordering::Relaxed);
                due = renewal(issued.lifetime);
            }
            Err(error) => {
                let reason = issuer.reason(error);
                *credentials = credentials.clone().map_err(|_| reason);
            }
        }
        earliest = Instant::now() + PAUSE;
    }
}

/// Returns the time at which to renew keys that are valid for `lifetime` from now on.
fn renewal(lifetime: Duration) -> Instant {
    Instant::now() + (lifetime * 3 / 4).max(PAUSE)
}
