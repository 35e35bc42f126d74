//! Clients that know the size, and close the connection when they have all bytes.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex};

use ftp_server::{LocalStorage, Source, Storage, StorageError, VirtualPath, forward_storage};
use ftp_tests::raw::DEADLINE;
use ftp_tests::tls::Version;

use super::Secure;

/// A storage whose files report their end only after the client has closed its connection, as can
/// happen on a busy machine.
struct Late {
    inner: LocalStorage,
    closed: Arc<Closed>,
}

#[derive(Default)]
struct Closed {
    is_closed: Mutex<bool>,
    changed: Condvar,
}

impl Closed {
    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().unwrap() = is_closed;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let is_closed = self.is_closed.lock().unwrap();
        let waited = self.changed.wait_timeout_while(is_closed, DEADLINE, |is_closed| !*is_closed);
        assert!(*waited.unwrap().0, "the client does not close");
    }
}

impl Storage for Late {
    forward_storage!(self, self.inner; capabilities, confine, stat, list, write);
    forward_storage!(self, self.inner; unfinished, kept, forget, space);

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        let (source, closed) = (self.inner.read(path)?, Arc::clone(&self.closed));
        Ok(Box::new(LateEnd { source, closed }))
    }
}

struct LateEnd {
    source: Box<dyn Source>,
    closed: Arc<Closed>,
}

impl Read for LateEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if count == 0 {
            self.closed.wait();
        }
        Ok(count)
    }
}

impl Source for LateEnd {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn seek_to(&mut self, offset: u64) -> Result<(), StorageError> {
        self.source.seek_to(offset)
    }
}

#[test]
fn a_client_that_closes_after_the_last_byte_gets_226_tl_13_dc_50_dc_51() {
    let gate = Arc::new(Closed::default());
    let root = tempfile::tempdir().expect("a directory");
    let inner = LocalStorage::open(root.path()).expect("a storage");
    let storage = Late { inner, closed: Arc::clone(&gate) };
    let secure = Secure::built(|tls| tls, |builder| builder.storage(storage));
    for version in Version::ALL {
        let client = secure.client().version(version);
        let mut session = secure.session(&client);
        for length in [0, 1, 100, 16_384, 70_000, 1 << 20] {
            std::fs::write(root.path().join("f"), vec![b'x'; length]).expect("a file");
            gate.set(false);
            let mut data = session.tls_data(&client, "RETR f");
            data.read_exact(&mut vec![0; length]).expect("all bytes of the file");
            data.close_notify().expect("the server still reads");
            drop(data);
            gate.set(true);
            assert_eq!(session.reply().code, 226, "{length} bytes, {version:?}");
        }
        // A client that leaves in the middle does not have the whole file.
        std::fs::write(root.path().join("f"), vec![b'x'; 64 << 20]).expect("a file");
        let mut data = session.tls_data(&client, "RETR f");
        data.read_exact(&mut [0; 1_000]).expect("some bytes of the file");
        drop(data);
        session.expect_reply(426);
    }
}
