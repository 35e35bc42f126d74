//! Replies (RFC 959 §4.2): a code of three digits and lines of text, and their encoding.
//!
//! Then the replies that are valid for a command, and which of them is final: one table covers the
//! sequences of RFC 959 §5.4 and the state diagrams of §6. The last is the feature list in the reply
//! to `FEAT` (RFC 2389 §3.2).

mod decoder;

pub use decoder::ReplyDecoder;

use std::fmt;

use crate::bytes::{Escaped, is_line_break, split_or_all};
use crate::line::IAC;
use crate::verb::Verb;

/// A reply: its code, and its lines without the code.
///
/// The text consists of bytes, since names in it may be in any encoding. `Display` writes the reply
/// on one line with control characters escaped.
///
/// ```
/// use ftp_proto::{Reply, ReplyCode};
///
/// let features = [" MLST type*;size*;", " SIZE"];
/// let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", features, "End");
/// assert_eq!(reply.encode(), b"211-Features:\r\n MLST type*;size*;\r\n SIZE\r\n211 End\r\n");
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Reply {
    code: ReplyCode,
    /// The lines separated by LF: one buffer, so that one limit applies to all.
    text: Vec<u8>,
    is_cut: bool,
}

impl Reply {
    /// Returns a reply of one line.
    ///
    /// CR, LF and NUL in `text` become `?`, so that a name cannot forge a reply.
    #[must_use]
    pub fn new(code: ReplyCode, text: impl Into<Vec<u8>>) -> Self {
        Self { code, text: clean(text.into()), is_cut: false }
    }

    /// Returns a reply of several lines: the text of the first line, the lines between, and the
    /// text of the last line.
    ///
    /// A line between them that begins with a digit gets a leading SP, so that it cannot be taken
    /// for the last line (RFC 959 §4.2). CR, LF and NUL become `?`.
    #[must_use]
    pub fn multi_line<T: Into<Vec<u8>>>(
        code: ReplyCode,
        first: impl Into<Vec<u8>>,
        between: impl IntoIterator<Item = T>,
        last: impl Into<Vec<u8>>,
    ) -> Self {
        let mut text = clean(first.into());
        for line in between {
            add_between(&mut text, line.into());
        }
        text.push(b'\n');
        text.extend_from_slice(&clean(last.into()));
        // A peer can leave the reply unread for a while.
        text.shrink_to_fit();
        Self { code, text, is_cut: false }
    }

    const fn received(code: ReplyCode, text: Vec<u8>, is_cut: bool) -> Self {
        Self { code, text, is_cut }
    }

    /// Replaces each occurrence of `secret` in the text with `****`: servers may quote a command
    /// that they refuse, and replies are shown to users.
    ///
    /// A secret of fewer than four bytes is replaced only as a whole word: inside a longer word,
    /// the bytes around `****` would reveal it.
    pub fn conceal(&mut self, secret: &[u8]) {
        const WHOLE: usize = 4;
        let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        if secret.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let mut rest = text.as_slice();
        let mut last = None;
        while let Some((byte, after)) = rest.split_first() {
            match rest.strip_prefix(secret) {
                Some(after)
                    if secret.len() >= WHOLE || !is_word(last) && !is_word(after.first()) =>
                {
                    self.text.extend_from_slice(b"****");
                    rest = after;
                    last = None;
                }
                _ => {
                    self.text.push(*byte);
                    rest = after;
                    last = Some(byte);
                }
            }
        }
    }

    /// Replaces the text with its translation, in which LF must separate the same lines.
    pub fn translate(&mut self, translation: impl FnOnce(&[u8]) -> Vec<u8>) {
        self.text = translation(&self.text);
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// Returns the lines, at least one. The first and the last lack the code and separator; lines
    /// between them are as received.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.text.split(|&byte| byte == b'\n')
    }

    /// Returns whether lines before the last one are missing because a decoder had no room for
    /// them: see [`ReplyDecoder::set_text_limit`].
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the text of the last line, which carries the value of 227, 229 and 257.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        match self.text.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => self.text.split_at(last + 1).1,
            None => &self.text,
        }
    }

    /// Encodes the reply: CR LF after each line, 0xFF doubled (RFC 854). A CR or NUL in a received
    /// reply becomes `?`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let longer = self.text.iter().filter(|byte| matches!(**byte, b'\n' | IAC)).count();
        let mut out = Vec::with_capacity(self.text.len() + longer + 16);
        let mut lines = self.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            if lines.peek().is_none() {
                out.extend_from_slice(format!("{} ", self.code).as_bytes());
            } else if index == 0 {
                out.extend_from_slice(format!("{}-", self.code).as_bytes());
            }
            for &byte in line {
                if byte == IAC {
                    out.push(IAC);
                }
                out.push(if is_line_break(byte) { b'?' } else { byte });
            }
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

fn add_between(text: &mut Vec<u8>, line: Vec<u8>) {
    let line = clean(line);
    text.push(b'\n');
    if line.first().is_some_and(u8::is_ascii_digit) {
        text.push(b' ');
    }
    text.extend_from_slice(&line);
}

// Inlined into every handler of a command, this loop made the program 170 KB larger, and the stack
// of an idle session one page.
#[inline(never)]
fn clean(mut text: Vec<u8>) -> Vec<u8> {
    text.iter_mut().filter(|byte| is_line_break(**byte)).for_each(|byte| *byte = b'?');
    text
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for (index, line) in self.lines().enumerate() {
            let separator = if index == 0 { " " } else { " / " };
            write!(f, "{separator}{}", Escaped(line.trim_ascii()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

/// A reply code, 100 to 599. Codes that no RFC defines are accepted, since clients act on the first
/// digit (RFC 1123 §4.1.2.11).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReplyCode(u16);

/// The meaning of the first digit of a reply code (RFC 959 §4.2.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Severity {
    /// 1xx, positive preliminary: the command has begun, and another reply follows.
    Preliminary,
    /// 2xx, positive completion: the command succeeded.
    Completion,
    /// 3xx, positive intermediate: another command must follow.
    Intermediate,
    /// 4xx, transient negative: the command failed, but may succeed later.
    Transient,
    /// 5xx, permanent negative: the command failed, and the same command will fail again.
    Permanent,
}

impl ReplyCode {
    /// Returns the reply code with this number, 100 to 599; `None` for any other number.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if matches!(code, 100..=599) { Some(Self(code)) } else { None }
    }

    /// Parses the three digits at the beginning of `line`; `None` if there is no such code.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        Self::new(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
    }

    /// Returns the number, 100 to 599.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Returns the meaning of the first digit.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            1 => Severity::Preliminary,
            2 => Severity::Completion,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// Returns whether the server has no space for what is stored: 452, or 552 for one user.
    #[must_use]
    pub const fn is_no_space(self) -> bool {
        matches!(self, Self::NO_SPACE | Self::OVER_QUOTA)
    }
}

/// The codes that this toolkit sends or checks by name.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal,)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*
        }
    };
}

codes! {
    /// 110: restart marker reply, whose text is `MARK yyyy = mmmm`.
    RESTART_MARKER 110,
    /// 125: data connection already open, transfer starting.
    DATA_CONNECTION_OPEN 125,
    /// 150: file status okay, about to open the data connection.
    ABOUT_TO_OPEN_DATA 150,
    /// 200: command okay.
    OKAY 200,
    /// 202: command superfluous at this site.
    SUPERFLUOUS 202,
    /// 211: system status, and FEAT.
    SYSTEM_STATUS 211,
    /// 212: directory status.
    DIRECTORY_STATUS 212,
    /// 213: file status, and SIZE, MDTM.
    FILE_STATUS 213,
    /// 214: help.
    HELP 214,
    /// 215: system name.
    SYSTEM_NAME 215,
    /// 220: service ready.
    SERVICE_READY 220,
    /// 221: service closing the control connection after QUIT.
    CLOSING 221,
    /// 225: data connection open, but no transfer in progress, so nothing was aborted.
    NOTHING_TO_ABORT 225,
    /// 226: closing the data connection, action successful.
    TRANSFER_COMPLETE 226,
    /// 227: entering passive mode.
    PASSIVE 227,
    /// 229: entering extended passive mode (RFC 2428 §3).
    EXTENDED_PASSIVE 229,
    /// 230: logged in.
    LOGGED_IN 230,
    /// 234: the security mechanism is accepted, and the handshake follows (RFC 4217 §4).
    SECURITY_ACCEPTED 234,
    /// 250: file action okay.
    FILE_ACTION_OKAY 250,
    /// 257: pathname.
    PATHNAME 257,
    /// 331: user name okay, need password.
    NEED_PASSWORD 331,
    /// 332: need account.
    NEED_ACCOUNT 332,
    /// 350: file action pending further information.
    PENDING 350,
    /// 421: service not available, closing the control connection.
    SERVICE_CLOSING 421,
    /// 425: cannot open data connection.
    NO_DATA_CONNECTION 425,
    /// 426: connection closed, transfer aborted.
    TRANSFER_ABORTED 426,
    /// 450: file unavailable, busy.
    FILE_BUSY 450,
    /// 451: local error in processing.
    LOCAL_ERROR 451,
    /// 452: insufficient storage space.
    NO_SPACE 452,
    /// 500: syntax error, command unrecognized.
    UNKNOWN_COMMAND 500,
    /// 501: syntax error in arguments.
    BAD_ARGUMENT 501,
    /// 502: command not implemented.
    NOT_IMPLEMENTED 502,
    /// 503: bad sequence of commands.
    BAD_SEQUENCE 503,
    /// 504: command not implemented for that parameter.
    PARAMETER_NOT_IMPLEMENTED 504,
    /// 521: the data connection cannot be opened with this `PROT` setting (RFC 4217 §10.2).
    DATA_PROTECTION_NEEDED 521,
    /// 522: network protocol not supported (RFC 2428 §2); after a 150, the data connection could
    /// not be protected (RFC 4217 §10.2).
    PROTOCOL_NOT_SUPPORTED 522,
    /// 530: not logged in.
    NOT_LOGGED_IN 530,
    /// 533: command protection level denied for policy reasons (RFC 2228 §5.1).
    PROTECTION_DENIED 533,
    /// 534: request denied for policy reasons (RFC 2228 §5.1).
    DENIED_BY_POLICY 534,
    /// 536: level of data protection not supported by the security mechanism (RFC 2228 §5.1).
    PROTECTION_NOT_SUPPORTED 536,
    /// 550: file unavailable: not found, no access.
    FILE_UNAVAILABLE 550,
    /// 552: exceeded storage allocation.
    OVER_QUOTA 552,
    /// 553: file name not allowed.
    NAME_NOT_ALLOWED 553,
    /// 554: invalid REST parameter (RFC 1123 §4.1.3.4).
    BAD_RESTART 554,
    /// 555: type or structure mismatch (RFC 1123 §4.1.3.4).
    TYPE_MISMATCH 555,
    /// 556: refused by policy, such as a digest of a very large file (draft-bryan-ftpext-hash-02
    /// §3.5).
    AGAINST_POLICY 556,
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The meaning of a reply for its command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// 1xx: the command has begun; another reply follows.
    Preliminary,
    /// The final reply of this command: 2xx, 3xx, 4xx or 5xx.
    Final,
}

/// A reply that is not valid at this point. Later replies can no longer be matched to commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unexpected reply {code} to {verb}")]
#[non_exhaustive]
pub struct UnexpectedReply {
    /// The command that was answered.
    pub verb: Verb,
    /// The code of the reply.
    pub code: ReplyCode,
}

/// One command and its replies: a state machine with two states, for clients and servers.
///
/// ```
/// use ftp_proto::{Exchange, Progress, ReplyCode, Verb};
///
/// let mut exchange = Exchange::new(Verb::Retr);
/// assert_eq!(exchange.reply(ReplyCode::ABOUT_TO_OPEN_DATA)?, Progress::Preliminary);
/// assert_eq!(exchange.reply(ReplyCode::TRANSFER_COMPLETE)?, Progress::Final);
/// assert!(exchange.reply(ReplyCode::TRANSFER_COMPLETE).is_err(), "the exchange has ended");
/// # Ok::<(), ftp_proto::UnexpectedReply>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    verb: Verb,
    ended: bool,
}

impl Exchange {
    /// Returns the exchange that begins when `verb` is sent.
    #[must_use]
    pub const fn new(verb: Verb) -> Self {
        Self { verb, ended: false }
    }

    /// Takes the next reply.
    ///
    /// # Errors
    ///
    /// Returns [`UnexpectedReply`] for a 2xx or 3xx if no reply with that first digit is valid for
    /// the command. Returns the same error for any reply after the final one.
    pub fn reply(&mut self, code: ReplyCode) -> Result<Progress, UnexpectedReply> {
        let unexpected = Err(UnexpectedReply { verb: self.verb, code });
        if self.ended {
            return unexpected;
        }
        // Any reply to an unknown command is allowed; nothing depends on it. Any reply to FEAT but
        // 211 means that there are no features (RFC 2389 §3.2); some servers send 331 or 350. Some
        // accept RNFR with 250.
        let allowed = codes_of(self.verb).is_none_or(|codes| match code.severity() {
            Severity::Intermediate if self.verb == Verb::Feat => true,
            Severity::Completion if self.verb == Verb::Rnfr => true,
            Severity::Completion | Severity::Intermediate => {
                codes.iter().any(|listed| listed / 100 == code.value() / 100)
            }
            // Some servers send a 1xx to keep the connection alive during any long command.
            Severity::Preliminary | Severity::Transient | Severity::Permanent => true,
        });
        if !allowed {
            return unexpected;
        }
        if code.severity() == Severity::Preliminary {
            return Ok(Progress::Preliminary);
        }
        self.ended = true;
        Ok(Progress::Final)
    }

    /// Returns whether the final reply has arrived.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }
}

/// The codes that may answer any command (RFC 959 §5.4; RFC 2228 §5.1). They report the end of the
/// service, a syntax error, an unknown or unsupported command or parameter, a bad sequence, or a
/// missing login or protection.
const ANY: &[u16] = &[421, 500, 501, 502, 503, 504, 530, 533, 534, 535];

/// Returns the codes that may answer a verb in addition to [`ANY`], in ascending order, from RFC
/// 959 §5.4 and its extensions. The list also contains codes that servers send although §5.4 lists
/// them only for similar commands. Comments on the groups name many of these. Unknown verbs have no
/// codes.
const fn codes_of(verb: Verb) -> Option<&'static [u16]> {
    use Verb::{
        Abor, Acct, Adat, Allo, Appe, Auth, Avbl, Ccc, Cdup, Clnt, Comb, Conf, Cpsv, Csid, Cwd,
        Dele, Dsiz, Enc, Eprt, Epsv, Feat, Hash, Help, Host, Lang, List, Lprt, Lpsv, Mdtm, Mfct,
        Mff, Mfmt, Mic, Mkd, Mlsd, Mlst, Mode, Nlst, Noop, Opts, Other, Pass, Pasv, Pbsz, Port,
        Pret, Prot, Pwd, Quit, Rang, Rein, Rest, Retr, Rmd, Rmda, Rnfr, Rnto, Site, Size, Smnt,
        Sscn, Stat, Stor, Stou, Stru, Syst, Type, User, Xcrc, Xmd5, Xsha, Xsha1, Xsha256, Xsha512,
    };
    Some(match verb {
        // Login; 232, 234, 235, 334, 335, 336 and 431 are from RFC 2228.
        User => &[230, 232, 331, 332, 336, 431],
        Pass => &[202, 230, 332, 451],
        Acct => &[202, 230, 451],
        Auth => &[232, 234, 334, 431],
        Adat => &[232, 235, 335],
        Host => &[220, 550],
        Rein => &[120, 220],
        Quit => &[221],
        // Directories; servers also use 250 for CDUP and MKD.
        Cwd | Smnt => &[202, 250, 450, 550],
        Cdup => &[200, 250, 550],
        Pwd => &[257, 550],
        Mkd => &[250, 257, 450, 451, 452, 521, 550, 552, 553],
        Rmd | Rmda => &[250, 450, 550],
        // Parameters.
        Type | Stru | Mode => &[200],
        Port | Eprt | Lprt => &[200, 425, 521, 522],
        Pasv | Cpsv => &[227, 229, 425, 521, 522],
        // pyftpdlib answers EPSV ALL with 220.
        Epsv => &[200, 220, 229, 425, 521, 522],
        Lpsv => &[228, 425, 521],
        Allo => &[200, 202, 452, 552],
        Opts | Sscn => &[200, 202, 451],
        Lang | Clnt | Csid => &[200],
        // PRET has no specification; servers answer it with codes of the command that it announces.
        Pret => &[200, 450, 550, 553],
        Pbsz | Ccc => &[200, 536, 550],
        Prot => &[200, 431, 536, 550],
        // Protected commands get protected replies, 6xx, which are not supported here (RFC 2228
        // §3).
        Mic | Conf | Enc => &[537],
        // Transfers; 522 for an unprotected data connection is from RFC 4217, 554 and 555 are from
        // RFC 1123.
        Retr => &[110, 125, 150, 226, 250, 425, 426, 450, 451, 521, 522, 550, 551, 554, 555],
        Stor | Stou | Appe => &[
            110, 125, 150, 226, 250, 425, 426, 450, 451, 452, 521, 522, 532, 550, 551, 552, 553,
            554, 555,
        ],
        List | Nlst | Mlsd => &[125, 150, 226, 250, 425, 426, 450, 451, 521, 522, 550, 551],
        Rest => &[350, 554],
        Rang => &[350, 551],
        Abor => &[225, 226],
        // Files.
        Rnfr => &[350, 450, 550],
        Rnto => &[250, 450, 451, 452, 532, 550, 552, 553],
        Dele => &[200, 250, 450, 550],
        Size | Mdtm | Avbl | Dsiz => &[213, 450, 451, 550],
        Mfmt | Mfct | Mff => &[213, 450, 451, 550],
        Hash => &[213, 450, 451, 550, 551, 552, 553, 556],
        Xcrc | Xmd5 | Xsha | Xsha1 | Xsha256 | Xsha512 => &[213, 250, 450, 451, 550, 551, 552, 553],
        Comb => &[250, 450, 451, 550],
        Mlst => &[250, 450, 451, 550],
        // Information; some servers answer STAT with the codes of LIST, although STAT needs no data
        // connection.
        Stat => &[125, 150, 211, 212, 213, 226, 250, 450, 451, 550],
        Help => &[211, 214],
        Feat => &[211],
        Syst => &[215],
        Noop => &[200],
        Site => &[150, 200, 202, 211, 214, 250, 350, 450, 550, 553],
        Other(_) => return None,
    })
}

/// Returns whether an RFC, a draft or common practice allows `code` as a reply to `verb`.
///
/// Use it to test a server. Clients use [`Exchange`], which looks at the first digit only.
///
/// ```
/// use ftp_proto::{ReplyCode, Verb, is_listed};
///
/// assert!(is_listed(Verb::Retr, ReplyCode::FILE_UNAVAILABLE));
/// assert!(is_listed(Verb::Noop, ReplyCode::SERVICE_CLOSING));
/// assert!(!is_listed(Verb::Noop, ReplyCode::FILE_UNAVAILABLE));
/// ```
#[must_use]
pub fn is_listed(verb: Verb, code: ReplyCode) -> bool {
    let code = code.value();
    ANY.contains(&code) || codes_of(verb).is_some_and(|codes| codes.contains(&code))
}

/// The features that a server lists: words with parameters.
///
/// ```
/// use ftp_proto::{Features, Reply, ReplyCode};
///
/// let lines = [" REST STREAM", " MLST type*;size*;"];
/// let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", lines, "End");
/// let features = Features::read(&reply);
/// assert!(features.has("mlst"));
/// assert_eq!(features.parameters("REST"), Some(b"STREAM".as_slice()));
/// assert!(!features.has("MD5"));
/// assert_eq!(features.iter().count(), 2);
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Features(Vec<Vec<u8>>);

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|line| Escaped(line))).finish()
    }
}

impl Features {
    /// Reads the lines between the first and the last line of a 211 reply.
    ///
    /// Also accepts lines that begin without SP, or with `211-`.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        let count = reply.lines().count();
        let between = reply.lines().skip(1).take(count.saturating_sub(2));
        let again = format!("{}-", reply.code());
        let features = between.map(|line| {
            let line = line.strip_prefix(again.as_bytes()).unwrap_or(line);
            line.trim_ascii_start().to_vec()
        });
        Self(features.filter(|line| !line.is_empty()).collect())
    }

    /// Returns whether a feature is listed, ignoring case.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.parameters(feature).is_some()
    }

    /// Returns the parameters of a feature, empty if it has none; `None` if the feature is not
    /// listed. If several lines list it, the first one counts.
    #[must_use]
    pub fn parameters(&self, feature: &str) -> Option<&[u8]> {
        self.all_parameters(feature).next()
    }

    /// Returns the parameters of each line that lists a feature, in order. Some servers list `AUTH
    /// TLS` and `AUTH SSL` on separate lines (RFC 4217 §6).
    pub fn all_parameters(&self, feature: &str) -> impl Iterator<Item = &[u8]> {
        let has_word = |(word, _): &(&[u8], _)| word.eq_ignore_ascii_case(feature.as_bytes());
        self.iter().filter(has_word).map(|(_, parameters)| parameters)
    }

    /// Returns the items of a feature in order, and whether each is currently selected (marked
    /// `*`).
    ///
    /// Features with such items are `MLST` with its facts (RFC 3659 §7.8) and `HASH` with its
    /// algorithms (draft-bryan-ftpext-hash-02 §3.1). Returns no items if the feature is not listed.
    ///
    /// ```
    /// # use ftp_proto::{Features, Reply, ReplyCode};
    /// # let lines = [" HASH SHA-256*;SHA-1;"];
    /// # let reply = Reply::multi_line(ReplyCode::SYSTEM_STATUS, "Features:", lines, "End");
    /// # let features = Features::read(&reply);
    /// let algorithms: Vec<_> = features.choices("HASH").collect();
    /// assert_eq!(algorithms, [(&b"SHA-256"[..], true), (b"SHA-1", false)]);
    /// ```
    pub fn choices(&self, feature: &str) -> impl Iterator<Item = (&[u8], bool)> {
        let parameters = self.parameters(feature).unwrap_or_default();
        let items = parameters.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        items.filter(|item| !item.is_empty()).map(|item| match item.strip_suffix(b"*") {
            Some(item) => (item, true),
            None => (item, false),
        })
    }

    /// Returns whether a feature has the parameter `word`, for example whether `REST` has `STREAM`
    /// (RFC 3659 §5.4). Ignores the case of both.
    #[must_use]
    pub fn has_with(&self, feature: &str, word: &str) -> bool {
        let is_there = |parameters: &[u8]| {
            let mut words = parameters.split(|byte| matches!(byte, b' ' | b';' | b','));
            words.any(|found| found.eq_ignore_ascii_case(word.as_bytes()))
        };
        self.all_parameters(feature).any(is_there)
    }

    /// Returns all features in order: the word as received, and its parameters (empty if there are
    /// none).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|line| split_or_all(line, b' '))
    }
}

#[cfg(test)]
mod tests;
