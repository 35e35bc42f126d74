//! Lines from the bytes of a data connection.

use crate::bytes::{ReadAhead, split_once};
use crate::limits;

/// The next event of a [`ListReader`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListEvent {
    /// A line without its line ending. It contains no LF and may be empty.
    Line(Vec<u8>),
    /// The current line is longer than [`limits::LISTING_LINE`]. Reported once per line, as soon as
    /// the limit is exceeded; the rest of the line is discarded.
    TooLong,
}

/// A reader that splits the bytes of a listing into lines.
///
/// A line ends at LF or CR LF: RFC 959 §3.1.1.1 demands CR LF, but many servers omit the CR. A CR
/// elsewhere belongs to the line. The reader holds at most [`limits::READ_AHEAD`] unread bytes and
/// one line of [`limits::LISTING_LINE`] bytes.
///
/// ```
/// use ftp_proto::{ListEvent, ListReader};
///
/// let mut reader = ListReader::new();
/// let mut lines = Vec::new();
/// for mut rest in [&b"one\r\ntw"[..], b"o"] {
///     while !rest.is_empty() {
///         let taken = reader.push(rest);
///         rest = &rest[taken..];
///         while let Some(event) = reader.next() {
///             lines.push(event);
///         }
///     }
/// }
/// lines.extend(reader.finish());
/// assert_eq!(lines, [ListEvent::Line(b"one".to_vec()), ListEvent::Line(b"two".to_vec())]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ListReader {
    input: ReadAhead,
    line: Vec<u8>,
    /// Whether the current line was reported as too long; the rest of it is discarded.
    too_long: bool,
}

impl ListReader {
    /// Returns a reader at the start of a listing.
    #[must_use]
    pub const fn new() -> Self {
        Self { input: ReadAhead::new(), line: Vec::new(), too_long: false }
    }

    /// Takes at most [`room`](Self::room) received bytes, and returns how many it took.
    ///
    /// Push the rest after [`next`](Self::next) has returned `None`.
    #[must_use = "it may take fewer bytes than it was given"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.input.push(bytes)
    }

    /// Returns how many bytes [`push`](Self::push) would take now, up to [`limits::READ_AHEAD`].
    #[must_use]
    pub fn room(&self) -> usize {
        self.input.room()
    }

    /// Returns the next event, or `None` until more bytes are pushed.
    #[expect(clippy::should_implement_trait, reason = "the end is not final: more may be pushed")]
    pub fn next(&mut self) -> Option<ListEvent> {
        loop {
            let waiting = self.input.waiting();
            if waiting.is_empty() {
                return None;
            }
            let (piece, is_ended) = match split_once(waiting, b'\n') {
                Some((piece, _)) => (piece, true),
                None => (waiting, false),
            };
            // A CR at the limit may belong to the line ending, so the line keeps it, as one byte
            // over the limit, until the next byte is known.
            let length = self.line.len() + piece.len();
            let last = piece.last().or(self.line.last());
            let content = length - usize::from(last == Some(&b'\r'));
            if !self.too_long && content <= limits::LISTING_LINE {
                self.line.extend_from_slice(piece);
            }
            let looked_at = piece.len() + usize::from(is_ended);
            self.input.take(looked_at);
            if !self.too_long && content > limits::LISTING_LINE {
                self.line = Vec::new();
                self.too_long = !is_ended;
                return Some(ListEvent::TooLong);
            }
            if is_ended && !std::mem::take(&mut self.too_long) {
                return Some(self.take_line());
            }
        }
    }

    /// Returns the last line if it lacks its line ending, otherwise `None`.
    ///
    /// Call it at the end of the data, after [`next`](Self::next) has returned `None`.
    pub fn finish(&mut self) -> Option<ListEvent> {
        let line = !self.line.is_empty() && !self.too_long;
        self.too_long = false;
        line.then(|| self.take_line())
    }

    fn take_line(&mut self) -> ListEvent {
        let mut line = std::mem::take(&mut self.line);
        line.pop_if(|last| *last == b'\r');
        ListEvent::Line(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::any_chunking;

    fn read(pieces: &[&[u8]]) -> Vec<ListEvent> {
        let mut reader = ListReader::new();
        let mut events = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                piece = &piece[reader.push(piece)..];
                events.extend(std::iter::from_fn(|| reader.next()));
                assert!(reader.line.len() <= limits::LISTING_LINE + 1);
                assert_eq!(reader.room(), limits::READ_AHEAD);
            }
        }
        events.extend(reader.finish());
        assert_eq!(reader.finish(), None);
        events
    }

    fn lines(lines: &[&str]) -> Vec<ListEvent> {
        lines.iter().map(|line| ListEvent::Line(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn lines_are_the_same_for_any_chunking_go_02() {
        for (input, want) in [
            ("", &[][..]),
            ("\r\n", &[""]),
            ("a\r\nb\nc", &["a", "b", "c"]),
            ("a\r\n\r\n\nb\r\n", &["a", "", "", "b"]),
            ("a\rb\r\r\nc\r", &["a\rb\r", "c"]),
            ("\0\u{ff}\n", &["\0\u{ff}"]),
        ] {
            any_chunking(input.as_bytes(), read, &lines(want));
        }
    }

    #[test]
    fn a_line_of_the_maximum_length_is_accepted_hc_15() {
        let longest = "x".repeat(limits::LISTING_LINE);
        for end in ["", "\r", "\n", "\r\n"] {
            let input = format!("{longest}{end}");
            assert_eq!(read(&[input.as_bytes()]), lines(&[&longest]));
            let (head, tail) = input.as_bytes().split_at(limits::LISTING_LINE);
            assert_eq!(read(&[head, tail]), lines(&[&longest]));
        }
    }

    #[test]
    fn an_overlong_line_is_reported_at_once_and_skipped_hc_15() {
        for tail in ["x", "xx", "\rx", "\r\r"] {
            let line = format!("{}{tail}", "x".repeat(limits::LISTING_LINE));
            let want = [vec![ListEvent::TooLong], lines(&["next"])].concat();
            for cut in limits::LISTING_LINE - 1..line.len() {
                let (head, tail) = line.as_bytes().split_at(cut);
                let more = vec![b'y'; limits::READ_AHEAD * 3];
                assert_eq!(read(&[head, tail, &more, b"\r\nnext\r\n"]), want);
                assert_eq!(read(&[head, tail, b"\r\nne", b"xt"]), want);
            }
            assert_eq!(read(&[line.as_bytes()]), [ListEvent::TooLong]);
        }
    }

    #[test]
    fn an_endless_line_yields_one_event_hc_15() {
        let mut reader = ListReader::new();
        let piece = [b'-'; limits::READ_AHEAD];
        let mut events = 0;
        for _ in 0..4_096 {
            assert_eq!(reader.push(&piece), piece.len());
            while reader.next().is_some() {
                events += 1;
            }
            assert!(reader.line.capacity() + reader.input.capacity() <= 4 * limits::LISTING_LINE);
        }
        assert_eq!((events, reader.finish()), (1, None));
    }
}
