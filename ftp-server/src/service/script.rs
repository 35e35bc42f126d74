//! Faults that a test has scripted for a session; see [`testing`](crate::testing).

use std::io;
use std::time::Instant;

use ftp_proto::Verb;

use super::run::{Next, Runner};
use super::transfer_watch::TransferResult;
use crate::data::PumpEnd;
use crate::session::{Payload, PreparedTransfer};
use crate::testing::{CutOutgoing, CutUpload, ProtocolFault};

impl Runner {
    /// Applies the scripted fault of a command. Returns `Some` if the command must not be carried
    /// out. Keeps the fault of a transfer for [`transfer`](Self::transfer).
    pub(super) fn follow_script(&mut self, verb: Verb) -> io::Result<Option<Next>> {
        self.fault = None;
        let Some(script) = &self.session.context.script else { return Ok(None) };
        match script.faults.next(verb) {
            Some(ProtocolFault::Close) => self.close("Service not available").map(Some),
            Some(ProtocolFault::Delay(delay)) => match self.control.pause(Instant::now() + delay) {
                true => Ok(None),
                false => self.end_early().map(Some),
            },
            fault => {
                self.fault = fault;
                Ok(None)
            }
        }
    }
}

/// Returns the result of a transfer whose data was cut: for the client, the data connection broke.
pub(super) fn cut(result: TransferResult) -> TransferResult {
    match result {
        TransferResult::Pumped(PumpEnd::Complete | PumpEnd::Storage(_)) => {
            let error = io::Error::other("cut off by a test script");
            TransferResult::Pumped(PumpEnd::Broken(error))
        }
        result => result,
    }
}

impl ProtocolFault {
    /// Truncates the data of a transfer if the scripted fault requires that.
    pub(super) fn shorten(self, mut transfer: PreparedTransfer) -> PreparedTransfer {
        let (Self::Abort { after: left } | Self::Silence { after: left }) = self else {
            return transfer;
        };
        transfer.payload = match transfer.payload {
            Payload::Send(inner) => Payload::Send(Box::new(CutOutgoing { inner, left })),
            Payload::Receive(inner, encoding) => {
                Payload::Receive(Box::new(CutUpload { inner, left }), encoding)
            }
        };
        transfer
    }
}
