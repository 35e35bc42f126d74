//! Which replies may answer a command, and which is the last: the sequences of RFC 959 §5.4 and
//! the state diagrams of §6, as one table.

use crate::reply::{ReplyCode, Severity};
use crate::verb::Verb;

/// What a reply means for the command it answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// 1yz: it has begun; another reply follows.
    Preliminary,
    /// The last reply of this command: 2yz, 3yz, 4yz or 5yz.
    Final,
}

/// A reply that RFC 959 §6 does not allow at this point. From here on nobody can tell which
/// reply belongs to which command.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code} cannot answer {verb}")]
pub struct UnexpectedReply {
    /// The command that was being answered.
    pub verb: Verb,
    /// The code that came.
    pub code: ReplyCode,
}

/// One command and its replies: a state machine of two states, the same for both ends.
///
/// ```
/// use ftp_proto::{Exchange, Progress, ReplyCode, Verb};
///
/// let mut exchange = Exchange::new(Verb::Retr);
/// assert_eq!(exchange.reply(ReplyCode::ABOUT_TO_OPEN_DATA)?, Progress::Preliminary);
/// assert_eq!(exchange.reply(ReplyCode::TRANSFER_COMPLETE)?, Progress::Final);
/// assert!(exchange.reply(ReplyCode::TRANSFER_COMPLETE).is_err(), "one is the last");
/// # Ok::<(), ftp_proto::UnexpectedReply>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    verb: Verb,
    ended: bool,
}

impl Exchange {
    /// The exchange that begins when `verb` is sent.
    #[must_use]
    pub const fn new(verb: Verb) -> Self {
        Self { verb, ended: false }
    }

    /// Takes the next reply.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`] for a 1yz or 3yz where the diagrams of §6 have none, and for any
    /// reply behind the last.
    pub fn reply(&mut self, code: ReplyCode) -> Result<Progress, UnexpectedReply> {
        let unexpected = Err(UnexpectedReply { verb: self.verb, code });
        if self.ended {
            return unexpected;
        }
        // What nobody here knows may be answered in any way; nothing is decided on it.
        let allowed = row_of(self.verb).is_none_or(|row| match code.severity() {
            Severity::Preliminary => !row.preliminary.is_empty(),
            Severity::Completion => !row.completion.is_empty(),
            Severity::Intermediate => !row.intermediate.is_empty(),
            Severity::Transient | Severity::Permanent => true,
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

    /// Whether the last reply has come.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }
}

/// What may answer a group of verbs, beside what may answer any.
struct Row {
    verbs: &'static [Verb],
    preliminary: &'static [u16],
    completion: &'static [u16],
    intermediate: &'static [u16],
    negative: &'static [u16],
}

const fn row(
    verbs: &'static [Verb],
    preliminary: &'static [u16],
    completion: &'static [u16],
    intermediate: &'static [u16],
    negative: &'static [u16],
) -> Row {
    Row { verbs, preliminary, completion, intermediate, negative }
}

/// What may answer any command: the end of the service, the line or its argument is wrong, the
/// command is not there, comes at the wrong time, or before the login or the protection it needs
/// (RFC 959 §5.4; RFC 2228 §5.1).
const ANY: &[u16] = &[421, 500, 501, 502, 503, 504, 530, 533, 534, 535];

/// RFC 959 §5.4 and its extensions: verbs, then their codes of 1yz, 2yz, 3yz, and of 4yz and 5yz.
/// Where a later RFC adds a code, or servers use one that the table of §5.4 has for a neighbour,
/// it stands here too; each such group says so.
#[rustfmt::skip]
const ROWS: &[Row] = {
    use Verb::{
        Abor, Acct, Adat, Allo, Appe, Auth, Avbl, Ccc, Cdup, Clnt, Comb, Conf, Cpsv, Csid, Cwd,
        Dele, Dsiz, Enc, Eprt, Epsv, Feat, Hash, Help, Host, Lang, List, Lprt, Lpsv, Mdtm, Mfct,
        Mff, Mfmt, Mic, Mkd, Mlsd, Mlst, Mode, Nlst, Noop, Opts, Pass, Pasv, Pbsz, Port, Prot,
        Pwd, Quit, Rang, Rein, Rest, Retr, Rmd, Rmda, Rnfr, Rnto, Site, Size, Smnt, Sscn, Stat,
        Stor, Stou, Stru, Syst, Type, User, Xcrc, Xmd5, Xsha, Xsha1, Xsha256, Xsha512,
    };
    &[
        // Login; 232, 235, 334, 335 and 336 are RFC 2228's.
        row(&[User], &[], &[230, 232], &[331, 332, 336], &[431]),
        row(&[Pass], &[], &[202, 230], &[332], &[451]),
        row(&[Acct], &[], &[202, 230], &[], &[451]),
        row(&[Auth], &[], &[232, 234], &[334], &[431]),
        row(&[Adat], &[], &[232, 235], &[335], &[]),
        row(&[Host], &[], &[220], &[], &[550]),
        row(&[Rein], &[120], &[220], &[], &[]),
        row(&[Quit], &[], &[221], &[], &[]),
        // Directories; servers use 200 for CDUP and 250 for all of them.
        row(&[Cwd, Smnt], &[], &[202, 250], &[], &[450, 550]),
        row(&[Cdup], &[], &[200, 250], &[], &[550]),
        row(&[Pwd], &[], &[257], &[], &[550]),
        row(&[Mkd], &[], &[250, 257], &[], &[450, 451, 452, 521, 550, 552, 553]),
        row(&[Rmd, Rmda], &[], &[250], &[], &[450, 550]),
        // Parameters.
        row(&[Type, Stru, Mode], &[], &[200], &[], &[]),
        row(&[Port, Eprt, Lprt], &[], &[200], &[], &[425, 521, 522]),
        row(&[Pasv, Cpsv], &[], &[227, 229], &[], &[425, 521, 522]),
        row(&[Epsv], &[], &[200, 229], &[], &[425, 521, 522]),
        row(&[Lpsv], &[], &[228], &[], &[425, 521]),
        row(&[Allo], &[], &[200, 202], &[], &[452, 552]),
        row(&[Opts, Sscn], &[], &[200, 202], &[], &[451]),
        row(&[Lang, Clnt, Csid], &[], &[200], &[], &[]),
        row(&[Pbsz, Prot, Ccc], &[], &[200], &[], &[536, 550]),
        // Protected commands get protected replies, 6yz, which nobody here reads (RFC 2228 §3).
        row(&[Mic, Conf, Enc], &[], &[], &[], &[537]),
        // Transfers; 522 for a data connection that could not be protected is RFC 4217's, 554 and
        // 555 are RFC 1123's.
        row(&[Retr], &[110, 125, 150], &[226, 250], &[],
            &[425, 426, 450, 451, 521, 522, 550, 551, 554, 555]),
        row(&[Stor, Stou, Appe], &[110, 125, 150], &[226, 250], &[],
            &[425, 426, 450, 451, 452, 521, 522, 532, 550, 551, 552, 553, 554, 555]),
        row(&[List, Nlst, Mlsd], &[125, 150], &[226, 250], &[],
            &[425, 426, 450, 451, 521, 522, 550, 551]),
        row(&[Rest], &[], &[], &[350], &[554]),
        row(&[Rang], &[], &[], &[350], &[551]),
        row(&[Abor], &[], &[225, 226], &[], &[]),
        // Files.
        row(&[Rnfr], &[], &[], &[350], &[450, 550]),
        row(&[Rnto], &[], &[250], &[], &[450, 451, 452, 532, 550, 552, 553]),
        row(&[Dele], &[], &[200, 250], &[], &[450, 550]),
        row(&[Size, Mdtm, Avbl, Dsiz], &[], &[213], &[], &[450, 451, 550]),
        row(&[Mfmt, Mfct, Mff], &[], &[213], &[], &[450, 451, 550]),
        row(&[Hash], &[], &[213], &[], &[450, 451, 550, 551, 552, 553, 556]),
        row(&[Xcrc, Xmd5, Xsha, Xsha1, Xsha256, Xsha512], &[], &[213, 250], &[],
            &[450, 451, 550, 551, 552, 553]),
        row(&[Comb], &[], &[250], &[], &[450, 451, 550]),
        row(&[Mlst], &[], &[250], &[], &[450, 451, 550]),
        // Information; servers that need no data connection for it answer STAT like LIST.
        row(&[Stat], &[125, 150], &[211, 212, 213, 226, 250], &[], &[450, 451, 550]),
        row(&[Help], &[], &[211, 214], &[], &[]),
        row(&[Feat], &[], &[211], &[], &[]),
        row(&[Syst], &[], &[215], &[], &[]),
        row(&[Noop], &[], &[200], &[], &[]),
        row(&[Site], &[150], &[200, 202, 211, 214, 250], &[350], &[450, 550, 553]),
    ]
};

fn row_of(verb: Verb) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.verbs.contains(&verb))
}

/// Whether the table of RFC 959 §5.4, or an extension of it, lists `code` among the replies to
/// `verb`. A client goes by the first digit and asks [`Exchange`]; this is for judging a server.
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
    let Some(row) = row_of(verb) else { return ANY.contains(&code) };
    let Row { preliminary, completion, intermediate, negative, .. } = row;
    [*preliminary, completion, intermediate, negative, ANY]
        .iter()
        .any(|codes| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_follow_the_diagrams() {
        use Progress::{Final, Preliminary};
        for (verb, code, want) in [
            (Verb::Retr, 150, Some(Preliminary)),
            (Verb::Retr, 125, Some(Preliminary)),
            (Verb::Retr, 226, Some(Final)),
            (Verb::Retr, 350, None),
            (Verb::Retr, 425, Some(Final)),
            (Verb::Noop, 150, None),
            (Verb::Noop, 299, Some(Final)),
            (Verb::Rest, 350, Some(Final)),
            (Verb::Rest, 250, None),
            (Verb::Rnfr, 550, Some(Final)),
            (Verb::User, 331, Some(Final)),
            (Verb::User, 230, Some(Final)),
            (Verb::Pass, 332, Some(Final)),
            (Verb::Pass, 150, None),
            (Verb::Type, 331, None),
            (Verb::Rein, 120, Some(Preliminary)),
            (Verb::Stat, 211, Some(Final)),
            (Verb::Abor, 225, Some(Final)),
            (Verb::Rnto, 350, None),
            (Verb::parse(b"XYZZY").unwrap(), 350, Some(Final)),
            (Verb::parse(b"XYZZY").unwrap(), 150, Some(Preliminary)),
        ] {
            let code = ReplyCode::new(code).unwrap();
            let unexpected = UnexpectedReply { verb, code };
            assert_eq!(Exchange::new(verb).reply(code), want.ok_or(unexpected), "{verb} {code}");
        }
    }

    #[test]
    fn every_known_verb_has_one_row_with_codes_of_its_columns() {
        for verb in Verb::KNOWN {
            let rows = ROWS.iter().filter(|row| row.verbs.contains(verb)).count();
            assert_eq!(rows, 1, "{verb}");
        }
        for row in ROWS {
            for (codes, digits) in
                [(row.preliminary, &[1][..]), (row.completion, &[2]), (row.intermediate, &[3])]
            {
                assert!(codes.iter().all(|code| digits.contains(&(code / 100))), "{:?}", row.verbs);
            }
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
