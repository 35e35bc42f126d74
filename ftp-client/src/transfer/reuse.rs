//! Mode B: the data connection that stays open after a transfer, and the next transfer over it.

use std::borrow::BorrowMut;
use std::time::Instant;

use ftp_proto::{Reply, StartStep, TimeVal, TransferEvidence, TransferFault, TransferStart, Verb};

use super::begin::Begun;
use super::coding::Coding;
use super::end::error_of;
use super::{Transfer, abort};
use crate::client::Client;
use crate::error::Error;
use crate::net::stream::Stream;
use crate::net::wait::Deadline;
use crate::trace;

/// An open data connection that no transfer uses.
#[derive(Debug)]
pub(crate) struct Kept {
    data: Stream,
    coding: Box<Coding>,
}

impl Kept {
    const fn new(data: Stream, coding: Box<Coding>) -> Self {
        Self { data, coding }
    }

    /// Returns the connection and its coding, which may hold received bytes of the next file.
    fn into_parts(self) -> (Stream, Box<Coding>) {
        (self.data, self.coding)
    }

    /// Returns whether the server has neither closed the connection nor sent anything unrequested.
    fn is_idle(&mut self) -> bool {
        !self.coding.has_unread() && matches!(self.data.read(&mut [0]), Ok(None))
    }

    /// Closes the connection properly, since no transfer is interrupted.
    fn close(mut self) {
        self.data.say_end();
        // This can fail only if the server has already closed the connection.
        let _ = self.data.end_writing();
    }
}

impl<C: BorrowMut<Client>> Transfer<C> {
    /// Keeps the data connection for the next transfer, or closes it, as the final reply says.
    pub(super) fn end_data(&mut self, evidence: &TransferEvidence) {
        let (Some(data), Some(mut coding)) = (self.data.take(), self.coding.take()) else { return };
        if !coding.is_in_blocks() {
            return;
        }
        coding.begin_file();
        let kept = Kept::new(data, coding);
        match evidence.keeps_data() {
            true => self.client.kept = Some(kept),
            false => kept.close(),
        }
    }
}

impl Client {
    /// Closes the data connection that was kept for the next transfer, if any.
    pub(crate) fn close_kept(&mut self) {
        self.state.is_data_open = false;
        if let Some(kept) = self.kept.take() {
            kept.close();
        }
    }

    /// Returns whether the kept data connection can be used for the next transfer; closes it if
    /// not.
    pub(super) fn can_reuse(&mut self) -> bool {
        let is_idle = self.kept.as_mut().is_some_and(Kept::is_idle);
        if !is_idle {
            trace::note(format_args!(
                "the data connection has ended, or carries unrequested bytes: opening another"
            ));
            self.close_kept();
        }
        is_idle
    }

    /// Stops the outstanding transfer and closes `data`. Afterwards, the control connection either
    /// is closed or has no outstanding replies.
    pub(crate) fn stop_transfer(&mut self, data: Option<Stream>) -> Result<(), Error> {
        if !self.plan.is_requested() {
            return abort::resync(&mut self.control, data);
        }
        drop(data);
        self.drop_requested()
    }

    /// Waits for the first reply to a transfer over the kept data connection.
    pub(super) fn begin_over_kept(
        &mut self,
        verb: Verb,
        started: Instant,
        deadline: Deadline,
        modified: Option<TimeVal>,
    ) -> Result<Begun, Error> {
        let (first, ended) = self.first_reply(verb, deadline)?;
        let kept = self.kept.take().expect("the data connection is kept until its use");
        let (data, coding) = kept.into_parts();
        self.state.is_data_open = false;
        if verb.is_upload() {
            data.reset_when_closed();
            // Fails only on a socket that can no longer send.
            let _ = data.send_at_once();
        }
        let coding = Some(coding);
        Ok(Begun { verb, data: Some(data), coding, first, ended, started, modified })
    }

    fn first_reply(
        &mut self,
        verb: Verb,
        deadline: Deadline,
    ) -> Result<(Reply, Option<Reply>), Error> {
        let mut start = TransferStart::new(verb);
        start.data_opened();
        while start.step() == StartStep::AwaitReply {
            let (_, reply) = self.control.next_reply(deadline)?;
            start.reply(&reply).map_err(|fault| {
                if fault == TransferFault::OutOfStep {
                    self.control.close();
                }
                error_of(fault, verb, &reply)
            })?;
        }
        Ok(start.into_replies().expect("the loop ends with a reply"))
    }
}
