//! Log lines, each an event word and fields in a fixed order, as text or as JSON; and the rate limit of
//! log messages, so that a failure that repeats a thousand times per second does not fill the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ftp_proto::text::Stamp;
use ftp_proto::{Escaped, RepresentationType, TimeVal};
use log::Level;

use crate::limits;
use crate::log::{Event, EventKind, SessionEnd, Transfer};
use crate::storage::without_number;

/// A log line without its time. [`Display`] gives the text form.
pub(crate) struct Line {
    event: &'static str,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    Number(u64),
    /// Seconds with three decimals.
    Seconds(Duration),
    /// A fixed word or an address, which never needs quotes.
    Word(String),
    /// Text that a peer may have chosen, already escaped; it is written in quotes.
    Quoted(String),
    /// A message for the operator, of any length.
    Message(String),
}

impl Line {
    /// Returns the line of an event. `unsaid` is the number of similar earlier events without a
    /// line.
    pub(crate) fn of(event: &Event<'_>, unsaid: u64) -> Self {
        // This capacity is enough for a login. It is not larger, because the session's thread keeps
        // freed memory while it waits for the client.
        let mut line = Self { event: word(&event.kind), fields: Vec::with_capacity(5) };
        if let Some(session) = event.session {
            line.number("session", session);
        }
        line.word("peer", event.peer.ip());
        line.number("port", event.peer.port().into());
        match event.kind {
            EventKind::LoginRefused { user, .. } => line.bytes("user", user),
            _ => event.user.into_iter().for_each(|user| line.bytes("user", user)),
        }
        line.kind(event);
        if unsaid > 0 {
            line.number("unsaid", unsaid);
        }
        event.cause.into_iter().for_each(|cause| line.bytes("cause", cause.as_bytes()));
        event.error.into_iter().for_each(|error| line.bytes("error", error.as_bytes()));
        event.host.into_iter().for_each(|host| line.word("host", host));
        line
    }

    /// Adds the fields that only events of this kind have.
    fn kind(&mut self, event: &Event<'_>) {
        match event.kind {
            EventKind::Connected { local } => self.word("local", local),
            EventKind::Refused(refusal) => self.word("reason", refusal.as_str()),
            EventKind::LoginRefused { reason, .. } => self.word("reason", reason.as_str()),
            EventKind::LoggedIn => {
                event.tls.into_iter().for_each(|tls| self.word("tls", tls.version.as_str()));
            }
            EventKind::LoggedOut => {}
            EventKind::Banned { network, duration } => {
                self.word("network", network);
                self.seconds(duration);
            }
            EventKind::BanEnded { network } => self.word("network", network),
            EventKind::Ended { duration, end } => {
                self.seconds(duration);
                self.word("end", end.as_str());
                if let SessionEnd::Failed(error) = end {
                    self.bytes("error", without_number(&error.to_string()).as_bytes());
                }
            }
            EventKind::Transferred(transfer) => self.transfer(&transfer),
            EventKind::Deleted { path }
            | EventKind::DirectoryMade { path }
            | EventKind::DirectoryRemoved { path } => self.bytes("path", path.as_bytes()),
            EventKind::Renamed { from, to } => {
                self.bytes("path", from.as_bytes());
                self.bytes("to", to.as_bytes());
            }
            EventKind::CommandRefused { verb, path, to, reply } => {
                self.word("verb", verb);
                self.bytes("path", path.as_bytes());
                to.into_iter().for_each(|to| self.bytes("to", to.as_bytes()));
                self.number("reply", reply.code().value().into());
                self.bytes("text", reply.text());
            }
            EventKind::Changed { path, modified, mode } => {
                self.bytes("path", path.as_bytes());
                if let Some(time) = modified.and_then(TimeVal::from_unix_seconds) {
                    self.word("modified", time);
                }
                if let Some(mode) = mode {
                    self.word("mode", format_args!("{mode:04o}"));
                }
            }
        }
    }

    pub(super) fn message(level: Level, text: &str) -> Self {
        let level = level.as_str().to_ascii_lowercase();
        let fields = vec![("level", Value::Word(level)), ("text", Value::Message(printable(text)))];
        Self { event: "message", fields }
    }

    fn transfer(&mut self, transfer: &Transfer<'_>) {
        self.word("verb", transfer.verb);
        self.bytes("path", transfer.path.as_bytes());
        self.number("bytes", transfer.bytes);
        self.seconds(transfer.duration);
        self.word(
            "type",
            match transfer.representation {
                RepresentationType::Ascii => "A",
                RepresentationType::Image => "I",
            },
        );
        self.word("end", transfer.end.as_str());
        if let Some(code) = transfer.reply {
            self.number("reply", code.value().into());
        }
        if let Some(tls) = transfer.tls {
            self.word("tls", tls.version.as_str());
            self.word("reuse", if tls.resumed { "yes" } else { "no" });
        }
    }

    fn number(&mut self, name: &'static str, number: u64) {
        self.fields.push((name, Value::Number(number)));
    }

    fn seconds(&mut self, duration: Duration) {
        self.fields.push(("seconds", Value::Seconds(duration)));
    }

    fn word(&mut self, name: &'static str, word: impl Display) {
        self.fields.push((name, Value::Word(word.to_string())));
    }

    pub(super) fn bytes(&mut self, name: &'static str, bytes: &[u8]) {
        self.fields.push((name, Value::Quoted(Escaped(bytes).to_string())));
    }

    /// Returns the line as a JSON object, with the time as its first member.
    pub(super) fn json(&self, time: &Stamp) -> String {
        self.json_with_names(time, limits::LOG_NAME)
    }

    /// Returns the line as a JSON object, with names of at most `longest` bytes.
    pub(super) fn json_with_names(&self, time: &Stamp, longest: usize) -> String {
        let mut json = format!("{{\"time\":\"{time}\",\"event\":\"{}\"", self.event);
        // Writing to a string does not fail, here and below.
        for (name, value) in &self.fields {
            let _ = write!(json, ",\"{name}\":");
            let _ = match value {
                Value::Number(number) => write!(json, "{number}"),
                Value::Seconds(time) => write!(json, "{}", seconds(*time)),
                Value::Word(word) => write!(json, "\"{word}\""),
                // The text has no control characters left, so only its quotes and backslashes need
                // escapes in JSON.
                Value::Quoted(text) => write!(json, "\"{}\"", cut(text, r#"\""#, longest)),
                Value::Message(text) => {
                    write!(json, "\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
                }
            };
        }
        json.push('}');
        json
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.event)?;
        for (name, value) in &self.fields {
            write!(f, " {name}=")?;
            match value {
                Value::Number(number) => write!(f, "{number}")?,
                Value::Seconds(time) => f.write_str(&seconds(*time))?,
                Value::Word(word) => f.write_str(word)?,
                // Backslashes are doubled already, so a backslash before a quote is unambiguous.
                Value::Quoted(text) => write!(f, "\"{}\"", cut(text, r#"""#, limits::LOG_NAME))?,
                Value::Message(text) => f.write_str(text)?,
            }
        }
        Ok(())
    }
}

/// Shows the event as in a log.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", Line::of(self, 0))
    }
}

/// Returns a time in seconds, with three digits after the point. The conversion of floating-point
/// numbers would take 13 KB of a small program.
fn seconds(time: Duration) -> String {
    let thousandths = u64::from(time.subsec_micros() + 500) / 1_000;
    format!("{}.{:03}", time.as_secs().saturating_add(thousandths / 1_000), thousandths % 1_000)
}

/// The end of a shortened name. It is unambiguous: in an escaped name, no dot follows a single
/// backslash.
const MARK: &str = r"\...";

/// Returns an escaped name for use between quotes, with a backslash before each character of
/// `special`. If the result would exceed `longest` bytes, shortens it so that it ends with
/// [`MARK`], without splitting an escape.
fn cut(escaped: &str, special: &str, longest: usize) -> String {
    let write = |text: &str| {
        let mut written = String::with_capacity(text.len());
        for character in text.chars() {
            if special.contains(character) {
                written.push('\\');
            }
            written.push(character);
        }
        written
    };
    let mark = write(MARK);
    let mut written = String::new();
    // The last place for a cut that leaves room for the mark.
    let mut end = 0;
    let mut rest = escaped;
    while !rest.is_empty() {
        let (escape, after) = rest.split_at_checked(length_of_escape(rest)).unwrap_or((rest, ""));
        written += &write(escape);
        rest = after;
        if written.len() + mark.len() <= longest {
            end = written.len();
        } else if written.len() > longest {
            written.truncate(end);
            return written + &mark;
        }
    }
    written
}

/// Returns the length in bytes of the first character of an escaped text, or of its escape: `\\`,
/// `\x1b` or `\u{202e}`.
fn length_of_escape(text: &str) -> usize {
    let length = match text.as_bytes() {
        [b'\\', b'x', ..] => 4,
        [b'\\', b'u', ..] => text.find('}').map_or(text.len(), |end| end + 1),
        [b'\\', ..] => 2,
        _ => text.chars().next().map_or(0, char::len_utf8),
    };
    length.min(text.len())
}

/// Returns the bytes of which `text` is the [`Escaped`] form.
#[cfg(feature = "daemon")]
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (first, after) = rest.split_at_checked(length_of_escape(rest)).unwrap_or((rest, ""));
        rest = after;
        let code = |digits: &str| u32::from_str_radix(digits, 16).ok();
        match first.split_at_checked(2) {
            Some((r"\x", digits)) => {
                bytes.extend(code(digits).and_then(|code| u8::try_from(code).ok()));
            }
            Some((r"\u", digits)) => {
                let char = code(digits.trim_matches(['{', '}'])).and_then(char::from_u32);
                bytes.extend(char.map(String::from).unwrap_or_default().bytes());
            }
            Some((r"\\", _)) => bytes.push(b'\\'),
            _ => bytes.extend(first.bytes()),
        }
    }
    bytes
}

const fn word(kind: &EventKind<'_>) -> &'static str {
    match kind {
        EventKind::Connected { .. } => "connected",
        EventKind::Refused(_) => "refused",
        EventKind::LoggedIn => "login",
        EventKind::LoginRefused { .. } => "login-refused",
        EventKind::Banned { .. } => "ban",
        EventKind::BanEnded { .. } => "ban-ended",
        EventKind::LoggedOut => "logout",
        EventKind::Ended { .. } => "ended",
        EventKind::Transferred(_) => "transfer",
        EventKind::Deleted { .. } => "delete",
        EventKind::DirectoryMade { .. } => "mkdir",
        EventKind::DirectoryRemoved { .. } => "rmdir",
        EventKind::Renamed { .. } => "rename",
        EventKind::CommandRefused { .. } => "command-refused",
        EventKind::Changed { .. } => "change",
    }
}

/// Returns a message with its control characters escaped, so that it fits into one line. Does not
/// escape backslashes, because text from peers in the message is already escaped.
pub(super) fn printable(text: &str) -> String {
    let parts: Vec<_> = text.split('\\').map(|part| Escaped(part.as_bytes()).to_string()).collect();
    parts.join("\\")
}

/// The kinds of messages so far. Each kind is limited to a few lines per second, and the suppressed
/// messages are counted.
#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<&'static str, Ration>);

/// A limit on messages of one kind, which counts the suppressed ones.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    /// Beginning of the current period.
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Ration {
    /// Returns the number of messages that were suppressed since the last logged one. Returns `None`
    /// if this message must be suppressed too, because there were `most` messages in this period.
    pub(crate) fn due(&mut self, most: u32, period: Duration, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= period) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said >= most {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Complaints {
    /// Logs a warning with `detail`, at most once per second for each kind.
    pub(crate) fn log(&mut self, kind: &'static str, detail: &dyn Display) {
        warn(self.due(kind, 1, Instant::now()), &format_args!("{kind}: {detail}"));
    }

    /// Calls [`Ration::due`] with the ration of this kind for a second.
    pub(crate) fn due(&mut self, kind: &'static str, most: u32, now: Instant) -> Option<u64> {
        self.0.entry(kind).or_default().due(most, Duration::from_secs(1), now)
    }

    /// Returns the number of suppressed messages of a kind, and resets it.
    pub(crate) fn take_unsaid(&mut self, kind: &'static str) -> u64 {
        self.0.get_mut(kind).map_or(0, |known| std::mem::take(&mut known.unsaid))
    }
}

/// The messages about one client, which are limited because a client can cause any number of them.
#[derive(Debug)]
pub(crate) struct SessionComplaints {
    peer: SocketAddr,
    said: RefCell<Complaints>,
}

impl SessionComplaints {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self { peer, said: RefCell::default() }
    }

    /// Calls [`Complaints::due`] with the current time.
    pub(crate) fn due(&self, kind: &'static str, most: u32) -> Option<u64> {
        self.said.borrow_mut().due(kind, most, Instant::now())
    }

    pub(crate) fn take_unsaid(&self, kind: &'static str) -> u64 {
        self.said.borrow_mut().take_unsaid(kind)
    }

    /// Logs a warning with `detail`, at most once per second for each kind.
    pub(crate) fn warn(&self, kind: &'static str, detail: &dyn Display) {
        warn(self.due(kind, 1), &format_args!("{}: {kind}: {detail}", self.peer));
    }
}

/// Logs a warning, if it is due, with the number of those that were suppressed before it.
fn warn(unsaid: Option<u64>, message: &dyn Display) {
    match unsaid {
        Some(0) => log::warn!("{message}"),
        Some(unsaid) => log::warn!("{message} (earlier messages suppressed: {unsaid})"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::UNIX_EPOCH;

    use ftp_proto::{HostName, Network, Reply, ReplyCode, Verb};

    use super::*;
    use crate::auth::AuthError;
    use crate::log::{Direction, Refusal, TransferEnd, messages};
    use crate::storage::VirtualPath;
    use crate::tls::{TlsInfo, TlsVersion};

    fn both(session: Option<u64>, user: Option<&[u8]>, kind: EventKind<'_>) -> (String, String) {
        let peer = SocketAddr::from(([192, 0, 2, 9], 50_212));
        let tls = user
            .map(|_| TlsInfo { version: TlsVersion::V1_2, resumed: false })
            .filter(|_| session == Some(8));
        let line = Line::of(&Event { session, user, tls, ..Event::of_peer(peer, kind) }, 0);
        let time = Stamp(UNIX_EPOCH + Duration::from_millis(1_795_187_045_678));
        (line.to_string(), line.json(&time))
    }

    #[test]
    fn a_login_line_names_the_tls_version() {
        let (text, json) = both(Some(8), Some(b"u"), EventKind::LoggedIn);
        assert_eq!(text, r#"login session=8 peer=192.0.2.9 port=50212 user="u" tls=1.2"#);
        assert!(json.ends_with(r#""user":"u","tls":"1.2"}"#), "{json}");
    }

    #[test]
    fn a_line_ends_with_the_host() {
        let host = HostName::parse(b"FTP.example.org").unwrap();
        let peer = SocketAddr::from(([192, 0, 2, 9], 50_212));
        let reason = AuthError::OtherHost;
        let kind = EventKind::LoginRefused { user: b"u", reason };
        let event = Event { host: Some(&host), ..Event::of_peer(peer, kind) };
        let text = Line::of(&event, 3).to_string();
        let want = r#"login-refused peer=192.0.2.9 port=50212 user="u" reason=host unsaid=3 host=ftp.example.org"#;
        assert_eq!(text, want);
    }

    #[test]
    fn every_event_has_its_fields_in_order() {
        let path = VirtualPath::root().join(b"a \"b\"");
        let to = VirtualPath::root().join(b"c");
        let path = &path;
        let session = Some(7);
        let user = Some(&b"cam1"[..]);
        let transfer = Transfer {
            verb: Verb::Stor,
            path,
            direction: Direction::Received,
            representation: RepresentationType::Image,
            bytes: 1_234,
            duration: Duration::from_micros(1_234_567),
            end: TransferEnd::Fin,
            reply: Some(ReplyCode::TRANSFER_COMPLETE),
            tls: None,
        };
        let tls = Some(TlsInfo { version: TlsVersion::V1_3, resumed: true });
        let protected = Transfer { end: TransferEnd::CloseNotify, tls, ..transfer };
        let unanswered = Transfer { end: TransferEnd::ControlLost, reply: None, ..transfer };
        let refusal = Reply::new(ReplyCode::FILE_UNAVAILABLE, "Already exists");
        let error = std::io::Error::other("what\n\"is\" it");
        let duration = Duration::from_secs(3);
        for (user, kind, text, json) in [
            (
                None,
                EventKind::Connected { local: ([192, 0, 2, 1], 21).into() },
                "connected session=7 peer=192.0.2.9 port=50212 local=192.0.2.1:21",
                r#""event":"connected","session":7,"peer":"192.0.2.9","port":50212,"local":"192.0.2.1:21"}"#,
            ),
            (
                user,
                EventKind::LoggedIn,
                r#"login session=7 peer=192.0.2.9 port=50212 user="cam1""#,
                r#""event":"login","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1"}"#,
            ),
            (
                None,
                EventKind::LoginRefused { user: b"x\" \\ \r\xff", reason: AuthError::Refused },
                r#"login-refused session=7 peer=192.0.2.9 port=50212 user="x\" \\ \x0d\xff" reason=credentials"#,
                r#""event":"login-refused","session":7,"peer":"192.0.2.9","port":50212,"user":"x\" \\\\ \\x0d\\xff","reason":"credentials"}"#,
            ),
            (
                user,
                EventKind::LoggedOut,
                r#"logout session=7 peer=192.0.2.9 port=50212 user="cam1""#,
                r#""event":"logout","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1"}"#,
            ),
            (
                None,
                EventKind::Ended { duration, end: SessionEnd::Closed },
                "ended session=7 peer=192.0.2.9 port=50212 seconds=3.000 end=closed",
                r#""event":"ended","session":7,"peer":"192.0.2.9","port":50212,"seconds":3.000,"end":"closed"}"#,
            ),
            (
                user,
                EventKind::Ended { duration, end: SessionEnd::Failed(&error) },
                r#"ended session=7 peer=192.0.2.9 port=50212 user="cam1" seconds=3.000 end=failed error="what\x0a\"is\" it""#,
                r#""event":"ended","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","seconds":3.000,"end":"failed","error":"what\\x0a\"is\" it"}"#,
            ),
            (
                user,
                EventKind::Transferred(transfer),
                r#"transfer session=7 peer=192.0.2.9 port=50212 user="cam1" verb=STOR path="/a \"b\"" bytes=1234 seconds=1.235 type=I end=fin reply=226"#,
                r#""event":"transfer","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","verb":"STOR","path":"/a \"b\"","bytes":1234,"seconds":1.235,"type":"I","end":"fin","reply":226}"#,
            ),
            (
                user,
                EventKind::Transferred(protected),
                r#"transfer session=7 peer=192.0.2.9 port=50212 user="cam1" verb=STOR path="/a \"b\"" bytes=1234 seconds=1.235 type=I end=close-notify reply=226 tls=1.3 reuse=yes"#,
                r#""event":"transfer","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","verb":"STOR","path":"/a \"b\"","bytes":1234,"seconds":1.235,"type":"I","end":"close-notify","reply":226,"tls":"1.3","reuse":"yes"}"#,
            ),
            (
                user,
                EventKind::Transferred(unanswered),
                r#"transfer session=7 peer=192.0.2.9 port=50212 user="cam1" verb=STOR path="/a \"b\"" bytes=1234 seconds=1.235 type=I end=control-lost"#,
                r#""event":"transfer","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","verb":"STOR","path":"/a \"b\"","bytes":1234,"seconds":1.235,"type":"I","end":"control-lost"}"#,
            ),
            (
                user,
                EventKind::Deleted { path },
                r#"delete session=7 peer=192.0.2.9 port=50212 user="cam1" path="/a \"b\"""#,
                r#""event":"delete","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","path":"/a \"b\""}"#,
            ),
            (
                user,
                EventKind::DirectoryMade { path: &to },
                r#"mkdir session=7 peer=192.0.2.9 port=50212 user="cam1" path="/c""#,
                r#""event":"mkdir","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","path":"/c"}"#,
            ),
            (
                user,
                EventKind::DirectoryRemoved { path: &to },
                r#"rmdir session=7 peer=192.0.2.9 port=50212 user="cam1" path="/c""#,
                r#""event":"rmdir","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","path":"/c"}"#,
            ),
            (
                user,
                EventKind::Renamed { from: path, to: &to },
                r#"rename session=7 peer=192.0.2.9 port=50212 user="cam1" path="/a \"b\"" to="/c""#,
                r#""event":"rename","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","path":"/a \"b\"","to":"/c"}"#,
            ),
            (
                user,
                EventKind::CommandRefused { verb: Verb::Mkd, path, to: None, reply: &refusal },
                r#"command-refused session=7 peer=192.0.2.9 port=50212 user="cam1" verb=MKD path="/a \"b\"" reply=550 text="Already exists""#,
                r#""event":"command-refused","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","verb":"MKD","path":"/a \"b\"","reply":550,"text":"Already exists"}"#,
            ),
            (
                user,
                EventKind::CommandRefused {
                    verb: Verb::Rnto,
                    path,
                    to: Some(&to),
                    reply: &refusal,
                },
                r#"command-refused session=7 peer=192.0.2.9 port=50212 user="cam1" verb=RNTO path="/a \"b\"" to="/c" reply=550 text="Already exists""#,
                r#""event":"command-refused","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","verb":"RNTO","path":"/a \"b\"","to":"/c","reply":550,"text":"Already exists"}"#,
            ),
            (
                user,
                EventKind::Changed { path: &to, modified: Some(938_565_235), mode: Some(0o640) },
                r#"change session=7 peer=192.0.2.9 port=50212 user="cam1" path="/c" modified=19990929003355 mode=0640"#,
                r#""event":"change","session":7,"peer":"192.0.2.9","port":50212,"user":"cam1","path":"/c","modified":"19990929003355","mode":"0640"}"#,
            ),
        ] {
            let (said, object) = both(session, user, kind);
            assert_eq!(said, text);
            assert_eq!(object, format!(r#"{{"time":"2026-11-20T15:04:05.678Z",{json}"#));
        }
        let network = Network::parse(b"2001:db8::/64").unwrap();
        let (said, object) = both(session, None, EventKind::Banned { network, duration });
        let want = "ban session=7 peer=192.0.2.9 port=50212 network=2001:db8::/64 seconds=3.000";
        assert_eq!(said, want);
        let json = r#""event":"ban","session":7,"peer":"192.0.2.9","port":50212,"network":"2001:db8::/64","seconds":3.000}"#;
        assert_eq!(object, format!(r#"{{"time":"2026-11-20T15:04:05.678Z",{json}"#));
        let network = Network::parse(b"192.0.2.9").unwrap();
        let (said, object) = both(None, None, EventKind::BanEnded { network });
        assert_eq!(said, "ban-ended peer=192.0.2.9 port=50212 network=192.0.2.9/32");
        let json =
            r#""event":"ban-ended","peer":"192.0.2.9","port":50212,"network":"192.0.2.9/32"}"#;
        assert_eq!(object, format!(r#"{{"time":"2026-11-20T15:04:05.678Z",{json}"#));
        let (said, object) = both(None, None, EventKind::Refused(Refusal::Full));
        assert_eq!(said, "refused peer=192.0.2.9 port=50212 reason=full");
        let json = r#""event":"refused","peer":"192.0.2.9","port":50212,"reason":"full"}"#;
        assert_eq!(object, format!(r#"{{"time":"2026-11-20T15:04:05.678Z",{json}"#));
    }

    #[test]
    fn a_log_line_counts_suppressed_events() {
        let peer = SocketAddr::from(([192, 0, 2, 9], 50_212));
        let kind = EventKind::Refused(Refusal::Resources);
        let line = Line::of(&Event::of_peer(peer, kind), 999);
        let want = "refused peer=192.0.2.9 port=50212 reason=resources unsaid=999";
        assert_eq!(line.to_string(), want);
    }

    #[test]
    fn a_json_event_has_untruncated_names_and_extra_fields() {
        let path = VirtualPath::root().join(&[b'a'; 3_000]);
        let kind = EventKind::Deleted { path: &path };
        let peer = SocketAddr::from(([192, 0, 2, 9], 50_212));
        let json = Event::of_peer(peer, kind).to_json(&[("hook", b"\"x\xff\""), ("b", b"")]);
        let name = "a".repeat(3_000);
        let want = format!(r#""port":50212,"path":"/{name}","hook":"\"x\\xff\"","b":""}}"#);
        assert!(json.starts_with("{\"time\":\"20") && json.ends_with(&want), "{json}");
    }

    #[test]
    #[cfg(feature = "daemon")]
    fn escaped_bytes_can_be_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        let marks = "\\x41 \u{e9}\u{85}\u{202e}\u{61c} \\".as_bytes();
        for bytes in [&all[..], marks, b"", b"\xff\xfe"] {
            assert_eq!(unescaped(&Escaped(bytes).to_string()), bytes);
        }
    }

    #[test]
    fn an_ipv6_peer_has_no_brackets() {
        let peer = "[2001:db8::1]:21".parse().unwrap();
        let line = Line::of(&Event::of_peer(peer, EventKind::LoggedIn), 0);
        assert_eq!(line.to_string(), "login peer=2001:db8::1 port=21");
    }

    #[test]
    fn debug_shows_names_as_text() {
        use crate::Entry;
        use crate::storage::Metadata;
        use crate::testing::Recorded;

        let kind = EventKind::LoginRefused { user: b"u\x1b", reason: AuthError::OtherHost };
        let event = format!("{:?}", Event::of_peer(SocketAddr::from(([192, 0, 2, 9], 1)), kind));
        assert_eq!(event, r#"Event(login-refused peer=192.0.2.9 port=1 user="u\x1b" reason=host)"#);
        let recorded = Recorded::LoggedIn { user: b"u".to_vec() };
        assert_eq!(format!("{recorded:?}"), "Recorded(logged in as u)");
        let entry = format!("{:?}", Entry::new("a.txt", Metadata::directory()));
        assert!(entry.starts_with(r#"Entry { name: "a.txt", metadata: "#), "{entry}");
    }

    #[test]
    fn log_messages_are_single_lines_escaped_once() {
        let text = "\u{e9} a\\x1b[2J \"b\"\nlogin";
        assert_eq!(printable(text), "\u{e9} a\\x1b[2J \"b\"\\x0alogin");
        let time = Stamp(UNIX_EPOCH);
        let json = Line::message(Level::Warn, text).json(&time);
        let want = "{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"message\",\"level\":\"warn\",\
                    \"text\":\"\u{e9} a\\\\x1b[2J \\\"b\\\"\\\\x0alogin\"}";
        assert_eq!(json, want);
    }

    #[test]
    fn a_long_name_is_truncated_and_marked_in_the_log_ho_06() {
        let both = |name: &[u8]| {
            let escaped = Escaped(name).to_string();
            let cut = |special| cut(&escaped, special, limits::LOG_NAME);
            (cut("\""), cut("\"\\"))
        };
        for name in [&b""[..], &[b'a'; 512], "\u{e9}".repeat(256).as_bytes()] {
            let whole = String::from_utf8(name.to_vec()).unwrap();
            assert_eq!(both(name), (whole.clone(), whole), "{}", name.len());
        }
        for (name, text, json) in [
            (&[b'a'; 513][..], "a".repeat(508), "a".repeat(507)),
            (&[1; 4_000], r"\x01".repeat(127), r"\\x01".repeat(101)),
            (&[b'"'; 257], "\\\"".repeat(254), "\\\"".repeat(253)),
            (&[b'\\'; 300], r"\\".repeat(254), r"\\\\".repeat(126)),
            ("\u{202e}".repeat(99).as_bytes(), r"\u{202e}".repeat(63), r"\\u{202e}".repeat(56)),
        ] {
            let (in_text, in_json) = both(name);
            assert_eq!(in_text, text + r"\...");
            assert_eq!(in_json, json + r"\\...");
            assert!(in_text.len() <= limits::LOG_NAME && in_json.len() <= limits::LOG_NAME);
        }
    }

    #[test]
    fn repeated_warnings_are_limited_to_one_per_kind_and_second_ho_06() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for number in 0..3_000 {
            let now = start + Duration::from_millis(number);
            for kind in ["a", "b"] {
                lines.extend(complaints.due(kind, 1, now).map(|unsaid| (kind, unsaid)));
            }
        }
        let want = [("a", 0), ("b", 0), ("a", 999), ("b", 999), ("a", 999), ("b", 999)];
        assert_eq!(lines, want);
        assert_eq!(complaints.take_unsaid("a"), 999);
        assert_eq!(complaints.take_unsaid("a"), 0);
        assert_eq!(complaints.take_unsaid("c"), 0);
    }

    #[test]
    fn a_warning_counts_the_suppressed_earlier_ones_ho_06() {
        let mut complaints = Complaints::default();
        let warn = |complaints: &mut Complaints| {
            messages::of(Level::Warn, || complaints.log("cannot accept", &"no descriptors"))
        };
        assert_eq!(warn(&mut complaints), ["cannot accept: no descriptors"]);
        // The second of the first message is not over, however busy the computer is.
        let begun = complaints.0["cannot accept"].since.unwrap();
        let begin = |complaints: &mut Complaints, at| {
            complaints.0.get_mut("cannot accept").unwrap().since = Some(at);
        };
        begin(&mut complaints, begun + Duration::from_secs(60));
        assert_eq!(warn(&mut complaints), Vec::<String>::new());
        begin(&mut complaints, begun - Duration::from_secs(1));
        assert_eq!(
            warn(&mut complaints),
            ["cannot accept: no descriptors (earlier messages suppressed: 1)"]
        );
    }

    #[test]
    fn the_warning_rate_limit_can_exceed_one_per_second_ho_06() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut due = |millis| complaints.due("a", 3, start + Duration::from_millis(millis));
        let said = [0, 1, 2, 3, 4, 1_000, 1_001].map(&mut due);
        assert_eq!(said, [Some(0), Some(0), Some(0), None, None, Some(2), Some(0)]);
    }
}
