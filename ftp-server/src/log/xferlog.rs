//! The transfer log of wu-ftpd, xferlog(5). Most programs for transfer statistics read this format.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use ftp_proto::{Escaped, RepresentationType};

use super::writer::LogWriter;
use crate::auth::is_anonymous_name;
use crate::command::file_direction;
use crate::log::{Direction, Event, EventKind, Observer, Transfer, TransferEnd};
use ftp_proto::text::calendar;

/// An [`Observer`] that writes a line in the format of xferlog(5) for each file that was sent or
/// received, completely or not. Listings, and transfers that never had a data connection, have no
/// lines.
///
/// Times are UTC. The remote host is an address, and paths begin at the user's root. Spaces in
/// names become `_`, as in the logs of other servers. Control characters (such as tabs) and bytes
/// that are not UTF-8 are escaped.
#[derive(Debug)]
pub struct Xferlog {
    writer: LogWriter,
}

impl Xferlog {
    /// Returns a log that writes to `writer`.
    #[must_use]
    pub const fn new(writer: LogWriter) -> Self {
        Self { writer }
    }
}

impl Observer for Xferlog {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::Transferred(transfer) = &event.kind
            && let Some(line) = line(event, transfer, SystemTime::now())
        {
            self.writer.line(&line);
        }
    }
}

fn line(event: &Event<'_>, transfer: &Transfer<'_>, now: SystemTime) -> Option<String> {
    let is_file = file_direction(transfer.verb).is_some();
    let has_begun = !matches!(transfer.end, TransferEnd::Refused | TransferEnd::NoData);
    if !is_file || !has_begun {
        return None;
    }
    let user = event.user.unwrap_or_default();
    // A transfer of less than a second counts as one second, as with wu-ftpd.
    let seconds = transfer.duration.as_secs().max(1);
    let kind = if transfer.representation == RepresentationType::Ascii { 'a' } else { 'b' };
    let direction = if transfer.direction == Direction::Received { 'i' } else { 'o' };
    let access = if is_anonymous_name(user) { 'a' } else { 'r' };
    let status = if transfer.end.is_whole() { 'c' } else { 'i' };
    let host = event.peer.ip();
    let bytes = transfer.bytes;
    let path = Word(transfer.path.as_bytes());
    let user = Word(user);
    let mut line = date(now);
    // Writing to a string does not fail. The fixed fields are: no special action, service `ftp`, no
    // RFC 931 authentication, no authenticated user.
    let _ = write!(
        line,
        " {seconds} {host} {bytes} {path} {kind} _ {direction} {access} {user} ftp 0 * {status}"
    );
    Some(line)
}

/// A name as one word of a line.
struct Word<'a>(&'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_char('*');
        }
        Escaped(self.0)
            .to_string()
            .chars()
            .try_for_each(|char| f.write_char(if char.is_whitespace() { '_' } else { char }))
    }
}

/// Returns the date in the form of ctime(3), `Fri Nov 20 15:04:05 2026`, in UTC.
fn date(now: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = calendar(now);
    // The first day of 1970 was a Thursday.
    let days = usize::try_from(time.unix_seconds() / 86_400).unwrap_or_default();
    let weekday = DAYS.get(days % 7).unwrap_or(&"Thu");
    let month = MONTHS.get(usize::from(time.month()) - 1).unwrap_or(&"Jan");
    let day = time.day();
    let year = time.year();
    let hour = time.hour();
    let minute = time.minute();
    let second = time.second();
    format!("{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year:04}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use ftp_proto::Verb;

    use super::*;
    use crate::storage::VirtualPath;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn xferlog_dates_have_the_format_of_ctime() {
        for (seconds, want) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_868_799, "Tue Feb 29 23:59:59 2000"),
            (1_795_187_045, "Fri Nov 20 15:04:05 2026"),
            (1_798_761_599, "Thu Dec 31 23:59:59 2026"),
        ] {
            assert_eq!(date(at(seconds)), want);
        }
    }

    #[test]
    fn xferlog_marks_only_finished_transfers_complete() {
        let root = VirtualPath::root();
        for (end, want) in [
            (TransferEnd::Fin, Some('c')),
            (TransferEnd::Reset, Some('i')),
            (TransferEnd::Stall, Some('i')),
            (TransferEnd::Abor, Some('i')),
            (TransferEnd::ControlLost, Some('i')),
            (TransferEnd::Cut, Some('i')),
            (TransferEnd::Storage, Some('i')),
            (TransferEnd::NoData, None),
            (TransferEnd::Refused, None),
        ] {
            let transfer = Transfer {
                verb: Verb::Stor,
                path: &root,
                direction: Direction::Received,
                representation: RepresentationType::Image,
                bytes: 1,
                duration: Duration::ZERO,
                end,
                reply: None,
                tls: None,
            };
            let kind = EventKind::Transferred(transfer);
            let peer = ([192, 0, 2, 9], 50_000).into();
            let event = Event { session: Some(1), user: Some(b"u"), ..Event::of_peer(peer, kind) };
            let line = line(&event, &transfer, at(0));
            assert_eq!(line.and_then(|line| line.chars().last()), want, "{end:?}");
            assert_eq!(end.is_whole(), want == Some('c'), "{end:?}");
        }
    }

    #[test]
    fn lines_have_the_fields_of_xferlog_5() {
        let root = VirtualPath::root();
        let odd = root.join("a b\tc\u{2003}d\u{9b}".as_bytes()).join(b"\xff\\");
        let plain = root.join(b"file");
        let duration = Duration::from_millis(2_900);
        let sent = Transfer {
            verb: Verb::Retr,
            path: &plain,
            direction: Direction::Sent,
            representation: RepresentationType::Image,
            bytes: 1_234,
            duration,
            end: TransferEnd::Fin,
            reply: None,
            tls: None,
        };
        let received = Transfer { verb: Verb::Stor, direction: Direction::Received, ..sent };
        let short = Duration::from_millis(3);
        let head = "Fri Nov 20 15:04:05 2026";
        for (user, transfer, want) in [
            (&b"u"[..], sent, Some("2 192.0.2.9 1234 /file b _ o r u ftp 0 * c")),
            (
                b"u",
                Transfer { duration: short, end: TransferEnd::Abor, bytes: 0, ..sent },
                Some("1 192.0.2.9 0 /file b _ o r u ftp 0 * i"),
            ),
            (
                b"Anonymous",
                Transfer { representation: RepresentationType::Ascii, path: &odd, ..received },
                Some(r"2 192.0.2.9 1234 /a_b\x09c_d\u{9b}/\xff\\ a _ i a Anonymous ftp 0 * c"),
            ),
            (
                b"two words",
                Transfer { verb: Verb::Appe, ..received },
                Some("2 192.0.2.9 1234 /file b _ i r two_words ftp 0 * c"),
            ),
            (b"", sent, Some("2 192.0.2.9 1234 /file b _ o r * ftp 0 * c")),
            (b"u", Transfer { end: TransferEnd::Refused, ..sent }, None),
            (b"u", Transfer { end: TransferEnd::NoData, ..received }, None),
            (b"u", Transfer { verb: Verb::Mlsd, ..sent }, None),
            (b"u", Transfer { verb: Verb::Hash, direction: Direction::Read, ..sent }, None),
        ] {
            let session = Some(1);
            let peer = ([192, 0, 2, 9], 50_000).into();
            let kind = EventKind::Transferred(transfer);
            let event = Event { session, user: Some(user), ..Event::of_peer(peer, kind) };
            let want = want.map(|want| format!("{head} {want}"));
            assert_eq!(line(&event, &transfer, at(1_795_187_045)), want);
        }
    }
}
