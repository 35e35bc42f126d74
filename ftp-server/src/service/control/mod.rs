//! The control connection: the one place that reads command lines and writes replies.

mod protected;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ftp_proto::limits::READ_AHEAD;
use ftp_proto::{LineDecoder, LineEvent, Reply, Verb};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::limits;
use crate::service::session_handle::SessionHandle;
use crate::tls::Connection;

/// How many reads one look at the control connection takes. A peer that sends without end must
/// not keep its transfer from going on, nor from being given up.
const READS_A_LOOK: u32 = 16;

/// What the control connection brought.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A line, or what was there in place of one.
    Event(LineEvent<'static>),
    /// The peer closed it, or it broke.
    Ended,
    /// Nothing whole came in time.
    TimedOut,
}

/// What a look at the control connection during a transfer found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Notice {
    /// `ABOR`: end the transfer.
    Abort,
    /// `STAT` without argument: say how far it is.
    Status,
    /// The peer is gone.
    Ended,
}

/// What is left of one look at the control connection: it ends though more keeps coming.
pub(super) struct Look {
    reads: u32,
    /// Whether `STAT` is answered at once.
    status: bool,
}

impl Look {
    /// `STAT` is answered at once if `status`, and waits its turn otherwise.
    pub(super) const fn new(status: bool) -> Self {
        Self { reads: READS_A_LOOK, status }
    }
}

/// One client's control connection, read and decoded.
pub(super) struct Control {
    line: Arc<SessionHandle>,
    decoder: LineDecoder,
    /// What protects it, if anything does, in memory of its own: most sessions have none.
    protection: Option<Box<Connection>>,
    /// What was decrypted and is not decoded yet.
    plain: Vec<u8>,
    /// Lines that came during a transfer and wait for its end.
    waiting: VecDeque<LineEvent<'static>>,
    waiting_bytes: usize,
    /// No more bytes will come.
    ended: bool,
    /// More lines than [`limits::WAITING_LINES`] came during a transfer.
    flooded: bool,
    /// The receive timeout now set on the socket; setting it costs a call.
    timeout: Option<Duration>,
    /// How long the peer may leave a reply unread.
    patience: Duration,
    /// When the session ends, whatever the peer leaves unread.
    end: Option<Instant>,
}

impl Control {
    /// With `strict`, only CR LF ends a command line.
    pub(super) fn new(line: Arc<SessionHandle>, strict: bool) -> Self {
        Self {
            line,
            decoder: if strict { LineDecoder::strict() } else { LineDecoder::new() },
            protection: None,
            plain: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ended: false,
            flooded: false,
            timeout: None,
            patience: limits::REPLY_WRITE,
            end: None,
        }
    }

    /// The next event, waited for until `limit` has passed since `start`. A peer that sends half
    /// a line now and then does not extend it, nor do lines that are here already.
    pub(super) fn next(&mut self, start: Instant, limit: Duration) -> Arrival {
        if start.elapsed() >= limit {
            return Arrival::TimedOut;
        }
        if let Some(event) = self.waiting.pop_front() {
            self.waiting_bytes -= cost_of(&event);
            return Arrival::Event(event);
        }
        loop {
            if let Some(event) = self.decoder.next() {
                return Arrival::Event(event.into_owned());
            }
            if self.decode_more() {
                continue;
            }
            if self.ended {
                return Arrival::Ended;
            }
            let Some(rest) = limit.checked_sub(start.elapsed()).filter(|rest| !rest.is_zero())
            else {
                return Arrival::TimedOut;
            };
            // Mostly the whole limit is left, and the socket is set to that already.
            let fresh = rest > limit.mul_f32(0.99) && !self.decoder.is_mid_line();
            let wait = if fresh { limit } else { rest };
            if let Err(error) = self.fill(wait) {
                match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    _ => self.ended = true,
                }
            }
        }
    }

    fn fill(&mut self, wait: Duration) -> io::Result<()> {
        if self.timeout != Some(wait) {
            self.line.stream.set_read_timeout(Some(wait))?;
            self.timeout = Some(wait);
        }
        let mut bytes = [0; 1_024];
        let count = (&self.line.stream).read(&mut bytes)?;
        self.take(bytes.get_mut(..count).unwrap_or_default());
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            self.ended = true;
        }
        if self.protection.is_some() {
            return self.decrypt(bytes);
        }
        // `next` and `look` empty the decoder before they read again, and read less than fits.
        let taken = self.decoder.push(bytes);
        debug_assert_eq!(taken, bytes.len());
    }

    /// Gives the decoder more of what was decrypted: one record may have more than it takes at once.
    /// False if there is no more. What is here is not to be seen by poll(2).
    fn decode_more(&mut self) -> bool {
        if self.plain.is_empty() {
            return false;
        }
        let taken = self.decoder.push(&self.plain);
        if taken == self.plain.len() {
            self.plain = Vec::new();
        } else {
            self.plain.drain(..taken);
        }
        taken > 0
    }

    /// Waits until `until`, and keeps what comes meanwhile for later. False if the peer has closed
    /// its side before, or the session has to end.
    pub(super) fn pause(&mut self, until: Instant) -> bool {
        loop {
            let has_room = loop {
                if self.waiting.len() >= limits::WAITING_LINES || self.waiting_bytes >= READ_AHEAD {
                    break false;
                }
                let Some(event) = self.decoder.next().map(LineEvent::into_owned) else {
                    if self.decode_more() {
                        continue;
                    }
                    break !self.ended;
                };
                self.waiting_bytes += cost_of(&event);
                self.waiting.push_back(event);
            };
            if self.line.is_cut() || self.ended && !self.is_quitting() {
                return false;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            let flags = if has_room { PollFlags::IN } else { PollFlags::RDHUP };
            let polled = match self.ended {
                false => {
                    let mut one = [PollFd::new(&self.line.stream, flags)];
                    poll(&mut one, Timespec::try_from(rest).ok().as_ref())
                }
                // It would be ready all the time.
                true => poll(&mut [], Timespec::try_from(rest.min(limits::TICK)).ok().as_ref()),
            };
            match polled {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) if has_room => {}
                _ => {
                    self.ended = true;
                    continue;
                }
            }
            let mut bytes = [0; 1_024];
            match rustix::net::recv(&self.line.stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((count, _)) => self.take(bytes.get_mut(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.ended = true,
            }
        }
    }

    /// Says when the session has to be over, if it has to.
    pub(super) fn set_end(&mut self, end: Option<Instant>) {
        self.end = end;
    }

    /// Says that the transfer depends on the client from now on, or no longer does.
    pub(super) fn set_moving(&self, moving: bool) {
        self.line.set_moving(moving);
    }

    /// Shows how many bytes a transfer has moved so far.
    pub(super) fn show_moved(&self, bytes: u64) {
        self.line.shown.set_moved(bytes);
    }

    /// Writes a reply, in one piece. Fails when the peer does not read it for
    /// [`limits::REPLY_WRITE`], or until the session has to be over.
    pub(super) fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.send_bytes(&reply.encode())
    }

    /// Writes bytes as they are: a Telnet answer, or several replies at once.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.protection {
            Some(_) => self.encrypt(bytes),
            None => self.write(bytes),
        }
    }

    /// Writes bytes to the socket.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = &self.line.stream;
        let mut deadline = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::net::send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let now = Instant::now();
                    let latest = now + self.patience;
                    // A byte that is taken now and then does not extend it.
                    let deadline = *deadline
                        .get_or_insert_with(|| self.end.map_or(latest, |end| end.min(latest)));
                    let left = deadline.saturating_duration_since(now);
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let mut one = [PollFd::new(stream, PollFlags::OUT)];
                    match poll(&mut one, Timespec::try_from(left).ok().as_ref()) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Ends the connection behind the last reply. To close a socket with unread bytes resets it,
    /// and the reset can overtake that reply: what the peer still sends is read first, for a
    /// moment and up to a bound.
    pub(super) fn hang_up(&mut self) {
        if self.close_protection().is_err() {
            return;
        }
        let stream = &self.line.stream;
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let start = Instant::now();
        let mut left = limits::LAST_INPUT;
        let mut bytes = [0; 1_024];
        while let Some(rest) = limits::LAST_WAIT.checked_sub(start.elapsed()) {
            match rustix::net::recv(stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 && count <= left => left -= count,
                Err(Errno::INTR) => {}
                // Nothing was under way: what may still come, nobody waits for an answer to.
                Err(Errno::AGAIN) if left == limits::LAST_INPUT => return,
                Err(Errno::AGAIN) => {
                    let mut one = [PollFd::new(stream, PollFlags::IN)];
                    let rest = Timespec::try_from(rest).ok();
                    if !poll(&mut one, rest.as_ref()).is_ok_and(|count| count > 0) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Whether the client has said that it will not listen for what comes: `QUIT` waits. A
    /// connection that ends behind it is no accident. A `QUIT` that is not read yet, since as much
    /// waits as may, does not count: it can stand behind any number of bytes.
    pub(super) fn is_quitting(&self) -> bool {
        self.waiting.iter().any(|event| verb_of(event).is_some_and(|(verb, _)| verb == Verb::Quit))
    }

    /// Whether lines that came during a transfer are still to be looked at.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether more lines came during a transfer than may wait.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded
    }

    /// What to poll for input during a transfer; `None` when as much waits as may, or no more
    /// will come.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.has_room().then(|| self.line.stream.as_fd())
    }

    /// Waits until there is something to look at during a transfer, at most for so long. False if
    /// nothing more is to be looked at.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let Some(descriptor) = self.descriptor() else { return false };
        let mut one = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        // Whatever it says, looking tells.
        let _ = poll(&mut one, Timespec::try_from(limit).ok().as_ref());
        true
    }

    fn has_room(&self) -> bool {
        !self.ended && !self.is_full()
    }

    /// Whether as much waits as may.
    const fn is_full(&self) -> bool {
        self.flooded || self.waiting_bytes >= READ_AHEAD
    }

    /// Whether the peer has closed its side, behind whatever is not read yet.
    fn is_hung_up(&self) -> bool {
        let mut one = [PollFd::new(&self.line.stream, PollFlags::RDHUP)];
        poll(&mut one, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    /// Reads what is there without waiting, keeps lines for later, and says what cannot wait. To
    /// be called again, with the same `look`, until there is nothing.
    pub(super) fn look(&mut self, look: &mut Look) -> Option<Notice> {
        loop {
            while let Some(event) = self.decoder.next().map(LineEvent::into_owned) {
                match verb_of(&event) {
                    Some((Verb::Abor, b"")) => return Some(Notice::Abort),
                    Some((Verb::Stat, b"")) if look.status => return Some(Notice::Status),
                    _ if self.waiting.len() < limits::WAITING_LINES => {
                        self.waiting_bytes += cost_of(&event);
                        self.waiting.push_back(event);
                    }
                    _ => self.flooded = true,
                }
            }
            if !self.is_full() && self.decode_more() {
                continue;
            }
            if self.line.is_cut() || self.ended && !self.is_quitting() {
                return Some(Notice::Ended);
            }
            if !self.has_room() {
                // What is left unread must not hide that nobody is there any more.
                if self.ended || !self.is_hung_up() {
                    return None;
                }
                self.ended = true;
                continue;
            }
            look.reads = look.reads.checked_sub(1)?;
            let mut bytes = [0; 1_024];
            match rustix::net::recv(&self.line.stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((count, _)) => self.take(bytes.get_mut(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => self.ended = true,
            }
        }
    }
}

fn cost_of(event: &LineEvent<'_>) -> usize {
    match event {
        LineEvent::Line(line) => line.len(),
        _ => 0,
    }
}

fn verb_of<'a>(event: &'a LineEvent<'_>) -> Option<(Verb, &'a [u8])> {
    match event {
        LineEvent::Line(line) => Verb::split(line).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn a_peer_that_leaves_replies_unread_is_given_up_fr_32_hs_03_hs_07_st_10() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reply = Reply::new(ReplyCode::OKAY, "x".repeat(8_000));
        let short = Duration::from_millis(300);
        for (patience, ends) in [(short, false), (Duration::from_secs(300), true)] {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            let line = Arc::new(SessionHandle::new(stream, peer));
            let mut control = Control::new(line, false);
            control.patience = patience;
            let start = Instant::now();
            control.set_end(ends.then(|| start + short));
            let error = (0..100_000).find_map(|_| control.send(&reply).err()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() >= short, "{:?}: too early", start.elapsed());
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
            drop(client);
        }
    }
}
