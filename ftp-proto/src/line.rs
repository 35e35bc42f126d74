//! Command lines from bytes: line endings, Telnet commands and limits (RFC 959 §5.3; RFC 1123
//! §4.1.2.10 and §4.1.2.12; RFC 854; RFC 2640 §3.1).

use std::borrow::Cow;

use crate::bytes::ReadAhead;
use crate::{ParseError, ParseErrorKind, limits};

/// Interpret As Command: the byte that starts a Telnet command (RFC 854).
pub(crate) const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// Subnegotiation, up to `IAC SE`.
const SB: u8 = 250;
const SE: u8 = 240;
/// Interrupt Process.
const IP: u8 = 244;

/// The next event of a [`LineDecoder`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LineEvent<'a> {
    /// A complete line, without its line ending and without Telnet commands. It contains no CR, LF
    /// or NUL. It is usually borrowed if all of it was pushed before [`next`](LineDecoder::next).
    Line(Cow<'a, [u8]>),
    /// A complete line that is not a valid command; discard it.
    Malformed(ParseError),
    /// The current line is longer than [`limits::COMMAND_LINE`]. Reported once per line, as soon as
    /// the limit is exceeded; the rest of the line is discarded.
    TooLong,
    /// [`limits::UNTERMINATED`] bytes arrived without a line ending. No event follows.
    Unterminated,
    /// A Telnet answer to send unchanged.
    Answer([u8; 3]),
}

impl LineEvent<'_> {
    /// Returns the event with an owned line, which can be kept while more bytes are pushed.
    #[must_use]
    pub fn into_owned(self) -> LineEvent<'static> {
        match self {
            Self::Line(line) => LineEvent::Line(Cow::Owned(line.into_owned())),
            Self::Malformed(error) => LineEvent::Malformed(error),
            Self::TooLong => LineEvent::TooLong,
            Self::Unterminated => LineEvent::Unterminated,
            Self::Answer(bytes) => LineEvent::Answer(bytes),
        }
    }
}

/// The decoder's position in a Telnet command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Telnet {
    Data,
    /// IAC was read.
    Command,
    /// IAC and one of WILL, WONT, DO, DONT were read.
    Option(u8),
    /// IAC SB was read, but not yet IAC SE; the flag says whether the last byte was IAC.
    Subnegotiation(bool),
}

/// The last byte of the line, as far as the line ending depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    Other,
    Cr,
    /// CR NUL: a CR that belongs to the line, whatever follows.
    CrNul,
}

/// A decoder that splits the bytes of the control connection into command lines.
///
/// A line ends at CR LF or, unless [`strict`](Self::strict), at a bare LF. Pass received bytes to
/// [`push`](Self::push), call [`next`](Self::next) until it returns `None`, and push the rest.
///
/// Set `SO_OOBINLINE` on the socket. Clients send `ABOR` after a Telnet Synch, whose last byte is
/// urgent data. Without the option, that byte is missing from the input, and the line is not
/// recognised as `ABOR`.
///
/// ```
/// use ftp_proto::{LineDecoder, LineEvent};
///
/// let mut decoder = LineDecoder::new();
/// let mut lines = Vec::new();
/// for mut rest in [&b"USER anonym"[..], b"ous\r\nNOOP\n"] {
///     while !rest.is_empty() {
///         let taken = decoder.push(rest);
///         rest = &rest[taken..];
///         while let Some(event) = decoder.next() {
///             let LineEvent::Line(line) = event else { panic!("only short lines were pushed") };
///             lines.push(line.into_owned());
///         }
///     }
/// }
/// assert_eq!(lines, [&b"USER anonymous"[..], b"NOOP"]);
/// ```
#[derive(Clone, Debug)]
pub struct LineDecoder {
    strict: bool,
    input: ReadAhead,
    line: Vec<u8>,
    /// The number of bytes since the last line ending, including discarded ones.
    length: usize,
    malformed: Option<ParseError>,
    telnet: Telnet,
    last: Last,
    /// Whether an IP was read since the last call of [`take_interrupt`](Self::take_interrupt).
    is_interrupt: bool,
    answers_left: u32,
}

impl Default for LineDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl LineDecoder {
    /// Returns a decoder at the start of a session. It accepts a bare LF as a line ending.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            strict: false,
            input: ReadAhead::new(),
            line: Vec::new(),
            length: 0,
            malformed: None,
            telnet: Telnet::Data,
            last: Last::Other,
            is_interrupt: false,
            answers_left: limits::TELNET_ANSWERS,
        }
    }

    /// Returns a decoder that accepts only CR LF as a line ending; a bare LF makes the line
    /// malformed.
    #[must_use]
    pub const fn strict() -> Self {
        let mut decoder = Self::new();
        decoder.strict = true;
        decoder
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

    /// Returns whether a line is incomplete, or bytes wait to be processed.
    #[must_use]
    pub fn is_mid_line(&self) -> bool {
        let looked_at = self.length > 0 || self.last != Last::Other || self.telnet != Telnet::Data;
        looked_at || !self.input.is_empty()
    }

    /// Discards all bytes that were pushed but not yet returned as a line.
    pub fn discard(&mut self) {
        *self = Self { strict: self.strict, answers_left: self.answers_left, ..Self::new() };
    }

    /// Returns whether a Telnet Interrupt Process (IP) has come since the last call.
    ///
    /// RFC 959 §4.1.3 asks clients to send it before an `ABOR` or a `STAT` that must not wait for
    /// the running command. So call this method after each line: without an IP, a `STAT` may just
    /// have been sent before the reply to the command before it.
    pub fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.is_interrupt)
    }

    /// Returns the next event, or `None` until more bytes are pushed.
    #[expect(clippy::should_implement_trait, reason = "the end is not final: more may be pushed")]
    pub fn next(&mut self) -> Option<LineEvent<'_>> {
        if self.length == 0
            && self.telnet == Telnet::Data
            && self.last == Last::Other
            && let Some((length, ending)) = self.plain_line()
        {
            let line = self.input.take(length + ending);
            return Some(LineEvent::Line(line.get(..length).unwrap_or(line).into()));
        }
        self.look_closely()
    }

    /// Returns the next event, processing plain bytes in runs and special ones one by one.
    fn look_closely(&mut self) -> Option<LineEvent<'static>> {
        loop {
            if self.length >= limits::UNTERMINATED {
                self.input.release();
                return None;
            }
            self.take_plain_run();
            let Some(&byte) = self.input.waiting().first() else {
                self.input.release();
                return None;
            };
            if let Some(event) = self.take_byte(byte) {
                return Some(event);
            }
        }
    }

    /// Returns the length of the next line and of its line ending, if the line is complete and has
    /// no special bytes. This is the usual case.
    fn plain_line(&self) -> Option<(usize, usize)> {
        let waiting = self.input.waiting();
        let length = plain_run(waiting);
        let ending = match waiting.get(length..)? {
            [b'\n', ..] if !self.strict => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        (length <= limits::COMMAND_LINE).then_some((length, ending))
    }

    /// Takes bytes without a special meaning, up to the maximum length of the line.
    fn take_plain_run(&mut self) {
        if self.telnet != Telnet::Data || self.last == Last::Cr {
            return;
        }
        let waiting = self.input.waiting();
        let room = limits::COMMAND_LINE.saturating_sub(self.length);
        let run = plain_run(waiting.get(..room).unwrap_or(waiting));
        if run > 0 {
            let bytes = self.input.take(run);
            if self.malformed.is_none() {
                self.line.extend_from_slice(bytes);
            }
            self.last = Last::Other;
            self.length += run;
        }
    }

    fn take_byte(&mut self, byte: u8) -> Option<LineEvent<'static>> {
        match self.telnet {
            Telnet::Data if byte == IAC => {
                self.telnet = Telnet::Command;
                self.input.take(1);
                None
            }
            Telnet::Data => {
                self.input.take(1);
                self.take_data(byte)
            }
            Telnet::Command => {
                self.telnet = match byte {
                    WILL | WONT | DO | DONT => Telnet::Option(byte),
                    SB => Telnet::Subnegotiation(false),
                    _ => Telnet::Data,
                };
                if byte < SE {
                    // Not a Telnet command: the client sent the 0xFF of a name without doubling it.
                    // The byte after the 0xFF is processed again as data.
                    return self.take_data(IAC);
                }
                self.input.take(1);
                self.is_interrupt |= byte == IP;
                if byte == IAC { self.take_data(IAC) } else { None }
            }
            Telnet::Option(request) => {
                self.telnet = Telnet::Data;
                self.input.take(1);
                let refusal = match request {
                    WILL => DONT,
                    DO => WONT,
                    _ => return None,
                };
                self.answers_left = self.answers_left.checked_sub(1)?;
                Some(LineEvent::Answer([IAC, refusal, byte]))
            }
            Telnet::Subnegotiation(after_iac) => {
                self.input.take(1);
                self.telnet = match (after_iac, byte) {
                    (true, SE) => Telnet::Data,
                    (false, IAC) => Telnet::Subnegotiation(true),
                    _ => Telnet::Subnegotiation(false),
                };
                // No option was negotiated, so these bytes count towards the limits of a line.
                self.count()
            }
        }
    }

    /// Processes one byte outside Telnet commands.
    fn take_data(&mut self, byte: u8) -> Option<LineEvent<'static>> {
        let last = std::mem::replace(&mut self.last, Last::Other);
        match (last, byte) {
            (Last::Cr, b'\n') => return self.end_line(),
            (Last::Other, b'\n') if !self.strict => return self.end_line(),
            (Last::Cr, 0) => {
                self.last = Last::CrNul;
                self.refuse();
            }
            (Last::CrNul, b'\n') | (_, 0) => self.refuse(),
            (Last::Other, b'\n') => self.refuse_with(ParseErrorKind::UnexpectedByte),
            (Last::Cr, b'\r') => {
                self.refuse();
                self.last = Last::Cr;
            }
            (Last::Cr, _) => self.refuse(),
            (_, b'\r') => {
                self.last = Last::Cr;
                return None;
            }
            _ if self.malformed.is_none() && self.length < limits::COMMAND_LINE => {
                self.line.push(byte);
            }
            _ => {}
        }
        self.count()
    }

    /// Marks the line as malformed, because it contains CR, LF or NUL (RFC 2640 §3.1).
    fn refuse(&mut self) {
        self.refuse_with(ParseErrorKind::LineBreak);
    }

    fn refuse_with(&mut self, kind: ParseErrorKind) {
        self.malformed.get_or_insert(ParseError::new("command line", self.length, kind));
        self.line.clear();
    }

    fn count(&mut self) -> Option<LineEvent<'static>> {
        self.length += 1;
        if self.length == limits::COMMAND_LINE + 1 {
            self.line = Vec::new();
            return Some(LineEvent::TooLong);
        }
        (self.length == limits::UNTERMINATED).then_some(LineEvent::Unterminated)
    }

    fn end_line(&mut self) -> Option<LineEvent<'static>> {
        let line = std::mem::take(&mut self.line);
        let malformed = self.malformed.take();
        let fits = std::mem::take(&mut self.length) <= limits::COMMAND_LINE;
        fits.then(|| malformed.map_or(LineEvent::Line(line.into()), LineEvent::Malformed))
    }
}

/// Returns the number of bytes before the first one that may be special: LF, CR, NUL, IAC and every
/// other byte below CR.
fn plain_run(bytes: &[u8]) -> usize {
    let is_special = |&byte: &u8| byte <= b'\r' || byte == IAC;
    bytes.iter().position(is_special).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::any_chunking;

    fn events_of(mut decoder: LineDecoder, pieces: &[&[u8]]) -> Vec<LineEvent<'static>> {
        let mut events = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let taken = decoder.push(rest);
                assert!(taken > 0, "push made no progress");
                rest = &rest[taken..];
                events.extend(std::iter::from_fn(|| decoder.next().map(LineEvent::into_owned)));
            }
        }
        events
    }

    fn line(text: &[u8]) -> LineEvent<'_> {
        LineEvent::Line(text.into())
    }

    fn malformed(at: usize, kind: ParseErrorKind) -> LineEvent<'static> {
        LineEvent::Malformed(ParseError::new("command line", at, kind))
    }

    fn lenient(input: &[u8], want: &[LineEvent<'static>]) {
        let decode = |pieces: &[&[u8]]| events_of(LineDecoder::new(), pieces);
        any_chunking(input, decode, &want.to_vec());
    }

    #[test]
    fn lines_end_at_crlf_and_lf_fr_01_fr_02_fr_03() {
        lenient(b"NOOP\r\nUSER a\nPASS b", &[line(b"NOOP"), line(b"USER a")]);
        lenient(b"\r\n\n", &[line(b""), line(b"")]);
    }

    #[test]
    fn strict_refuses_bare_lf_fr_03_hs_11() {
        let decode = |pieces: &[&[u8]]| events_of(LineDecoder::strict(), pieces);
        let want = vec![malformed(6, ParseErrorKind::UnexpectedByte), line(b"NOOP")];
        any_chunking(b"STOR a\nDELE b\r\nNOOP\r\n", decode, &want);
    }

    #[test]
    fn cr_nul_does_not_end_the_line_fr_04_fr_05_hs_10() {
        let broken = |at| malformed(at, ParseErrorKind::LineBreak);
        lenient(b"STOR a\r\0\nDELE b\r\nNOOP\r\n", &[broken(6), line(b"NOOP")]);
        lenient(b"STOR a\r\0b\n", &[broken(6)]);
        lenient(b"STOR a\r\0\r\n", &[broken(6)]);
    }

    #[test]
    fn a_lone_cr_makes_the_line_malformed_fr_06_hs_12() {
        let broken = |at| malformed(at, ParseErrorKind::LineBreak);
        lenient(b"CWD /x\rSTOR evil\r\nNOOP\r\n", &[broken(6), line(b"NOOP")]);
        lenient(b"NOOP\r\r\n", &[broken(4)]);
        lenient(b"\r\r\r\n", &[broken(0)]);
        lenient(b"\rA\r\nNOOP\r\n", &[broken(0), line(b"NOOP")]);
    }

    #[test]
    fn a_nul_makes_the_line_malformed_fr_07_hs_09() {
        let broken = |at| malformed(at, ParseErrorKind::LineBreak);
        lenient(b"USER a\0b\r\nNOOP\n", &[broken(6), line(b"NOOP")]);
        lenient(b"\0\n", &[broken(0)]);
    }

    #[test]
    fn the_longest_line_fr_09() {
        let fits = vec![b'x'; limits::COMMAND_LINE];
        let mut input = fits.clone();
        input.extend_from_slice(b"\r\n");
        input.extend_from_slice(&fits);
        input.extend_from_slice(b"yz\r\nNOOP\r\n");
        let want = vec![line(&fits), LineEvent::TooLong, line(b"NOOP")];
        for size in [1, 7, 4_096, input.len()] {
            let pieces: Vec<&[u8]> = input.chunks(size).collect();
            assert_eq!(events_of(LineDecoder::new(), &pieces), want, "pieces of {size}");
        }
    }

    #[test]
    fn a_long_malformed_line_is_one_event() {
        let mut input = b"USER \0".to_vec();
        input.resize(20_000, b'x');
        input.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(events_of(LineDecoder::new(), &[&input]), [LineEvent::TooLong, line(b"NOOP")]);
    }

    #[test]
    fn an_endless_line_is_unterminated_and_bounded_fr_10_hs_01() {
        let input = vec![b'x'; 1 << 20];
        for size in [1, 1_000, 16_384] {
            let pieces: Vec<&[u8]> = input.chunks(size).collect();
            let mut decoder = LineDecoder::new();
            let mut events = Vec::new();
            for piece in &pieces {
                assert_eq!(decoder.push(piece), piece.len());
                events.extend(std::iter::from_fn(|| decoder.next().map(LineEvent::into_owned)));
                assert!(decoder.line.capacity() <= 2 * limits::COMMAND_LINE);
                assert!(decoder.input.capacity() <= 2 * limits::READ_AHEAD);
            }
            assert_eq!(events, [LineEvent::TooLong, LineEvent::Unterminated], "{size}");
            let _ = decoder.push(b"\r\nNOOP\r\n");
            assert_eq!(decoder.next(), None, "nothing comes after the end");
        }
    }

    #[test]
    fn a_telnet_interrupt_is_reported_with_its_line_fr_23() {
        let input = b"NOOP\r\n\xff\xf4\xff\xf2STAT\r\nSTAT\r\nAB\xff\xf4OR\r\n";
        let decode = |pieces: &[&[u8]]| {
            let (mut decoder, mut seen) = (LineDecoder::new(), Vec::new());
            for piece in pieces {
                assert_eq!(decoder.push(piece), piece.len());
                while decoder.next().is_some() {
                    seen.push(decoder.take_interrupt());
                }
            }
            seen
        };
        any_chunking(input, decode, &vec![false, true, false, true]);
    }

    #[test]
    fn telnet_requests_are_refused_fr_20_fr_21() {
        lenient(
            b"NO\xff\xfd\x01OP\xff\xfb\x03\xff\xfc\x05\xff\xfe\x06\r\n",
            &[LineEvent::Answer([IAC, WONT, 1]), LineEvent::Answer([IAC, DONT, 3]), line(b"NOOP")],
        );
    }

    #[test]
    fn telnet_answers_are_bounded_fr_20_hs_13() {
        let mut input = b"\xff\xfd\x01".repeat(350_000);
        input.extend_from_slice(b"NOOP\r\n");
        let events = events_of(LineDecoder::new(), &[&input]);
        assert_eq!(events.len(), 17);
        assert_eq!(events.last(), Some(&line(b"NOOP")));
    }

    #[test]
    fn telnet_commands_are_removed_fr_22_hs_14() {
        lenient(b"\xff\xf4\xff\xf2AB\xff\xf5OR\xff\xf1\r\xff\xf9\n", &[line(b"ABOR")]);
        lenient(b"\xff\xfa\x18\x01\xff\xff\xff\xf0NOOP\n", &[line(b"NOOP")]);
        lenient(b"\xff\xfaDELE a\r\n\xff\xf0NOOP\r\n", &[line(b"NOOP")]);
    }

    #[test]
    fn a_doubled_iac_is_one_byte_fr_19() {
        lenient(b"DELE a\xff\xffb\xff\xff\r\n", &[line(b"DELE a\xffb\xff")]);
    }

    #[test]
    fn an_undoubled_iac_is_kept() {
        lenient(b"DELE a\xffb\xff\r\n", &[line(b"DELE a\xffb\xff")]);
    }

    #[test]
    fn plain_runs_end_at_low_control_bytes_and_iac() {
        for length in 0..24 {
            for byte in 0..=255 {
                let mut line = vec![b'x'; length];
                line.push(byte);
                line.extend_from_slice(b"\n\0\xff...");
                let is_plain = (b'\r' + 1..IAC).contains(&byte);
                assert_eq!(plain_run(&line), length + usize::from(is_plain), "{byte} at {length}");
            }
            assert_eq!(plain_run(&vec![b'x'; length]), length);
        }
    }

    #[test]
    fn control_bytes_are_part_of_the_line_fr_16() {
        lenient(b"RETR a\tb\x0b\x01\r\n", &[line(b"RETR a\tb\x0b\x01")]);
    }

    #[test]
    fn discard_clears_all_input_fr_28() {
        let mut decoder = LineDecoder::new();
        let _ = decoder.push(b"AUTH TLS\r\nUSER x\r\nPA\xff");
        assert_eq!(decoder.next(), Some(line(b"AUTH TLS")));
        decoder.discard();
        assert!(!decoder.is_mid_line());
        let _ = decoder.push(b"NOOP\r\n");
        assert_eq!(decoder.next(), Some(line(b"NOOP")));
    }

    #[test]
    fn reading_ahead_is_bounded_fr_27() {
        let mut decoder = LineDecoder::new();
        let flood = b"NOOP\r\n".repeat(10_000);
        assert_eq!(decoder.push(&flood), limits::READ_AHEAD);
        assert_eq!(decoder.push(&flood), 0);
        assert_eq!(decoder.next(), Some(line(b"NOOP")));
        assert_eq!(decoder.room(), 6);
    }

    #[test]
    fn is_mid_line_holds_between_the_first_byte_and_the_line_end() {
        let mut decoder = LineDecoder::new();
        assert!(!decoder.is_mid_line());
        let _ = decoder.push(b"NO");
        assert!(decoder.is_mid_line(), "bytes wait");
        assert_eq!(decoder.next(), None);
        assert!(decoder.is_mid_line(), "a line is begun");
        let _ = decoder.push(b"OP\r\n");
        assert_eq!(decoder.next(), Some(line(b"NOOP")));
        assert!(!decoder.is_mid_line());
        for begun in [&b"\r"[..], b"\xff"] {
            let mut decoder = LineDecoder::new();
            let _ = decoder.push(begun);
            assert_eq!(decoder.next(), None);
            assert!(decoder.is_mid_line(), "{begun:?} was looked at");
        }
    }

    #[test]
    fn discard_keeps_strictness_and_the_telnet_limit() {
        let mut decoder = LineDecoder::strict();
        let _ = decoder.push(&b"\xff\xfd\x01".repeat(limits::TELNET_ANSWERS as usize));
        let answers = std::iter::from_fn(|| decoder.next().map(LineEvent::into_owned)).count();
        assert_eq!(answers, limits::TELNET_ANSWERS as usize);
        decoder.discard();
        let _ = decoder.push(b"\xff\xfd\x01NOOP\nNOOP\r\n");
        assert_eq!(decoder.next(), Some(malformed(4, ParseErrorKind::UnexpectedByte)));
    }

    #[test]
    fn a_double_cr_makes_the_line_malformed_fr_06() {
        lenient(b"A\r\r\nNOOP\r\n", &[malformed(1, ParseErrorKind::LineBreak), line(b"NOOP")]);
    }
}
