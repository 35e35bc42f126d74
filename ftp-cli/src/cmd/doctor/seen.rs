//! What the probes have seen and others need.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use ftp_client::error::{CertificateFault, TlsCause};
use ftp_client::{Client, ClientBuilder, Extended, FirstLook, Mode, TlsInfo, TlsVersion};
use ftp_proto::{Features, Reply};

use super::finding::{Check, Diagnosis, Finding};
use super::places::Inside;

/// What the probes have seen so far. Each field is set by at most one probe.
#[derive(Default)]
pub(super) struct Seen<'a> {
    pub(super) addresses: OnceLock<Vec<SocketAddr>>,
    /// The first look at each address.
    pub(super) answers: OnceLock<Vec<(SocketAddr, FirstLook)>>,
    /// TLS that the options do not ask for.
    pub(super) offer: OnceLock<TlsSeen>,
    /// Whether the login and its data connections work with the TLS that the server offers.
    pub(super) offer_works: AtomicBool,
    pub(super) login: OnceLock<LoginSeen<'a>>,
    pub(super) first: OnceLock<FirstConnectionSeen>,
    /// Outcomes in the order of [`DataMethod::ALL`].
    pub(super) methods: OnceLock<[MethodOutcome; 4]>,
    /// Whether a listing arrived, perhaps truncated.
    pub(super) listed: AtomicBool,
    /// Whether data under TLS ended without close_notify.
    pub(super) truncated: AtomicBool,
    pub(super) packets: OnceLock<Finding>,
    /// The best method of data connections, which the last stage uses.
    pub(super) way: OnceLock<DataMethod>,
    pub(super) path: OnceLock<PathSeen>,
}

#[derive(Clone, Debug)]
pub(super) struct TlsSeen {
    pub(super) outcome: TlsOutcome,
    /// Negotiated parameters, even if the certificate was rejected.
    pub(super) info: Option<TlsInfo>,
    pub(super) versions: Vec<TlsVersion>,
}

/// Outcome of a connection with the TLS settings of the user.
#[derive(Clone, Debug)]
pub(super) enum TlsOutcome {
    Secured,
    /// `--insecure` accepts any certificate.
    Unverified,
    /// `AUTH TLS` was refused.
    Refused(Reply),
    /// The certificate was rejected. The last field is the pin with which it would be accepted.
    Certificate(CertificateFault, Option<TlsCause>, Option<String>),
    Failed(Diagnosis, String),
    Unable(String),
}

#[derive(Default)]
pub(super) struct LoginSeen<'a> {
    /// The logged-in client, until a probe takes it.
    pub(super) client: Mutex<Option<Inside<'a, Client>>>,
    /// The local and the remote address, unless a proxy hides them.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(super) features: Features,
    pub(super) is_plaintext: bool,
    pub(super) took: Duration,
}

/// Observations over the first logged-in connection, which need no data.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstConnectionSeen {
    /// Client address that the server reports, if it differs from the local one.
    pub(super) seen_as: Option<IpAddr>,
    pub(super) ports: Ports,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    /// Hosts of the 227 replies.
    pub(super) hosts: Vec<IpAddr>,
    pub(super) ports: Vec<Port>,
}

impl Ports {
    /// Returns whether only some of the ports can be reached.
    pub(super) fn is_partly(&self) -> bool {
        let of = |is: bool| self.ports.iter().any(|port| port.is_reached == is);
        of(true) && of(false)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) is_reached: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DataMethod {
    Epsv,
    Pasv,
    Eprt,
    Port,
}

impl DataMethod {
    pub(super) const ALL: [Self; 4] = [Self::Epsv, Self::Pasv, Self::Eprt, Self::Port];

    /// Returns a builder whose client uses only this method.
    pub(super) fn alone(self, builder: ClientBuilder) -> ClientBuilder {
        match self {
            Self::Epsv => builder.mode(Mode::Passive).epsv(Extended::Always),
            Self::Pasv => builder.mode(Mode::Passive).epsv(Extended::Never),
            Self::Eprt => builder.mode(Mode::Active).eprt(Extended::Always),
            Self::Port => builder.mode(Mode::Active).eprt(Extended::Never),
        }
    }

    pub(super) fn command(self) -> String {
        self.check().0.to_ascii_uppercase()
    }

    /// Returns the check, which has the name of the command.
    pub(super) const fn check(self) -> Check {
        match self {
            Self::Epsv => Check("epsv"),
            Self::Pasv => Check("pasv"),
            Self::Eprt => Check("eprt"),
            Self::Port => Check("port"),
        }
    }

    pub(super) const fn is_active(self) -> bool {
        matches!(self, Self::Eprt | Self::Port)
    }
}

#[derive(Clone, Debug)]
pub(super) enum MethodOutcome {
    /// Data arrived.
    Works,
    Refused(Reply),
    Unanswered,
    /// The connection was rejected if `closed`; otherwise it timed out or failed.
    Unreachable {
        closed: bool,
        at: Option<SocketAddr>,
    },
    /// The server gave up on the connection (425, 426).
    GaveUp(Reply),
    NotTried(String),
    /// The control connection broke, for this reason.
    Broken(String),
    /// A problem that the other methods do not explain.
    Failed(Diagnosis, String),
}

pub(super) struct PathSeen {
    pub(super) kind: PathKind,
    pub(super) may_not_list: bool,
    /// Whether LIST works there, but MLSD does not.
    pub(super) needs_list: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PathKind {
    /// The login directory.
    Login,
    Directory,
    File,
    /// Missing, or a directory that this user cannot enter; holds the server's reply.
    Missing(String),
}
