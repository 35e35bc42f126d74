//! The control connection of a session: reads command lines and writes replies.

mod protected;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ftp_proto::limits::READ_AHEAD;
use ftp_proto::{LineDecoder, LineEvent, Reply, Verb};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::limits;
use crate::net::socket::{is_hung_up, is_ready};
use crate::service::register::SessionHandle;
use crate::tls::Connection;

/// Maximum number of reads in one check of the control connection. The transfer must continue, or
/// abort, even if the peer sends without end.
const READS_A_LOOK: u32 = 16;

#[derive(Debug)]
pub(super) enum InputArrival {
    /// A line, or an event in place of a line.
    Event(LineEvent<'static>),
    /// The peer closed the connection, or it broke.
    Ended,
    /// No complete line arrived in time.
    TimedOut,
}

/// Result of a check of the control connection during a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ControlNotice {
    /// `ABOR`: abort the transfer.
    Abort,
    /// `STAT` without argument: report the progress at once.
    Status,
    /// The peer has disconnected.
    Ended,
}

/// The remaining reads of one check of the control connection.
pub(super) struct ReadBudget {
    reads: u32,
    /// Whether to report every `STAT` at once, not only one after a Telnet Interrupt Process.
    status: bool,
    /// Whether too many lines end the session. Otherwise they stay unread.
    floods: bool,
}

impl ReadBudget {
    /// Starts a check. If `status` is set, the check reports a `STAT` at once. Otherwise a `STAT`
    /// waits for its turn, unless a Telnet Interrupt Process says that it must not.
    pub(super) const fn new(status: bool) -> Self {
        Self { reads: READS_A_LOOK, status, floods: true }
    }

    /// Starts a check that leaves unread what the queue has no room for.
    pub(super) const fn patient() -> Self {
        Self { reads: READS_A_LOOK, status: false, floods: false }
    }
}

pub(super) struct Control {
    line: Arc<SessionHandle>,
    decoder: LineDecoder,
    /// TLS of the connection, in a separate allocation because most sessions have none.
    protection: Option<Box<Connection>>,
    /// Decrypted bytes that did not fit into the decoder, because one record may exceed its free
    /// space.
    plain: Vec<u8>,
    /// Whether the client began a TLS handshake in the place of a command.
    began_tls: bool,
    /// Lines that arrived during a transfer and wait for its end.
    waiting: VecDeque<LineEvent<'static>>,
    waiting_bytes: usize,
    /// Whether no more bytes will arrive.
    ended: bool,
    /// Whether more than [`limits::WAITING_LINES`] lines arrived during a transfer.
    flooded: bool,
    /// The receive timeout of the socket, kept here because each change costs a system call.
    timeout: Option<Duration>,
    /// Maximum time that the peer may leave a reply unread.
    patience: Duration,
    /// Time at which the session must end, even while replies are unread.
    end: Option<Instant>,
}

impl Control {
    /// Wraps a connection. If `strict` is set, only CR LF ends a command line.
    pub(super) fn new(line: Arc<SessionHandle>, strict: bool) -> Self {
        Self {
            line,
            decoder: if strict { LineDecoder::strict() } else { LineDecoder::new() },
            protection: None,
            plain: Vec::new(),
            began_tls: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ended: false,
            flooded: false,
            timeout: None,
            patience: limits::REPLY_WRITE,
            end: None,
        }
    }

    /// Returns a value to take the place of this one for a while.
    pub(super) fn stand_in(&self) -> Self {
        Self::new(Arc::clone(&self.line), false)
    }

    /// Waits for the next event until `limit` has passed since `start`. Parts of a line do not
    /// extend the limit, nor do lines that have already arrived.
    pub(super) fn next(&mut self, start: Instant, limit: Duration) -> InputArrival {
        if start.elapsed() >= limit {
            return InputArrival::TimedOut;
        }
        let mut has_waited = false;
        if let Some(event) = self.first_kept() {
            return InputArrival::Event(event);
        }
        loop {
            if let Some((event, _)) = self.decoded() {
                return InputArrival::Event(event);
            }
            if self.decode_more() {
                continue;
            }
            if self.ended {
                return InputArrival::Ended;
            }
            let Some(rest) = limit.checked_sub(start.elapsed()).filter(|rest| !rest.is_zero())
            else {
                return InputArrival::TimedOut;
            };
            // Usually nearly the whole limit is left, and the socket can keep `limit` as its
            // timeout.
            let fresh = rest > limit.mul_f32(0.99) && !self.decoder.is_mid_line();
            let wait = if fresh { limit } else { rest };
            // At first, a shorter timeout is enough, because a command usually arrives before that
            // timeout ends.
            let will_do = !has_waited && self.timeout.is_some_and(|timeout| timeout <= wait);
            has_waited = true;
            let is_set = if will_do { Ok(()) } else { self.set_timeout(wait) };
            if let Err(error) = is_set.and_then(|()| self.fill()) {
                match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    _ => self.ended = true,
                }
            }
        }
    }

    pub(super) const fn began_tls(&self) -> bool {
        self.began_tls
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        if self.timeout != Some(timeout) {
            self.line.stream.set_read_timeout(Some(timeout))?;
            self.timeout = Some(timeout);
        }
        Ok(())
    }

    /// Returns the next complete line or other event, and whether a Telnet Interrupt Process came
    /// before it.
    fn decoded(&mut self) -> Option<(LineEvent<'static>, bool)> {
        let event = self.decoder.next()?.into_owned();
        Some((event, self.decoder.take_interrupt()))
    }

    fn keep(&mut self, event: LineEvent<'static>) {
        self.waiting_bytes += cost_of(&event);
        self.waiting.push_back(event);
    }

    fn first_kept(&mut self) -> Option<LineEvent<'static>> {
        let event = self.waiting.pop_front()?;
        self.waiting_bytes -= cost_of(&event);
        Some(event)
    }

    fn fill(&mut self) -> io::Result<()> {
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
        self.began_tls |= bytes.starts_with(&[0x16, 3]) && !self.decoder.is_mid_line();
        // All callers empty the decoder before they read again, and read less than fits into it.
        let taken = self.decoder.push(bytes);
        debug_assert_eq!(taken, bytes.len());
    }

    /// Passes more bytes from `plain` to the decoder. Returns `false` if the decoder took none.
    /// poll(2) does not see the bytes in `plain`.
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

    /// Waits until `until`, and keeps incoming lines for later. Returns `false` if the session must
    /// end before then, or if the peer closes its side without a `QUIT`.
    pub(super) fn pause(&mut self, until: Instant) -> bool {
        loop {
            let has_room = loop {
                if self.waiting.len() >= limits::WAITING_LINES || self.waiting_bytes >= READ_AHEAD {
                    break false;
                }
                let Some((event, _)) = self.decoded() else {
                    if self.decode_more() {
                        continue;
                    }
                    break !self.ended;
                };
                self.keep(event);
            };
            if self.line.is_cut() || self.ended && !self.is_quitting() {
                return false;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return true;
            }
            let flags = if has_room { PollFlags::IN } else { PollFlags::RDHUP };
            // A socket whose input has ended is always ready, so it is not polled.
            if self.ended {
                thread::sleep(rest.min(limits::TICK));
                continue;
            }
            match is_ready(&self.line.stream, flags, rest) {
                Ok(false) => continue,
                Ok(true) if has_room => {}
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

    pub(super) fn set_end(&mut self, end: Option<Instant>) {
        self.end = end;
    }

    /// Sets whether the transfer depends on the client.
    pub(super) fn set_moving(&self, moving: bool) {
        self.line.set_moving(moving);
    }

    /// Publishes the number of bytes that a transfer has moved so far.
    pub(super) fn show_moved(&self, bytes: u64) {
        self.line.shown.set_moved(bytes);
    }

    /// Writes a reply in one piece. Fails if the peer does not accept the whole reply within
    /// [`limits::REPLY_WRITE`] or by the end of the session.
    pub(super) fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.send_bytes(&encoded(reply))
    }

    /// Writes encoded bytes: a Telnet answer, or several replies at once.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.protection {
            Some(_) => self.encrypt(bytes),
            None => self.write(bytes),
        }
    }

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
                    // A peer that accepts a byte now and then does not extend the limit.
                    let deadline = *deadline
                        .get_or_insert_with(|| self.end.map_or(latest, |end| end.min(latest)));
                    let left = deadline.saturating_duration_since(now);
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    is_ready(stream, PollFlags::OUT, left)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Closes the connection after the last reply. Closing a socket with unread bytes resets the
    /// connection, and the reset can overtake the reply. So this function first reads the rest of
    /// the input, for at most [`limits::LAST_WAIT`] and [`limits::LAST_INPUT`] bytes.
    pub(super) fn hang_up(&mut self) {
        if self.close_protection().is_err() {
            return;
        }
        let stream = &self.line.stream;
        let start = Instant::now();
        let mut left = limits::LAST_INPUT;
        let mut bytes = [0; 1_024];
        while let Some(rest) = limits::LAST_WAIT.checked_sub(start.elapsed()) {
            match rustix::net::recv(stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 && count <= left => {
                    if left == limits::LAST_INPUT && stream.shutdown(Shutdown::Write).is_err() {
                        return;
                    }
                    left -= count;
                }
                Err(Errno::INTR) => {}
                // No input is unread, and the client does not expect replies to later input.
                // Closing the socket ends the connection.
                Err(Errno::AGAIN) if left == limits::LAST_INPUT => return,
                Err(Errno::AGAIN) => {
                    if !is_ready(stream, PollFlags::IN, rest).unwrap_or(false) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Returns whether a `QUIT` is queued. If so, the client is expected to close the connection. A
    /// `QUIT` that is still unread because the queue is full does not count: any number of bytes
    /// can precede it.
    pub(super) fn is_quitting(&self) -> bool {
        self.waiting.iter().any(|event| verb_of(event).is_some_and(|(verb, _)| verb == Verb::Quit))
    }

    /// Returns whether lines that arrived during a transfer are still unhandled.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.flooded
    }

    /// Returns the descriptor to poll for input during a transfer, or `None` if the queue is full
    /// or the input has ended.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.has_room().then(|| self.line.stream.as_fd())
    }

    /// Waits up to `limit` for input during a transfer. Returns `false` at once if the queue is
    /// full or the input has ended.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let Some(descriptor) = self.descriptor() else { return false };
        // The next check finds the result.
        let _ = is_ready(&descriptor, PollFlags::IN, limit);
        true
    }

    fn has_room(&self) -> bool {
        !self.ended && !self.is_full()
    }

    const fn is_full(&self) -> bool {
        self.flooded || self.waiting_bytes >= READ_AHEAD
    }

    /// Reads available input without waiting, keeps lines for later, and returns an event that
    /// cannot wait. Call it again with the same `look` until it returns `None`.
    pub(super) fn look(&mut self, look: &mut ReadBudget) -> Option<ControlNotice> {
        // An `ABOR` may have arrived during a pause before this transfer.
        let kept = self.waiting.len();
        for _ in 0..kept {
            let Some(event) = self.first_kept() else { break };
            if self.waiting.len() + 1 == kept && verb_of(&event) == Some((Verb::Abor, b"")) {
                continue;
            }
            self.keep(event);
        }
        if self.waiting.len() < kept {
            return Some(ControlNotice::Abort);
        }
        loop {
            let is_queue_full = loop {
                if !look.floods && self.waiting.len() >= limits::WAITING_LINES {
                    break true;
                }
                let Some((event, is_interrupt)) = self.decoded() else { break false };
                match verb_of(&event) {
                    Some((Verb::Abor, b"")) => return Some(ControlNotice::Abort),
                    Some((Verb::Stat, b"")) if look.status || is_interrupt => {
                        return Some(ControlNotice::Status);
                    }
                    _ if self.waiting.len() < limits::WAITING_LINES => self.keep(event),
                    _ => self.flooded = true,
                }
            };
            if !is_queue_full && !self.is_full() && self.decode_more() {
                continue;
            }
            // A client may close its side after its last command.
            let is_expecting =
                if look.floods { self.is_quitting() } else { !self.waiting.is_empty() };
            if self.line.is_cut() || self.ended && !is_expecting {
                return Some(ControlNotice::Ended);
            }
            if is_queue_full || !self.has_room() {
                // Unread bytes must not hide that the peer has disconnected.
                if self.ended || !is_hung_up(&self.line.stream) {
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

/// Encodes a reply. Of a reply longer than [`limits::REPLY`], such as one of the program that embeds
/// the server, the client gets only the code: the session would hold it while the client does not read.
pub(super) fn encoded(reply: &Reply) -> Vec<u8> {
    let bytes = reply.encode();
    match bytes.len() <= limits::REPLY {
        true => bytes,
        false => Reply::new(reply.code(), "The reply is too long to send").encode(),
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
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use ftp_proto::ReplyCode;

    use super::*;

    #[test]
    fn sending_replies_to_a_peer_that_does_not_read_times_out_fr_32_hs_03_hs_07_st_10() {
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

    #[test]
    fn a_reply_too_long_for_the_memory_of_a_session_loses_its_text_ho_01() {
        let reply = |length: usize| Reply::new(ReplyCode::OKAY, vec![0xff; length]);
        // Each 0xFF is doubled.
        for (length, whole) in [(limits::REPLY / 2 - 3, true), (limits::REPLY / 2 - 2, false)] {
            let sent = encoded(&reply(length));
            assert!(sent.len() <= limits::REPLY && sent.starts_with(b"200 "), "{}", sent.len());
            assert_eq!(sent.len() > limits::REPLY - 4, whole, "{}", sent.len());
        }
    }

    #[test]
    fn an_abort_that_arrives_during_a_pause_ends_the_next_transfer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let mut control = Control::new(Arc::new(SessionHandle::new(stream, peer)), false);
        client.write_all(b"STOR a\r\nABOR\r\nNOOP\r\n").unwrap();
        let start = Instant::now();
        while control.waiting.len() < 3 {
            assert!(control.pause(Instant::now() + limits::TICK));
        }
        let limit = Duration::from_secs(60);
        assert!(matches!(control.next(start, limit), InputArrival::Event(event)
            if verb_of(&event) == Some((Verb::Stor, b"a"))));
        assert_eq!(control.look(&mut ReadBudget::new(true)), Some(ControlNotice::Abort));
        assert_eq!(control.look(&mut ReadBudget::new(true)), None);
        assert!(matches!(control.next(start, limit), InputArrival::Event(event)
            if verb_of(&event) == Some((Verb::Noop, b""))));
        assert_eq!(control.waiting_bytes, 0);
    }
}
