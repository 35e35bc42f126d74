//! Whether a server proves that there is an object of a name, or that there is none.

use ftp_proto::{Command, ListLine, Pathname, ReplyCode, RepresentationType, Severity, Verb};

use super::Client;
use crate::control::{is_dated, mdtm};
use crate::error::{Error, Unsupported, is_final_no};
use crate::listing::ListOptions;

/// A question about one name, and whether it also tells of directories. `FEAT` lists its verb.
type NameQuestion = (Verb, fn(Pathname) -> Command, bool);

const QUESTIONS: [NameQuestion; 3] = [
    (Verb::Mlst, |path| Command::Mlst(Some(path)), true),
    (Verb::Mdtm, mdtm, false),
    (Verb::Size, Command::Size, false),
];

/// The only reply to an offered question that proves that nothing has the name. Other refusals can be
/// about the command or the session.
pub(super) const MISSING: ReplyCode = ReplyCode::FILE_UNAVAILABLE;

/// Whether an object is at a path, as far as the server shows it. There will be no other answer: a
/// caller must distinguish all three.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Existence {
    /// The server shows the object.
    Present,
    /// The server shows that there is none.
    Absent,
    /// Neither is proved: for example, the directory cannot be listed.
    Unknown,
}

impl Client {
    /// Finds out whether an object is at `path`: `MDTM` or `MLST` shows it, else a complete listing
    /// of its directory does, or proves its absence.
    ///
    /// Unlike in [`find`](Self::find), a size is not proof: a server that keeps an interrupted upload
    /// under a hidden name may report the size of that upload, so that the client can resume. If the
    /// listing may hide the name, because of a leading dot, the object is absent only if `FEAT` lists
    /// `MLST` or `MDTM`, and the server refuses it (550).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] for a 4xx or 530 reply, and [`Error::Argument`] if `path` cannot
    /// be sent.
    pub fn existence(&mut self, path: impl AsRef<[u8]>) -> Result<Existence, Error> {
        let path = path.as_ref();
        match self.shows(path)? {
            true => Ok(Existence::Present),
            false => self.listed(path, |_, _| false),
        }
    }

    /// As [`existence`](Self::existence), after the questions for this name. An object that is listed
    /// under a name that `may_be` this one makes it unknown whether this one is there.
    fn listed(
        &mut self,
        path: &[u8],
        may_be: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<Existence, Error> {
        let (directory, name) = Pathname::split(path);
        let options = ListOptions { all: true, ..ListOptions::default() };
        // No name is kept: the directory can be larger than the memory.
        let listed = self.list_directory(directory, options).and_then(|mut entries| {
            let (mut is_listed, mut is_whole) = (false, true);
            for listed in &mut entries {
                match listed? {
                    ListLine::Entry(entry) if entry.name == name => is_listed = true,
                    ListLine::Entry(entry) => is_whole &= !may_be(name, &entry.name),
                    ListLine::Unparsed(_) => is_whole = false,
                }
            }
            let hides = name.first() == Some(&b'.') && !entries.shows_hidden();
            Ok((is_listed, is_whole, hides))
        });
        let is_absent = match listed {
            Ok((true, ..)) => return Ok(Existence::Present),
            Ok((false, true, true)) => self.denies(path)? == Some(true),
            Ok((false, is_whole, _)) => is_whole,
            Err(Error::ListingCut(_)) => false,
            Err(Error::Refused { reply, .. }) if is_final_no(&reply) => false,
            Err(error) => return Err(error),
        };
        Ok(if is_absent { Existence::Absent } else { Existence::Unknown })
    }

    /// Returns whether an object is at `path`, for a caller that would replace it. Its absence is proved by
    /// a 550 to an offered `MLST`, if the directory above may be asked for, or by a complete listing in which
    /// no name is equal but for case, Unicode form, blanks and dots; never by another refusal: vsftpd refuses `MDTM` and `SIZE` for a file that it replaces, if anonymous users
    /// must not read it, and pyftpdlib refuses all questions to a user who may only upload.
    ///
    /// # Errors
    ///
    /// Returns [`Unsupported::NoExistence`] if neither is proved, and the errors of
    /// [`existence`](Self::existence).
    pub(crate) fn is_taken(&mut self, path: &[u8]) -> Result<bool, Error> {
        Ok(self.modified(path)?.is_some() || self.is_taken_without_time(path)?)
    }

    /// As [`is_taken`](Self::is_taken), of an object of which `MDTM` tells nothing.
    pub(crate) fn is_taken_without_time(&mut self, path: &[u8]) -> Result<bool, Error> {
        let is_offered = self.features()?.has("MLST");
        if is_offered || self.tells_no_features() {
            let name = Command::Mlst(Some(self.pathname(path)?));
            self.settle()?;
            match self.request(&name)?.code() {
                MISSING if is_offered && self.tells_of(Pathname::split(path).0)? => {
                    return Ok(false);
                }
                code if code.severity() == Severity::Completion => return Ok(true),
                _ => {}
            }
        }
        let above = Pathname::split(path).0;
        // Without a question for the name, a listing cannot tell whether the server folds names.
        let may_be_one = |name: &[u8], listed: &[u8]| {
            let is_short = |pair: &[u8]| matches!(pair, [b'~', b'0'..=b'9']);
            Self::name_key(name) == Self::name_key(listed) || name.windows(2).any(is_short)
        };
        match self.listed(path, may_be_one)? {
            Existence::Present => Ok(true),
            Existence::Absent => Ok(false),
            // The directory may still have to be made.
            Existence::Unknown if !above.is_empty() && above != b"/" && self.lacks(above)? => {
                Ok(false)
            }
            Existence::Unknown => Err(Error::Unsupported(Unsupported::NoExistence)),
        }
    }

    /// Returns whether `MLST` answers for this directory or, if it is missing, for one above: a user who may
    /// not ask gets 550 for each.
    fn tells_of(&mut self, mut directory: &[u8]) -> Result<bool, Error> {
        loop {
            let command = Command::Mlst(self.pathname_or_none(directory)?);
            match self.request(&command)?.code() {
                code if code.severity() == Severity::Completion => return Ok(true),
                MISSING if !matches!(directory, b"" | b"/") => {
                    directory = Pathname::split(directory).0;
                }
                _ => return Ok(false),
            }
        }
    }

    /// Returns whether nothing is at `path`: a complete listing lacks it, and the server does not enter it.
    /// If the directory of `path` cannot be listed, the same must hold for that directory.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`existence`](Self::existence).
    pub fn lacks(&mut self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        let mut path = path.as_ref();
        loop {
            match self.existence(path)? {
                Existence::Present => return Ok(false),
                Existence::Absent => return Ok(!self.enters(path)?),
                Existence::Unknown => match Pathname::split(path).0 {
                    b"" | b"/" => return Ok(false),
                    above => path = above,
                },
            }
        }
    }

    /// Returns whether `MDTM` or `MLST` proves that an object is at `path`. `false` proves nothing.
    pub(crate) fn shows(&mut self, path: &[u8]) -> Result<bool, Error> {
        Ok(self.modified(path)?.is_some() || self.stat(path)?.is_some())
    }

    /// Returns whether the server proves that nothing is at `path`: it answers `MLST` with 550, or
    /// `MDTM` with 550 and refuses `CWD`. Returns `None` if `FEAT` lists neither `MLST` nor `MDTM`;
    /// without `FEAT`, tries `MLST`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`existence`](Self::existence).
    pub(crate) fn denies(&mut self, path: &[u8]) -> Result<Option<bool>, Error> {
        let mlst = Command::Mlst(self.pathname_or_none(path)?);
        let mut denies = None;
        for question in [mlst, mdtm(self.pathname(path)?)] {
            let is_mlst = question.verb() == Verb::Mlst;
            let is_listed = self.features()?.has(question.verb().as_str());
            // A server without `FEAT` may have `MLST`, such as aioftp.
            if !(is_listed || is_mlst && self.tells_no_features())
                || !is_mlst && !self.can_ask_for_time(path)
            {
                continue;
            }
            let code = self.request(&question)?.code();
            if is_mlst && code.severity() == Severity::Completion {
                self.note_mlst();
            }
            if is_listed || code.severity() != Severity::Permanent {
                denies = Some(false);
            }
            match code {
                MISSING if is_mlst => return Ok(Some(true)),
                // `MDTM` of a directory is refused too.
                MISSING => return Ok(Some(!self.enters(path)?)),
                code if code.severity() == Severity::Permanent => {}
                _ => break,
            }
        }
        Ok(denies)
    }

    /// Returns whether a refusal of `MDTM` tells something of the file: not if the server may take only
    /// names, and the question needs `./`.
    fn can_ask_for_time(&self, path: &[u8]) -> bool {
        !is_dated(path) || !self.promises_no_paths()
    }

    /// Returns whether the server offers a question that proves a single file missing.
    ///
    /// # Errors
    ///
    /// Returns errors of the connection.
    pub(crate) fn tells_absence(&mut self) -> Result<bool, Error> {
        let features = self.features()?;
        Ok(QUESTIONS.iter().any(|(verb, ..)| features.has(verb.as_str())))
    }

    /// Returns for each path whether an object has it. Proof that none has it is a 550 to a question
    /// that the server offers, or that it does not enter the directory. `paths` has each path with
    /// whether it is that of a file.
    ///
    /// # Errors
    ///
    /// Returns errors of the connection.
    pub(crate) fn existences(
        &mut self,
        paths: &[(Vec<u8>, bool)],
    ) -> Result<Vec<Existence>, Error> {
        let features = self.features()?;
        // `None` if the path is still to be asked for. A 4yz is an answer: the object may be there,
        // whatever the server says to another question.
        let mut told: Vec<Option<Existence>> = vec![None; paths.len()];
        for (verb, question, of_all) in QUESTIONS {
            if !features.has(verb.as_str()) {
                continue;
            }
            let both = paths.iter().zip(&told).enumerate();
            let open = both
                .filter(|(_, ((_, is_file), told))| told.is_none() && (of_all || *is_file))
                .filter(|(_, ((path, _), _))| verb != Verb::Mdtm || self.can_ask_for_time(path))
                .map(|(at, ((path, _), _))| (at, path.clone()));
            let (places, asked): (Vec<_>, Vec<_>) = open.unzip();
            if verb == Verb::Size && !asked.is_empty() {
                self.put_in_force(RepresentationType::Image)?;
            }
            for (at, code) in places.into_iter().zip(self.codes_of(&asked, question)?) {
                let answer = code.and_then(|code| match code.severity() {
                    _ if code == MISSING => Some(Existence::Absent),
                    Severity::Completion => Some(Existence::Present),
                    Severity::Transient => Some(Existence::Unknown),
                    _ => None,
                });
                if let Some(told) = told.get_mut(at) {
                    *told = answer;
                }
            }
        }
        for ((path, is_file), told) in paths.iter().zip(&mut told) {
            if told.is_none() && !is_file {
                *told = match self.visits(path) {
                    // A name that cannot be sent tells nothing of the others.
                    Err(Error::Argument(_)) => None,
                    entered => entered?.map(|is_entered| match is_entered {
                        true => Existence::Present,
                        false => Existence::Absent,
                    }),
                };
            }
        }
        Ok(told.into_iter().map(|told| told.unwrap_or(Existence::Unknown)).collect())
    }
}
