//! Fixtures for tests of programs that speak to an FTP server.
//!
//! - [`Recorder`] records the commands and events of a server, and can wait for one of them.
//! - [`ProtocolFault`] breaks a chosen command: 421, 426 after some bytes, no reply, a delay.
//! - [`MemoryStorage`](crate::MemoryStorage) provides files and shows received ones
//!   ([`put`](crate::MemoryStorage::put), [`get`](crate::MemoryStorage::get),
//!   [`files`](crate::MemoryStorage::files)), and [`FaultStorage`] makes
//!   storage calls fail.
//! - `Tls::self_signed`, with the feature `self-signed`, creates a certificate in one call; clients
//!   pin it with [`Tls::pin`](crate::Tls::pin).
//!
//! [`storage_contract`] and [`restart_contract`] test your own [`Storage`](crate::Storage).
//!
//! In a server without these fixtures, their only cost is a check for a recorder or fault at each
//! command. The example `client_test` of ftp-client uses all of them except `FaultStorage`.
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use ftp_server::testing::{ProtocolFault, Recorder};
//! use ftp_server::{MemoryStorage, Rights, Server, Verb};
//!
//! let recorder = Recorder::new();
//! let server = Server::builder()
//!     .storage(MemoryStorage::new())
//!     .user("u", "p", Rights::FULL)
//!     .recorder(&recorder)
//!     .fault(Verb::Noop, 2, ProtocolFault::Close)
//!     .bind("127.0.0.1:0")?;
//!
//! // Stands for the program that is tested.
//! let mut control = BufReader::new(TcpStream::connect(server.local_addr())?);
//! control.get_mut().write_all(b"NOOP\r\nNOOP\r\n")?;
//! let codes: Vec<String> = control.lines().map_while(Result::ok).collect();
//! assert!(codes[1].starts_with("200") && codes[2].starts_with("421"));
//!
//! recorder.wait_for(Duration::from_secs(5), |record| record.is_command(Verb::Noop))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod contract;
mod recorder;

use std::io::{self, Write};
use std::time::Duration;

#[cfg(test)]
pub(crate) use contract::Numbers;
#[cfg(all(test, feature = "s3"))]
pub(crate) use contract::racing;
pub use contract::{restart_contract, storage_contract};
use ftp_proto::Verb;
pub use recorder::{NotRecorded, Record, Recorded, Recorder};

use crate::data::Outgoing;
use crate::forward_storage;
use crate::lock::Lock;
pub use crate::storage::{Fault, FaultStorage, StorageCall};
use crate::storage::{StorageErrorKind, StorageResult, StreamEnd, Upload};

/// The recorders and faults that the builder was given.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) recorders: Vec<Recorder>,
    pub(crate) faults: Faults,
}

impl Script {
    /// Records a command line of a session.
    pub(crate) fn hear(&self, session: u64, line: &[u8]) {
        for recorder in &self.recorders {
            recorder.hear(session, line);
        }
    }
}

/// A fault that replaces or breaks a command: see
/// [`ServerBuilder::fault`](crate::ServerBuilder::fault). `Abort` and `Silence` affect only commands
/// with a data connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// Reply 421 instead of carrying out the command, and close the connection.
    Close,
    /// Close the data connection after `after` bytes, or at the end of shorter data, and reply 426.
    /// An upload is not published.
    Abort {
        /// Bytes over the data connection.
        after: u64,
    },
    /// Like [`Abort`](Self::Abort), but without a final reply: the session waits for the next
    /// command.
    Silence {
        /// Bytes over the data connection.
        after: u64,
    },
    /// Wait before carrying the command out.
    Delay(Duration),
}

/// Faults by verb and number of a command. Commands of each verb are counted from 1, over all
/// sessions of a server.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<InjectedFault>,
    counts: Lock<Vec<FaultCount>>,
}

#[derive(Clone, Copy, Debug)]
struct InjectedFault {
    verb: Verb,
    nth: u64,
    fault: ProtocolFault,
}

#[derive(Debug)]
struct FaultCount {
    verb: Verb,
    seen: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, verb: Verb, nth: u64, fault: ProtocolFault) {
        self.rules.push(InjectedFault { verb, nth, fault });
    }

    /// Counts a command, and returns its fault, if any.
    pub(crate) fn next(&self, verb: Verb) -> Option<ProtocolFault> {
        if !self.rules.iter().any(|rule| rule.verb == verb) {
            return None;
        }
        let nth = self.count(verb);
        let rule = self.rules.iter().find(|rule| rule.verb == verb && rule.nth == nth)?;
        Some(rule.fault)
    }

    fn count(&self, verb: Verb) -> u64 {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.iter_mut().find(|count| count.verb == verb) {
            count.seen += 1;
            return count.seen;
        }
        counts.push(FaultCount { verb, seen: 1 });
        1
    }
}

/// Outgoing data that is cut after its first bytes. It offers no file descriptor, so that all bytes
/// pass through `fill` and are counted.
pub(crate) struct CutOutgoing {
    pub(crate) inner: Box<dyn Outgoing>,
    pub(crate) left: u64,
}

impl Outgoing for CutOutgoing {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.inner.prepare()
    }

    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let start = out.len();
        let has_more = self.inner.fill(room, out)?;
        let filled = out.len() - start;
        let taken = filled.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out.truncate(start + taken);
        self.left -= taken as u64;
        Ok(has_more && self.left > 0)
    }
}

/// An upload that fails after `left` bytes, or at its end if it is shorter.
pub(crate) struct CutUpload {
    pub(crate) inner: Box<dyn Upload>,
    pub(crate) left: u64,
}

impl Write for CutUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 && !bytes.is_empty() {
            return Err(io::Error::other("cut off by a test script"));
        }
        let written = self.inner.write(bytes.get(..most).unwrap_or(bytes))?;
        self.left = self.left.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for CutUpload {
    forward_storage!(self, self.inner; prepare, ready);

    /// Fails without publishing the upload, even if its data ended before the cut.
    fn commit(self: Box<Self>) -> StorageResult<()> {
        self.inner.abort(StreamEnd::Cut);
        Err(StorageErrorKind::Io.into())
    }

    fn abort(self: Box<Self>, end: StreamEnd) {
        // The cut is the cause of the failure, not the storage.
        self.inner.abort(if end == StreamEnd::Failed { StreamEnd::Cut } else { end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_for_one_command_of_its_verb() {
        let mut faults = Faults::default();
        faults.add(Verb::Retr, 2, ProtocolFault::Close);
        faults.add(Verb::Stor, 1, ProtocolFault::Abort { after: 7 });
        assert_eq!(faults.next(Verb::Retr), None);
        assert_eq!(faults.next(Verb::List), None);
        assert_eq!(faults.next(Verb::Retr), Some(ProtocolFault::Close));
        assert_eq!(faults.next(Verb::Stor), Some(ProtocolFault::Abort { after: 7 }));
        assert_eq!(faults.next(Verb::Stor), None);
        assert_eq!(faults.next(Verb::Retr), None);
    }

    /// Data without end, in pieces of a few bytes.
    struct Endless(usize);

    impl Outgoing for Endless {
        fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
            out.resize(out.len() + self.0.min(room), b'x');
            Ok(true)
        }
    }

    #[test]
    fn data_is_cut_at_the_exact_byte_however_it_comes() {
        for piece in 1..=4 {
            for left in 0..=9 {
                let mut cut = CutOutgoing { inner: Box::new(Endless(piece)), left };
                let mut out = Vec::new();
                while cut.fill(4, &mut out).unwrap() {}
                assert_eq!(out.len() as u64, left, "pieces of {piece}");
            }
        }
    }
}
