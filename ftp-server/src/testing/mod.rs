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
mod faults;
mod recorder;

pub use crate::storage::{Fault, FaultStorage, StorageCall};
pub use contract::{restart_contract, storage_contract};
pub use faults::ProtocolFault;
pub use recorder::{NotRecorded, Record, Recorded, Recorder};

#[cfg(test)]
pub(crate) use contract::Numbers;
#[cfg(all(test, feature = "s3"))]
pub(crate) use contract::racing;
use faults::Faults;
pub(crate) use faults::{CutOutgoing, CutUpload};

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
