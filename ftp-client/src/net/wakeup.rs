//! A descriptor for `poll` that another thread can make ready.

use std::io::{self, Write};

use rustix::fd::{AsFd, BorrowedFd};

#[cfg(unix)]
type Ends = (io::PipeReader, io::PipeWriter);
/// For systems that can poll only sockets.
#[cfg(not(unix))]
type Ends = (std::net::TcpStream, std::net::TcpStream);

/// A descriptor that becomes readable when woken, and stays so because nothing reads from it.
#[derive(Debug)]
pub(crate) struct Wakeup(Ends);

impl Wakeup {
    pub(crate) fn new() -> io::Result<Self> {
        ends().map(Self)
    }

    pub(crate) fn wake(&self) {
        let Self((_, end)) = self;
        // This cannot fail: one byte always fits, and the other end lives as long as this one.
        let _ = (&*end).write(&[0]);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Self((end, _)) = self;
        end.as_fd()
    }
}

#[cfg(unix)]
fn ends() -> io::Result<Ends> {
    io::pipe()
}

#[cfg(not(unix))]
fn ends() -> io::Result<Ends> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let writer = std::net::TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (reader, from) = listener.accept()?;
        if from == writer.local_addr()? {
            return Ok((reader, writer));
        }
    }
}
