//! Temporary access keys that a platform offers at a local address: the instance metadata service
//! of EC2, only in its version 2 (IMDSv2), and the agent of ECS or of EKS Pod Identity.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Request;

use super::connection::S3Timeouts;
use super::connection::{Connections, StorePlace};
use super::encode::{http_time, now};
use super::error::{PLATFORM_OPERATION, S3Error};
use super::http::{header, lost, read_text, refused};
use super::web_identity::{Issued, issued, read_token};

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
