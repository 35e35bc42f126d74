//! The replies that are valid for a command, and which of them is final. One table covers the
//! sequences of RFC 959 §5.4 and the state diagrams of §6.

use crate::reply::{ReplyCode, Severity};
use crate::verb::Verb;

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
        // 211 means that there are no features (RFC 2389 §3.2); some servers send 331 or 350.
        let allowed = codes_of(self.verb).is_none_or(|codes| match code.severity() {
            Severity::Intermediate if self.verb == Verb::Feat => true,
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
        Epsv => &[200, 229, 425, 521, 522],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_follow_the_state_diagrams() {
        use Progress::{Final, Preliminary};
        for (verb, code, want) in [
            (Verb::Retr, 150, Some(Preliminary)),
            (Verb::Retr, 125, Some(Preliminary)),
            (Verb::Retr, 226, Some(Final)),
            (Verb::Retr, 350, None),
            (Verb::Retr, 425, Some(Final)),
            (Verb::Noop, 150, Some(Preliminary)),
            (Verb::Noop, 299, Some(Final)),
            (Verb::Rest, 350, Some(Final)),
            (Verb::Rest, 250, None),
            (Verb::Rnfr, 550, Some(Final)),
            (Verb::User, 331, Some(Final)),
            (Verb::User, 230, Some(Final)),
            (Verb::Pass, 332, Some(Final)),
            (Verb::Pass, 150, Some(Preliminary)),
            (Verb::Type, 331, None),
            (Verb::Rein, 120, Some(Preliminary)),
            (Verb::Stat, 211, Some(Final)),
            (Verb::Abor, 225, Some(Final)),
            (Verb::Rnto, 350, None),
            (Verb::Feat, 331, Some(Final)),
            (Verb::parse(b"XYZZY").unwrap(), 350, Some(Final)),
            (Verb::parse(b"XYZZY").unwrap(), 150, Some(Preliminary)),
        ] {
            let code = ReplyCode::new(code).unwrap();
            let unexpected = UnexpectedReply { verb, code };
            assert_eq!(Exchange::new(verb).reply(code), want.ok_or(unexpected), "{verb} {code}");
        }
    }

    #[test]
    fn reply_codes_of_known_verbs_are_sorted() {
        for verb in Verb::KNOWN {
            let codes = codes_of(*verb).unwrap();
            assert!(codes.is_sorted_by(|one, next| one < next), "{verb}");
            assert!(codes.iter().all(|code| (100..600).contains(code)), "{verb}");
        }
    }

    #[test]
    fn codes_are_listed_for_their_verbs() {
        for (verb, code, want) in [
            (Verb::Retr, 150, true),
            (Verb::Retr, 226, true),
            (Verb::Retr, 350, false),
            (Verb::Retr, 452, false),
            (Verb::Stor, 452, true),
            (Verb::User, 331, true),
            (Verb::User, 550, false),
            (Verb::Noop, 200, true),
            (Verb::Noop, 250, false),
            (Verb::Noop, 421, true),
            (Verb::Size, 213, true),
            (Verb::Prot, 431, true),
            (Verb::Pbsz, 431, false),
            (Verb::parse(b"XYZZY").unwrap(), 500, true),
            (Verb::parse(b"XYZZY").unwrap(), 200, false),
        ] {
            assert_eq!(is_listed(verb, ReplyCode::new(code).unwrap()), want, "{verb} {code}");
        }
    }

    #[test]
    fn several_preliminary_replies_are_allowed_cl_08() {
        let mut exchange = Exchange::new(Verb::Stor);
        for _ in 0..3 {
            assert_eq!(exchange.reply(ReplyCode::ABOUT_TO_OPEN_DATA), Ok(Progress::Preliminary));
        }
        assert!(!exchange.is_ended());
        assert_eq!(exchange.reply(ReplyCode::FILE_ACTION_OKAY), Ok(Progress::Final));
        assert!(exchange.is_ended());
    }
}
