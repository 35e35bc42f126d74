//! A handshake. The session's thread reads and writes, and the threads of `pool.rs` compute.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustls::server::ServerConfig;

use super::connection::{Connection, UNKEPT};
use super::pool::Pool;

/// A handshake in progress.
pub(crate) struct Handshake {
    connection: Connection,
    pool: Arc<Pool>,
}

impl Handshake {
    pub(super) fn new(config: Arc<ServerConfig>, pool: Arc<Pool>) -> io::Result<Self> {
        Ok(Self::of(Connection::new(config)?, pool))
    }

    pub(super) const fn of(connection: Connection, pool: Arc<Pool>) -> Self {
        Self { connection, pool }
    }

    /// Carries out the handshake over `stream`. `wait` waits until the socket is ready, and fails
    /// if the handshake must be aborted, for example at `deadline`.
    ///
    /// A failed handshake sends an alert if the socket has room for it.
    pub(crate) fn carry_out<E: From<io::Error>>(
        self,
        stream: &TcpStream,
        deadline: Instant,
        wait: &mut dyn FnMut(PollFlags) -> Result<(), E>,
    ) -> Result<Connection, E> {
        let Self { mut connection, pool } = self;
        if connection.is_client() {
            let (answer, greeted) = pool.run(deadline, move || {
                let mut answer = Vec::with_capacity(UNKEPT);
                connection.greet(&mut answer).map(|()| (answer, connection))
            })??;
            connection = greeted;
            send(stream, &answer, wait)?;
        }
        let mut bytes = [0; 1_024];
        loop {
            match rustix::net::recv(stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok((count, _)) => {
                    connection.keep(bytes.get(..count).unwrap_or_default());
                    connection.check_hello()?;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    wait(PollFlags::IN)?;
                    continue;
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if !connection.has_record() {
                continue;
            }
            let (went_on, answer, shaken) = pool.run(deadline, move || {
                let mut answer = Vec::with_capacity(UNKEPT);
                let went_on = connection.shake(&mut answer);
                (went_on, answer, connection)
            })?;
            connection = shaken;
            if let Err(error) = went_on {
                let _ =
                    rustix::net::send(stream, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                return Err(error.into());
            }
            send(stream, &answer, wait)?;
            if !connection.is_handshaking() {
                return Ok(connection);
            }
        }
    }
}

fn send<E: From<io::Error>>(
    stream: &TcpStream,
    mut bytes: &[u8],
    wait: &mut dyn FnMut(PollFlags) -> Result<(), E>,
) -> Result<(), E> {
    while !bytes.is_empty() {
        match rustix::net::send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(PollFlags::OUT)?,
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(())
}
