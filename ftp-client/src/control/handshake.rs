//! TLS on the control connection.

use rustix::fd::AsFd;

use super::ControlConnection;
use crate::error::Error;
use crate::net::wait::Deadline;
use crate::tls::Session;

impl ControlConnection {
    /// Starts TLS on the connection. Any error closes the connection.
    pub(crate) fn secure(
        &mut self,
        session: Session,
        deadline: Deadline,
    ) -> Result<&Session, Error> {
        if let Err(error) = self.shake_hands(session, deadline) {
            self.close();
            return Err(error);
        }
        self.stream.as_ref().and_then(|stream| stream.session()).ok_or(Error::Closed)
    }

    fn shake_hands(&mut self, session: Session, deadline: Deadline) -> Result<(), Error> {
        let stream = self.stream.as_mut().ok_or(Error::Closed)?;
        stream.encrypt(session);
        while let Some(interest) = stream.handshake()? {
            self.waiter.wait_for(stream.as_fd(), interest, deadline)?;
        }
        Ok(())
    }

    /// Returns whether the connection is under TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.session().is_some())
    }

    /// Marks the end of the commands with a TLS close_notify, if TLS is on.
    pub(crate) fn say_end(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.say_end();
        }
    }
}
