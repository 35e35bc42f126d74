//! Replaces `tls/mod.rs` if the feature `tls` is off: TLS settings are rejected before anything is
//! sent, so no value of these types ever exists.

use rustix::event::PollFlags;

use crate::error::{Error, TlsError};
use crate::net::wait::Transport;
use crate::security::{Tls, TlsInfo, TlsVersion};

#[derive(Debug)]
pub(crate) enum Context {}

#[derive(Debug)]
pub(crate) enum Session {}

impl Context {
    pub(crate) const fn new(_: &Tls, _: &str) -> Result<Self, TlsError> {
        Err(TlsError::Absent)
    }

    pub(crate) const fn has_session(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn control(&self) -> Result<Session, TlsError> {
        match *self {}
    }

    pub(crate) const fn data(&self) -> Result<Session, TlsError> {
        match *self {}
    }

    pub(crate) const fn settle(&self, _: &Session) -> TlsInfo {
        match *self {}
    }
}

impl Session {
    pub(crate) const fn handshake(
        &mut self,
        _: &mut dyn Transport,
    ) -> Result<Option<PollFlags>, Error> {
        match *self {}
    }

    pub(crate) const fn has_unread(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn look(&mut self, _: &mut dyn Transport) -> Result<bool, Error> {
        match *self {}
    }

    pub(crate) const fn is_over(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn read(
        &mut self,
        _: &mut dyn Transport,
        _: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        match *self {}
    }

    pub(crate) const fn write(
        &mut self,
        _: &mut dyn Transport,
        _: &[u8],
    ) -> Result<Option<usize>, Error> {
        match *self {}
    }

    pub(crate) const fn flush(&mut self, _: &mut dyn Transport) -> Result<bool, Error> {
        match *self {}
    }

    pub(crate) const fn end(&mut self) {
        match *self {}
    }

    pub(crate) const fn is_resumed(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn version(&self) -> TlsVersion {
        match *self {}
    }
}
