//! What `serve` uses when there is very much of something: sessions, commands, entries.
//!
//! `FTP_SCALE=1 cargo test --release -p ftp-cli --test program -- --nocapture --test-threads=1
//! at_scale` runs and prints the full figures, which take minutes; without it counts are small.

mod directories;
mod sessions;

use std::io::Read;
use std::time::Duration;

use ftp_tests::raw::RawSession;

/// The longest that a login may take beside whatever load.
const LOGIN: Duration = Duration::from_secs(1);

/// Sends `lines` without waiting and returns the code of each reply, of which one is the answer to
/// each line.
fn codes(session: &RawSession, lines: &[u8], count: usize) -> Vec<u16> {
    use std::io::Write;
    let mut stream = session.stream();
    stream.set_read_timeout(Some(ftp_tests::raw::DEADLINE)).unwrap();
    stream.write_all(lines).unwrap();
    let (mut codes, mut replies, mut buffer) = (Vec::new(), Vec::new(), [0; 16 * 1024]);
    while codes.len() < count {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "closed after {codes:?}");
        replies.extend_from_slice(&buffer[..read]);
        let whole = replies.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for line in replies[..whole].split_inclusive(|&byte| byte == b'\n') {
            // Lines in between begin with SP, or have a `-` behind the code.
            if line.get(3) == Some(&b' ') && line[..3].iter().all(u8::is_ascii_digit) {
                codes.push(std::str::from_utf8(&line[..3]).unwrap().parse().unwrap());
            }
        }
        replies.drain(..whole);
    }
    assert!(replies.is_empty(), "more replies than lines: {replies:?}");
    codes
}
