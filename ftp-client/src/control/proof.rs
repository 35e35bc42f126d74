//! Whether replies are in step with commands.
//!
//! A reply does not name its command, so the client counts: one final reply per command (RFC 959
//! §5.4). A server that sends one reply too many shifts every later reply by one, and the success of
//! one command then passes for that of another.
//!
//! Some codes can only answer their own command. Such a reply proves that the count is right. All
//! other codes can answer any command, so after a transfer, or after an extra reply, they prove
//! nothing until such a reply has been read.

use std::time::{Duration, Instant};

use ftp_proto::{ReplyCode, Severity, Verb, is_listed};

/// The longest time to wait for the extra reply of a server that sends one after each transfer.
pub(super) const LAG: Duration = Duration::from_millis(250);

/// The codes that can only answer one of these commands.
const OWN: &[(u16, &[Verb])] = &[
    (211, &[Verb::Feat, Verb::Stat, Verb::Help, Verb::Site]),
    (
        213,
        &[
            Verb::Size,
            Verb::Mdtm,
            Verb::Mfmt,
            Verb::Mfct,
            Verb::Mff,
            Verb::Avbl,
            Verb::Dsiz,
            Verb::Hash,
            Verb::Xcrc,
            Verb::Xmd5,
            Verb::Xsha,
            Verb::Xsha1,
            Verb::Xsha256,
            Verb::Xsha512,
            Verb::Stat,
        ],
    ),
    (215, &[Verb::Syst]),
    (221, &[Verb::Quit]),
    (227, &[Verb::Pasv, Verb::Cpsv]),
    (229, &[Verb::Epsv, Verb::Cpsv]),
    (257, &[Verb::Pwd, Verb::Mkd]),
    (350, &[Verb::Rest, Verb::Rang, Verb::Rnfr, Verb::Site]),
];

/// Commands that succeed only with a code of [`OWN`]: no other 2xx can be their answer.
const QUESTIONS: &[Verb] = &[
    Verb::Epsv,
    Verb::Feat,
    Verb::Hash,
    Verb::Mdtm,
    Verb::Pasv,
    Verb::Pwd,
    Verb::Quit,
    Verb::Rang,
    Verb::Rest,
    Verb::Rnfr,
    Verb::Size,
    Verb::Syst,
];

/// Commands that change only the directory to which later names are relative.
const MOVES: &[Verb] = &[Verb::Cdup, Verb::Cwd, Verb::Smnt];

/// Commands that change something, but can be sent while replies may be out of step.
const PROVED_OTHERWISE: &[Verb] = &[
    // Its 257 can only be the answer of its own; `RNTO` follows the 350 of `RNFR`.
    Verb::Mkd,
    Verb::Rnto,
    // The verdict of the transfer says what was stored.
    Verb::Appe,
    Verb::Stor,
    Verb::Stou,
    // If they fail unnoticed, a time or a fact is wrong, but no byte is lost.
    Verb::Mfct,
    Verb::Mff,
    Verb::Mfmt,
];

/// Commands that remove something and succeed with a code that can answer any command. Some servers
/// answer each of them twice, which one proof after the first of them shows.
const REMOVALS: &[Verb] = &[Verb::Dele, Verb::Rmd, Verb::Rmda];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplyMeaning {
    /// The answer, as far as the code shows.
    Answer,
    /// The extra reply of the last transfer, or a banner after the login. The answer follows.
    Late,
    /// The answer to another command: replies are out of step.
    Foreign,
}

/// An extra reply that may still arrive, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Late {
    /// A second 2xx after the 2xx that ended a transfer.
    Transfer(Instant),
    /// A second 2xx after the 2xx that answered `CWD`, before another answer.
    Directory,
    /// A 220 or 230 after the reply that ended the login.
    Banner,
    /// The 257 to a `PWD` that the server has not answered in time. It must come before the next answer.
    Proof,
}

/// Whether the server answers a removal once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Removals {
    #[default]
    None,
    /// One was answered, and a second answer may follow.
    Answered,
    /// A code of [`OWN`] came after the answer.
    Proved,
}

#[derive(Debug, Default)]
pub(super) struct ProofStep {
    late: Option<Late>,
    /// Whether a transfer or an extra reply came after the last code of [`OWN`].
    is_in_doubt: bool,
    /// Whether the last final reply had a code of [`OWN`].
    is_proved: bool,
    /// Whether the server has sent an extra reply after a transfer.
    lags: bool,
    removals: Removals,
    upload: Option<Verb>,
    /// The last command that was answered.
    last: Option<Verb>,
    /// The 4yz that refused it, if it was a transfer. Some servers send that twice.
    refusal: Option<ReplyCode>,
    /// Whether a raw command was sent. A new connection would lose what it has set.
    has_quoted: bool,
}

impl ProofStep {
    /// Takes a final reply. `has_begun` tells whether a 1xx to this command came before.
    pub(super) fn read(&mut self, verb: Verb, code: ReplyCode, has_begun: bool) -> ReplyMeaning {
        let reading = self.reading(verb, code, has_begun);
        match reading {
            ReplyMeaning::Answer => {
                self.last = Some(verb);
                let is_refusal = verb.uses_data() && code.severity() == Severity::Transient;
                self.refusal = Some(code).filter(|_| is_refusal && !has_begun);
                self.is_proved = is_own(verb, code);
                self.late = match self.late {
                    Some(Late::Banner) if !is_login(verb) => None,
                    Some(Late::Proof | Late::Directory) => None,
                    late => late,
                };
                if self.is_proved {
                    (self.late, self.is_in_doubt, self.upload) = (None, false, None);
                    self.settle_removals();
                } else if verb == Verb::Cwd && code.severity() == Severity::Completion {
                    self.late = Some(Late::Directory);
                } else if self.removals == Removals::None && REMOVALS.contains(&verb) {
                    self.removals = Removals::Answered;
                }
            }
            ReplyMeaning::Late => self.note_late(),
            ReplyMeaning::Foreign => {}
        }
        reading
    }

    fn reading(&self, verb: Verb, code: ReplyCode, has_begun: bool) -> ReplyMeaning {
        if self.awaits_proof() && code == ReplyCode::PATHNAME && !answers_proof(verb) {
            return ReplyMeaning::Late;
        }
        // Any code may answer an unknown command. Once a transfer has begun, its verdict judges the
        // reply.
        if matches!(verb, Verb::Other(_)) || verb.uses_data() && has_begun {
            return ReplyMeaning::Answer;
        }
        // Some servers without features answer FEAT with 221, 331, 332 or 350.
        let is_strange = code.severity() == Severity::Intermediate || code.value() == 221;
        if verb == Verb::Feat && is_strange && !self.is_in_doubt {
            return ReplyMeaning::Answer;
        }
        // Some servers answer EPSV like PASV, or PASV like EPSV.
        let twin = match (verb, code.value()) {
            (Verb::Epsv, 227) => Some(Verb::Pasv),
            (Verb::Pasv, 229) => Some(Verb::Epsv),
            _ => None,
        };
        if twin.is_some() && (twin != self.last || !self.is_in_doubt) {
            return ReplyMeaning::Answer;
        }
        if owners(code).is_some() {
            return if is_own(verb, code) { ReplyMeaning::Answer } else { ReplyMeaning::Foreign };
        }
        if self.refusal == Some(code) {
            match verb {
                Verb::Epsv | Verb::Pasv => return ReplyMeaning::Foreign,
                Verb::Quit => return ReplyMeaning::Late,
                _ => {}
            }
        }
        if verb.uses_data() || is_listed(verb, code) {
            return ReplyMeaning::Answer;
        }
        let is_question = QUESTIONS.contains(&verb);
        match self.late {
            Some(Late::Banner) if is_banner(code) => ReplyMeaning::Late,
            // A 250 may be the answer of a server that is careless with codes.
            Some(Late::Directory) if is_question && ends_transfer(code) => ReplyMeaning::Late,
            Some(Late::Transfer(_))
                if code == ReplyCode::TRANSFER_COMPLETE || is_question && ends_transfer(code) =>
            {
                ReplyMeaning::Late
            }
            _ if is_question && self.is_in_doubt && ends_transfer(code) => ReplyMeaning::Foreign,
            _ => ReplyMeaning::Answer,
        }
    }

    /// Takes a reply that arrived while no command was outstanding. Returns whether it is the extra
    /// reply that may arrive.
    pub(super) fn read_idle(&mut self, code: ReplyCode) -> bool {
        let is_late = match self.late {
            Some(Late::Banner) => is_banner(code),
            Some(Late::Proof) => code == ReplyCode::PATHNAME,
            Some(Late::Transfer(_) | Late::Directory) => {
                code.severity() == Severity::Completion && owners(code).is_none()
            }
            None => self.refusal == Some(code),
        };
        if is_late {
            self.note_late();
        }
        is_late
    }

    fn note_late(&mut self) {
        self.refusal = None;
        self.lags |= matches!(self.late, Some(Late::Transfer(_)));
        if self.late.take() == Some(Late::Proof) {
            // With this reply, the count is right again.
            return;
        }
        self.is_in_doubt = true;
        self.is_proved = false;
    }

    /// Records that the 257 to a `PWD` may still come before the next answer.
    pub(super) const fn drop_proof(&mut self) {
        self.late = Some(Late::Proof);
    }

    /// Returns whether the 257 of such a `PWD` may still come.
    pub(super) const fn awaits_proof(&self) -> bool {
        matches!(self.late, Some(Late::Proof))
    }

    pub(super) fn end_transfer(&mut self, verb: Verb, code: ReplyCode) {
        let is_done = code.severity() == Severity::Completion;
        self.late = is_done.then(|| Late::Transfer(Instant::now()));
        self.upload = Some(verb).filter(|verb| is_done && verb.is_upload());
        self.last = Some(verb);
        self.is_in_doubt = true;
        self.is_proved = false;
    }

    /// Records that a transfer was aborted, and that its replies were counted.
    pub(super) fn abort_transfer(&mut self) {
        (self.late, self.upload) = (None, None);
        self.is_in_doubt = true;
        self.is_proved = false;
    }

    /// Records that replies are in step, although no code has proved it.
    pub(super) const fn trust(&mut self) {
        (self.late, self.upload) = (None, None);
        self.is_in_doubt = false;
        self.settle_removals();
    }

    const fn settle_removals(&mut self) {
        if matches!(self.removals, Removals::Answered) {
            self.removals = Removals::Proved;
        }
    }

    /// Puts replies in doubt if a removal was answered, and nothing proves that it was answered
    /// once.
    pub(super) fn doubt_removals(&mut self) {
        self.is_in_doubt |= self.removals == Removals::Answered;
    }

    pub(super) const fn log_in(&mut self) {
        self.late = Some(Late::Banner);
    }

    pub(super) const fn quote(&mut self) {
        self.has_quoted = true;
    }

    /// Returns whether a common code proves nothing now.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Returns whether the last final reply can only have answered its own command.
    pub(super) const fn is_proved(&self) -> bool {
        self.is_proved
    }

    /// Returns whether the extra reply of a transfer may still arrive, or another one would put an
    /// upload in question.
    pub(super) const fn may_lag(&self) -> bool {
        !matches!(self.late, None | Some(Late::Banner)) || self.upload.is_some()
    }

    /// Returns when to stop waiting for the extra reply of a server that always sends one.
    pub(super) fn lag_ends(&self) -> Option<Instant> {
        match self.late {
            Some(Late::Transfer(ended)) if self.lags => Some(ended + LAG),
            _ => None,
        }
    }

    /// Returns the command that a misplaced reply puts in question: an upload, or a command that
    /// may have been carried out. `outstanding` is the command that was not answered. Returns
    /// `None` if nothing is lost by repeating the outstanding command over a new connection.
    pub(super) fn in_question(&self, outstanding: Option<Verb>) -> Option<Verb> {
        let changed = outstanding.filter(|verb| changes(*verb) || *verb == Verb::Quit);
        let quoted = outstanding.or(self.last).filter(|_| self.has_quoted);
        self.upload.or(changed).or(quoted)
    }
}

/// Returns the only commands that a code can answer; `None` if it can answer any.
fn owners(code: ReplyCode) -> Option<&'static [Verb]> {
    OWN.iter().find(|(own, _)| *own == code.value()).map(|(_, verbs)| *verbs)
}

/// Returns whether `code` can only answer commands such as `verb`.
fn is_own(verb: Verb, code: ReplyCode) -> bool {
    owners(code).is_some_and(|verbs| verbs.contains(&verb))
}

/// Returns whether a final reply can be the answer to a command of a flight, in which every reply
/// must be in its place: a success has the code of its command.
pub(crate) fn is_in_place(verb: Verb, code: ReplyCode) -> bool {
    code.severity() != Severity::Completion || is_own(verb, code) || !QUESTIONS.contains(&verb)
}

/// Returns whether a late 257 could pass for the answer to a command.
pub(super) const fn answers_proof(verb: Verb) -> bool {
    matches!(verb, Verb::Pwd | Verb::Mkd)
}

/// Returns whether replies must be in step before a command is sent: it acts on a name or a directory,
/// and its success has a code that can answer any command.
pub(super) fn needs_proof(verb: Verb) -> bool {
    !verb.keeps_objects() && !PROVED_OTHERWISE.contains(&verb)
}

/// Returns whether a command changes something on the server that outlasts the session.
fn changes(verb: Verb) -> bool {
    !verb.keeps_objects() && !MOVES.contains(&verb)
}

/// Returns whether a transfer that succeeds ends with this code.
pub(crate) const fn ends_transfer(code: ReplyCode) -> bool {
    matches!(code, ReplyCode::TRANSFER_COMPLETE | ReplyCode::FILE_ACTION_OKAY)
}

const fn is_login(verb: Verb) -> bool {
    matches!(verb, Verb::User | Verb::Pass | Verb::Acct)
}

pub(super) fn is_banner(code: ReplyCode) -> bool {
    matches!(code.value(), 220 | 230)
}

#[cfg(test)]
mod tests;
