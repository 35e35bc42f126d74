//! A program between a server and its object store, which decides over each request.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of a request.
#[derive(Debug)]
pub enum Fate {
    /// It passes. Its answer sets the flag, if there is one.
    Pass(Option<Arc<AtomicBool>>),
    /// The connection ends before the store gets it.
    Lost,
    /// The store gets it, and the connection ends before the answer.
    AnswerLost,
    /// It passes, and the store gets it again this time later, from another connection.
    Twice(Duration),
}

/// Starts a program before a store. `decide` gets the beginning of each request, and may change it
/// or wait.
#[must_use]
pub fn between(
    store: SocketAddr,
    decide: impl Fn(&mut Vec<u8>) -> Fate + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let decide = Arc::new(decide);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let decide = Arc::clone(&decide);
            // A store that does not run ends the connection.
            thread::spawn(move || {
                TcpStream::connect(store).map(|there| relay(&stream, &there, &*decide))
            });
        }
    });
    address
}

/// What becomes of the answers on a connection.
#[derive(Default)]
struct Answers {
    told: Option<Arc<AtomicBool>>,
    are_lost: bool,
}

fn relay(here: &TcpStream, there: &TcpStream, decide: &dyn Fn(&mut Vec<u8>) -> Fate) {
    const HEADS: [&[u8]; 5] = [b"GET /", b"HEAD /", b"PUT /", b"POST /", b"DELETE /"];
    let end = || [here, there].iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    let answers = Mutex::new(Answers::default());
    let answers = || answers.lock().expect("nobody panics while it is held");
    thread::scope(|scope| {
        scope.spawn(|| {
            let ([mut here, mut there], mut bytes) = ([here, there], [0; 16_384]);
            while let Ok(count @ 1..) = there.read(&mut bytes) {
                let answers = answers();
                if answers.are_lost {
                    break;
                }
                if let Some(told) = &answers.told {
                    told.store(true, Ordering::SeqCst);
                }
                // The server may have given up.
                let _ = here.write_all(bytes.get(..count).unwrap_or_default());
            }
            end();
        });
        let ([mut here, mut there], mut bytes) = ([here, there], vec![0; 65_536]);
        let mut repeated: Option<Arc<Mutex<Vec<u8>>>> = None;
        // A server sends the head of a request only after the answer to the request before.
        while let Ok(count @ 1..) = here.read(&mut bytes) {
            let mut passed = bytes.get(..count).unwrap_or_default().to_vec();
            if HEADS.iter().any(|head| passed.starts_with(head)) {
                repeated = None;
                match decide(&mut passed) {
                    Fate::Pass(told) => answers().told = told,
                    Fate::Lost => return end(),
                    Fate::AnswerLost => answers().are_lost = true,
                    Fate::Twice(later) => repeated = Some(repeat(there, later)),
                }
            }
            if let Some(repeated) = &repeated {
                repeated.lock().expect("nobody panics while it is held").extend(&passed);
            }
            if there.write_all(&passed).is_err() {
                break;
            }
        }
        // A request of a server that has given up still goes on.
        let _ = there.shutdown(Shutdown::Write);
    });
}

/// Sends a request again, whose bytes the caller adds until then.
fn repeat(there: &TcpStream, later: Duration) -> Arc<Mutex<Vec<u8>>> {
    let request: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (bytes, store) = (Arc::clone(&request), there.peer_addr());
    thread::spawn(move || -> std::io::Result<()> {
        thread::sleep(later);
        let mut there = TcpStream::connect(store?)?;
        there.write_all(&bytes.lock().expect("nobody panics while it is held"))?;
        there.shutdown(Shutdown::Write)?;
        there.read_to_end(&mut Vec::new()).map(drop)
    });
    request
}
