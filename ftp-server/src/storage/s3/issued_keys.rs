//! Temporary access keys, and their renewal. They are issued for a token that the platform keeps in a
//! file, by `AssumeRoleWithWebIdentity` of the AWS Security Token Service (STS), or the platform offers
//! them at a local address: the instance metadata service of EC2, only in its version 2 (IMDSv2), and
//! the agent of ECS or of EKS Pod Identity.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Request;

use super::connection::{Connections, S3Timeouts, StorePlace};
use super::encode::{http_time, iso_time, now, percent, xml_text};
use super::error::{PLATFORM_OPERATION, S3Error, STS_OPERATION};
use super::http::{Credentials, header, lost, read_text, refused, retried};
use super::inner::Inner;
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

/// The source of temporary keys.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    Role(WebIdentity),
    Platform(Platform),
}

pub(super) struct Issuer {
    source: KeySource,
    connections: Connections,
    timeouts: S3Timeouts,
}

/// Keys, and the time for which they are valid.
pub(super) struct Issued {
    credentials: Credentials,
    lifetime: Duration,
}

impl Issuer {
    pub(super) fn new(
        source: &KeySource,
        region: &str,
        timeouts: S3Timeouts,
        ca: Option<&[u8]>,
    ) -> Result<Self, S3Error> {
        let connections = match source {
            KeySource::Role(identity) => identity.connect(region, timeouts, ca)?,
            KeySource::Platform(platform) => platform.connect()?,
        };
        Ok(Self { source: source.clone(), connections, timeouts })
    }

    /// Requests keys, and retries after transient failures within `limit`.
    fn issue(&self, limit: Duration) -> Result<Issued, S3Error> {
        retried(limit, || match &self.source {
            KeySource::Role(identity) => identity.issue(&self.connections, self.timeouts),
            KeySource::Platform(platform) => platform.issue(&self.connections),
        })
    }

    /// Logs the reason why there are no new keys, and returns it.
    fn reason(&self, error: S3Error) -> String {
        match &self.source {
            KeySource::Role(identity) => log::warn!("role {}: {error}", identity.role),
            KeySource::Platform(_) => log::warn!("{error}"),
        }
        match error {
            S3Error::NoKeys(reason) => reason,
            other => other.to_string(),
        }
    }
}

impl WebIdentity {
    fn connect(
        &self,
        region: &str,
        timeouts: S3Timeouts,
        ca: Option<&[u8]>,
    ) -> Result<Connections, S3Error> {
        let role = &self.role;
        if role.is_empty() || !role.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = "invalid role: expected a name such as arn:aws:iam::123456789012:role/ftp";
            return Err(S3Error::Configuration(text.to_owned()));
        }
        let (place, ca) = match &self.endpoint {
            Some(endpoint) => (StorePlace::of(endpoint)?, ca),
            None => {
                // The regions in China have their own domain.
                let end = if region.starts_with("cn-") { ".cn" } else { "" };
                (StorePlace::of(&format!("https://sts.{region}.amazonaws.com{end}"))?, None)
            }
        };
        Connections::to(&place, timeouts, ca)
    }

    fn issue(&self, connections: &Connections, timeouts: S3Timeouts) -> Result<Issued, S3Error> {
        let Self { role, token_file, .. } = self;
        let token = read_token(token_file)?;
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
            .map_err(|error| S3Error::wrong(STS_OPERATION, error.to_string()))?;
        let timeout = timeouts.connect + timeouts.answer;
        let request = connections.agent.configure_request(request).timeout_global(Some(timeout));
        let response = connections.agent.run(request.build());
        let response = response.map_err(|error| lost(STS_OPERATION, &error))?;
        let status = response.status().as_u16();
        let date = header(response.headers(), "date").and_then(http_time);
        let body = read_text(response.into_body(), STS_OPERATION)?;
        match status {
            200 => {
                let text = |name: &str| xml_text(&body, name);
                issued(STS_OPERATION, "SessionToken", date.unwrap_or_else(now), text)
            }
            _ => Err(refused(STS_OPERATION, status, &body, None)),
        }
    }
}

/// Returns the keys in a response, whose fields `text` returns. `token` is the name of the session
/// token. `date` is the time of the response by the service's clock, in seconds since 1970.
pub(super) fn issued(
    operation: &'static str,
    token: &str,
    date: i64,
    text: impl Fn(&str) -> Option<String>,
) -> Result<Issued, S3Error> {
    let wanted = |name: &str| {
        let found = text(name).filter(|text| !text.is_empty());
        found.ok_or_else(|| S3Error::wrong(operation, format!("{name} is missing")))
    };
    let credentials = Credentials {
        access_key: wanted("AccessKeyId")?,
        secret_key: wanted("SecretAccessKey")?,
        session_token: Some(wanted(token)?),
    };
    if !credentials.is_sendable() {
        return Err(S3Error::wrong(operation, "the keys are not printable ASCII"));
    }
    let expiration = iso_time(&wanted("Expiration")?);
    let left = expiration.ok_or_else(|| S3Error::wrong(operation, "Expiration is malformed"))?;
    let left = u64::try_from(left.saturating_sub(date)).unwrap_or_default();
    Ok(Issued { credentials, lifetime: Duration::from_secs(left) })
}

pub(super) fn read_token(path: &Path) -> Result<String, S3Error> {
    read_file(path).map_err(|error| {
        S3Error::NoKeys(format!("{}: cannot read the token: {error}", path.display()))
    })
}

fn read_file(path: &Path) -> io::Result<String> {
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
        issuer.connections.addresses.look_up();
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

/// Address of the metadata service of EC2.
const INSTANCE: &str = "http://169.254.169.254";

/// Address of the agent of ECS.
const AGENT: &str = "http://169.254.170.2";

/// Other addresses of agents, to which a token may be sent without TLS.
const LOCAL: [&str; 5] =
    [AGENT, "http://169.254.170.23", "http://[fd00:ec2::23]", "http://127.0.0.1", "http://[::1]"];

/// Path of the names of the instance's roles; with a name, of the role's keys.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// Maximum time to connect, and for each response. The services are on the same computer.
const WAIT: Duration = Duration::from_secs(2);

/// What offers the keys.
#[derive(Clone, Debug)]
pub(super) enum Platform {
    /// The metadata service of EC2; its address is empty for the usual one.
    Instance(String),
    /// The URI of the keys, or its path at the agent of ECS, and the file with the token to send.
    Container(String, Option<PathBuf>),
}

impl Platform {
    /// Returns the address of the service, and the path of the keys of a container.
    fn place(&self) -> Result<(&str, &str), S3Error> {
        let uri = match self {
            Self::Instance(endpoint) if endpoint.is_empty() => return Ok((INSTANCE, "")),
            Self::Instance(endpoint) => return Ok((endpoint, "")),
            Self::Container(uri, _) if uri.starts_with('/') => return Ok((AGENT, uri)),
            Self::Container(uri, _) => uri,
        };
        let host = uri.find("://").map_or(0, |at| at + 3);
        let path =
            uri.get(host..).and_then(|rest| rest.find('/')).map_or(uri.len(), |at| host + at);
        let (endpoint, path) = uri.split_at(path);
        let is_local = |local: &str| {
            let port = endpoint.strip_prefix(local);
            port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
        };
        match endpoint.starts_with("https://") || LOCAL.iter().any(|local| is_local(local)) {
            true => Ok((endpoint, path)),
            false => Err(S3Error::Configuration(
                "invalid URI of access keys: expected https:// or the address of the platform's agent"
                    .to_owned(),
            )),
        }
    }

    pub(super) fn connect(&self) -> Result<Connections, S3Error> {
        let timeouts = S3Timeouts::new().connect(WAIT).answer(WAIT).idle(WAIT);
        Connections::to(&StorePlace::of(self.place()?.0)?, timeouts, None)
    }

    pub(super) fn issue(&self, connections: &Connections) -> Result<Issued, S3Error> {
        let get = |path: &str, header: Option<(&str, &str)>| {
            ask(connections, Request::get(uri(connections, path)), header, None)
        };
        let (body, date) = match self {
            Self::Instance(_) => {
                let lifetime = Some(("x-aws-ec2-metadata-token-ttl-seconds", "60"));
                let request = Request::put(uri(connections, "/latest/api/token"));
                let (token, _) = ask(connections, request, lifetime, Some(b""))?;
                let token = Some(("x-aws-ec2-metadata-token", token.trim()));
                let (roles, _) = get(ROLES, token).map_err(|error| match error.status() {
                    Some(404) => S3Error::NoKeys("the instance has no role".to_owned()),
                    _ => error,
                })?;
                get(&format!("{ROLES}{}", roles.lines().next().unwrap_or_default().trim()), token)?
            }
            Self::Container(_, file) => {
                let token = file.as_deref().map(read_token).transpose()?;
                let token = token.as_deref().map(|token| ("authorization", token));
                get(self.place()?.1, token)?
            }
        };
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        issued(PLATFORM_OPERATION, "Token", date, text)
    }
}

fn uri(connections: &Connections, path: &str) -> String {
    format!("{}://{}{path}", connections.scheme, connections.authority)
}

/// Sends a request, and returns the body of the response, and its time in seconds since 1970.
fn ask(
    connections: &Connections,
    request: ureq::http::request::Builder,
    field: Option<(&str, &str)>,
    body: Option<&[u8]>,
) -> Result<(String, i64), S3Error> {
    let request = match field {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    let wrong = |error: ureq::http::Error| S3Error::wrong(PLATFORM_OPERATION, error.to_string());
    let agent = &connections.agent;
    let sent = match body {
        Some(body) => agent.run(request.body(body).map_err(wrong)?),
        None => agent.run(request.body(()).map_err(wrong)?),
    };
    let response = sent.map_err(|error| lost(PLATFORM_OPERATION, &error))?;
    let status = response.status().as_u16();
    let date = header(response.headers(), "date").and_then(http_time).unwrap_or_else(now);
    let body = read_text(response.into_body(), PLATFORM_OPERATION)?;
    if status == 200 {
        Ok((body, date))
    } else {
        Err(refused(PLATFORM_OPERATION, status, &body, None))
    }
}
