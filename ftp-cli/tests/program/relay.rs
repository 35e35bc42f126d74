//! A relay that counts the commands of clients.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes control connections on to a server, and counts the commands of clients, and the flights
/// in which they arrive.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    flights: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::watched(server, |_| {})
    }

    /// Starts a relay that calls `watch` with each command line before the server gets it.
    pub(crate) fn watched(
        server: SocketAddr,
        watch: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self::numbered(server, move |_, line| watch(line))
    }

    /// Starts a relay that also passes to `watch` the number of the connection, counted from 0.
    pub(crate) fn numbered(
        server: SocketAddr,
        watch: impl Fn(usize, &str) + Send + Sync + 'static,
    ) -> Self {
        let watch = Arc::new(watch);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Mutex::new(BTreeMap::new()));
        let kept = Arc::clone(&counts);
        let flights = Arc::<AtomicUsize>::default();
        let flown = Arc::clone(&flights);
        // Ends with the test.
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let Ok(server) = TcpStream::connect(server) else { return };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (replies, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pass(&replies, &to, |_| {}));
                let counts = Arc::clone(&kept);
                let flights = Arc::clone(&flown);
                let watch = Arc::clone(&watch);
                let mut line = Vec::new();
                thread::spawn(move || {
                    pass(&client, &server, |bytes| {
                        flights.fetch_add(1, Ordering::SeqCst);
                        for byte in bytes {
                            line.push(*byte);
                            if *byte == b'\n' {
                                let verb = line.split(|byte| !byte.is_ascii_alphanumeric()).next();
                                let verb = String::from_utf8_lossy(verb.unwrap()).into_owned();
                                watch(number, String::from_utf8_lossy(&line).trim_end());
                                *counts.lock().unwrap().entry(verb).or_default() += 1;
                                line.clear();
                            }
                        }
                    });
                });
            }
        });
        Self { address, counts, flights }
    }

    /// Returns the number of commands of each kind since the last call.
    pub(crate) fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    /// Returns the number of commands of a kind since they were last taken.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.counts.lock().unwrap().get(verb).copied().unwrap_or_default()
    }

    /// Returns in how many pieces the commands arrived since the last call: a client that waits for
    /// each reply sends one piece per round trip.
    pub(crate) fn take_flights(&self) -> usize {
        self.flights.swap(0, Ordering::SeqCst)
    }
}

/// Passes bytes on until either side ends, and looks at each piece.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut see: impl FnMut(&[u8])) {
    let mut piece = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        // Counted before the peer can answer it and the client end.
        see(&piece[..count]);
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
