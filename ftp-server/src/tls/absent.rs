//! Replacement for TLS without the feature `tls`. Its items have the same names as with the
//! feature, but no value of its types can exist.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::{HostName, TimeVal};
use rustix::event::PollFlags;

use super::policy::{AskedName, ClientCertificates, TlsError, TlsInfo, TlsRules};

/// Stands for the item of the same name with the feature `tls`.
pub(crate) const RECORD: usize = 18 * 1_024;

/// Stands for the item of the same name with the feature `tls`.
pub(crate) const fn size_of_records(plain: usize) -> usize {
    plain
}

#[derive(Clone, Copy, Debug)]
enum Never {}

/// TLS settings, which do not exist without the feature `tls`.
#[derive(Clone, Debug)]
pub struct Tls(Never);

impl Tls {
    /// Fails, because TLS is not available.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Absent`] in every case.
    pub fn from_files(_certificate: &Path, _key: &Path) -> Result<Self, TlsError> {
        Err(TlsError::Absent)
    }

    /// Fails, because TLS is not available.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Absent`] in every case.
    pub fn from_files_ignoring_dates(_certificate: &Path, _key: &Path) -> Result<Self, TlsError> {
        Err(TlsError::Absent)
    }

    /// Fails, because TLS is not available.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError::Absent`] in every case.
    pub fn from_pem(_certificate: &[u8], _key: &[u8]) -> Result<Self, TlsError> {
        Err(TlsError::Absent)
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn host(self, _name: HostName, _identity: &Self) -> Self {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    ///
    /// # Errors
    ///
    /// Returns no error, because no value exists.
    pub fn client_ca_file(
        self,
        _path: &Path,
        _wanted: ClientCertificates,
    ) -> Result<Self, TlsError> {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    ///
    /// # Errors
    ///
    /// Returns no error, because no value exists.
    pub fn sscn_ca_file(self, _path: &Path) -> Result<Self, TlsError> {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    ///
    /// # Errors
    ///
    /// Returns no error, because no value exists.
    pub fn sscn_pin(self, _pin: &str) -> Result<Self, TlsError> {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn sscn_any(self, _any: bool) -> Self {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn pin(&self) -> Option<String> {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn not_after(&self) -> Option<TimeVal> {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn is_for(&self, _host: &str) -> bool {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn has_issuer(&self) -> bool {
        match self.0 {}
    }

    /// Cannot be called, because no value exists.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        match self.0 {}
    }

    pub(super) fn rules(&mut self) -> &mut TlsRules {
        match self.0 {}
    }
}

pub(crate) struct Acceptor(Never);

impl Acceptor {
    #[expect(clippy::needless_pass_by_value, reason = "as with the feature")]
    pub(crate) fn new(settings: Tls, _former: Option<&Self>) -> io::Result<Self> {
        match settings.0 {}
    }

    pub(crate) fn rules(&self) -> &TlsRules {
        match self.0 {}
    }

    pub(crate) fn trusts_other_servers(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn protect_control(
        self: &Arc<Self>,
        _limit: Duration,
        _host: Option<HostName>,
    ) -> io::Result<(Handshake, Secured)> {
        match self.0 {}
    }
}

pub(crate) struct Secured {
    pub(crate) acceptor: Arc<Acceptor>,
}

impl Secured {
    pub(crate) fn established(&mut self, _connection: &Connection) {
        match self.acceptor.0 {}
    }

    pub(crate) fn info(&self) -> Option<TlsInfo> {
        match self.acceptor.0 {}
    }

    pub(crate) fn server_name(&self) -> AskedName {
        match self.acceptor.0 {}
    }

    pub(crate) fn may_be(&self, _user: &[u8]) -> bool {
        match self.acceptor.0 {}
    }

    pub(crate) fn protect_data(&self, _is_upload: bool) -> io::Result<Handshake> {
        match self.acceptor.0 {}
    }

    pub(crate) fn begin_data(&self, _other: IpAddr) -> io::Result<Handshake> {
        match self.acceptor.0 {}
    }
}

pub(crate) struct Handshake(Never);

impl Handshake {
    pub(crate) fn carry_out<E: From<io::Error>>(
        self,
        _stream: &TcpStream,
        _deadline: Instant,
        _wait: &mut dyn FnMut(PollFlags) -> Result<(), E>,
    ) -> Result<Connection, E> {
        match self.0 {}
    }
}

pub(crate) struct Connection(Never);

impl Connection {
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        match self.0 {}
    }

    pub(crate) fn keep(&mut self, _bytes: &[u8]) {
        match self.0 {}
    }

    pub(crate) fn is_client(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        match self.0 {}
    }

    pub(crate) fn receive(
        &mut self,
        _bytes: &mut [u8],
        _answer: &mut Vec<u8>,
        _sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn decrypt(
        &mut self,
        _bytes: &mut [u8],
        _answer: &mut Vec<u8>,
        _sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn encrypt(&mut self, _plain: &[u8], _records: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self, _records: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}
