//! Listings: `MLSD`, `LIST`, `NLST`, and whole trees.

use ftp_proto::{
    Command, EntryKind, FileRange, Pathname, ReplyCode, RepresentationType, Severity, Verb,
};

use super::Client;
use super::directories::{Inside, MlsdArgument, first_name};
use crate::charset::sent_in;
use crate::error::{Error, ListingCut, is_about_syntax, is_final_no};
use crate::listing::{Beginning, Entries, Lines, ListOptions, ListingForm, Walk};
use crate::trace;
use crate::transfer::{self, Begun, Transfer};

/// The number of lines up to which a listing is read ahead, to find out whether it is that of the
/// directory.
const SHORT: usize = 10_000;

impl Client {
    /// Lists a directory, or the current one if `directory` is empty.
    ///
    /// The client uses `MLSD` if the server lists `MLST`, and otherwise `LIST`, which may hide
    /// names that begin with a dot.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`list_with`](Self::list_with).
    pub fn list(&mut self, directory: impl AsRef<[u8]>) -> Result<Entries<'_>, Error> {
        self.list_with(directory, ListOptions::default())
    }

    /// Lists a directory as `options` say.
    ///
    /// `LIST` and `NLST` are sent without an argument, from inside the directory (`CWD`), since many
    /// servers misread an argument; so is `MLSD` if the path could be a pattern or options. The next
    /// command that is not a listing returns to the previous directory first. If the server reports no
    /// current directory (`PWD`), or if it lists `MLST` and the path has no blank or other special
    /// character, the path is sent as the argument.
    /// `LIST` of a file lists the file itself.
    ///
    /// If the server refuses `MLSD` or `NLST`, the client uses `LIST`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`retrieve`](Self::retrieve), and may return [`Error::ListingCut`] if
    /// a short listing is not proved complete. In other cases, that error is the last item of the
    /// iterator. If the server refuses to enter the directory, returns that refusal.
    pub fn list_with(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Entries<'_>, Error> {
        let directory = directory.as_ref();
        self.list_requested(ListRequest { directory, options, is_directory: false })
    }

    /// Lists a directory as `options` say; fails if the path turns out to be that of a file.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`list_with`](Self::list_with).
    pub fn list_directory(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Entries<'_>, Error> {
        let directory = directory.as_ref();
        self.list_requested(ListRequest { directory, options, is_directory: true })
    }

    fn list_requested(&mut self, request: ListRequest<'_>) -> Result<Entries<'_>, Error> {
        let ListRequest { directory, options, is_directory } = request;
        // An argument that cannot be sent must fail before anything is sent.
        self.with_flags(directory, options)?;
        if options.form == ListingForm::Auto || self.features.is_some() {
            self.agree_on_listings()?;
        }
        match options.form {
            ListingForm::Auto => {}
            ListingForm::Mlsd => {
                let begun = self.begin_mlsd(directory)?;
                return self.entries_of_mlsd(directory, begun);
            }
            ListingForm::Nlst => return self.list_names(request),
            ListingForm::List => return self.list_lines_of(request),
        }
        let request = request.by_list();
        match self.begin_mlsd_if_listed(directory, is_directory)? {
            Mlsd::Begun(begun) => self.entries_of_mlsd(directory, *begun),
            Mlsd::Unused => self.list_lines_of(request),
            // It may be a file.
            Mlsd::Refused(Error::Refused { verb: Verb::Cwd, .. }) if !is_directory => {
                self.list_lines_of(request)
            }
            Mlsd::Refused(refusal @ Error::Refused { verb: Verb::Cwd, .. }) => Err(refusal),
            Mlsd::Refused(refusal) => {
                // CWD settles the question whether the directory exists without a data connection.
                let goes_inside = is_directory || self.means_another(directory);
                let inside = match goes_inside && !directory.is_empty() {
                    true => self.go_inside(directory)?,
                    false => Inside::Fixed,
                };
                let is_inside = match inside {
                    Inside::Entered => true,
                    Inside::Refused(_) => return Err(refusal),
                    Inside::Fixed => false,
                };
                let listed = self.begin_with_flags(request, options.all && is_inside, is_inside);
                let beginning = or_refusal(listed, &refusal)?;
                if beginning.is_empty() {
                    // After a refused MLSD, an empty listing proves something only if CWD enters what
                    // MLSD called no directory (501).
                    let is_not_one = refusal
                        .reply()
                        .is_some_and(|reply| reply.code() == ReplyCode::BAD_ARGUMENT);
                    let is_proof = is_inside && is_not_one || refusal.says_no_files();
                    if !is_proof {
                        return Err(refusal);
                    }
                } else {
                    self.no_mlsd = true;
                }
                trace::note(format_args!("MLSD was refused: using LIST"));
                if is_inside {
                    return Ok(Entries::resume(self, beginning));
                }
                drop(beginning);
                self.settle()?;
                // The argument may have been misread.
                self.list_lines_of(request)
            }
        }
    }

    /// Returns the entries of a listing by `MLSD`. As long as it is unknown whether the server reads
    /// the argument, doubts a listing that shows the first name of the directory's own path: it may
    /// be that of the current directory.
    fn entries_of_mlsd(&mut self, directory: &[u8], begun: Begun) -> Result<Entries<'_>, Error> {
        let is_inside = self.lists_inside(directory);
        let is_unknown = self.mlsd_argument == MlsdArgument::Unknown && !is_inside;
        let absolute = self.absolute(directory);
        let lines = Lines::new(Transfer::new(self, begun), ListingForm::Mlsd, sent_as(directory));
        let lines = if is_inside { lines.compared() } else { lines };
        let paths = [sent_as(directory)].into_iter().chain(absolute).collect();
        let beginning = Entries::new(lines, paths);
        let own = first_name(directory).filter(|_| is_unknown);
        let beginning = beginning.begin_short(if own.is_some() { SHORT } else { 0 });
        let Some(own) = own else { return Ok(Entries::resume(self, beginning)) };
        if !beginning.is_whole() || beginning.is_empty() {
            return Ok(Entries::resume(self, beginning));
        }
        let itself = [directory, b"/", own].concat();
        if !beginning.may_have_directory(own) || self.stat(itself)?.is_some() {
            self.mlsd_argument = MlsdArgument::Taken;
            return Ok(Entries::resume(self, beginning));
        }
        trace::note(format_args!("MLSD may ignore its argument: listing from inside"));
        self.mlsd_argument = MlsdArgument::Ignored;
        if matches!(self.go_inside(directory)?, Inside::Entered) && self.is_still_home()? {
            return Err(Error::ListingCut(ListingCut::Elsewhere));
        }
        let begun = self.begin_mlsd(directory)?;
        self.entries_of_mlsd(directory, begun)
    }

    /// Returns whether `MLSD` of a directory is sent from inside: the server ignores the argument, or
    /// may list another directory for it.
    fn lists_inside(&self, directory: &[u8]) -> bool {
        let is_ignored = self.mlsd_argument == MlsdArgument::Ignored && !directory.is_empty();
        is_ignored || self.means_another(directory)
    }

    /// Begins `MLSD`, from inside the directory if its path cannot be the argument.
    fn begin_mlsd(&mut self, directory: &[u8]) -> Result<Begun, Error> {
        let options = ListOptions::by(ListingForm::Mlsd);
        if !self.lists_inside(directory) {
            return self.begin_listing(directory, options);
        }
        match self.go_inside(directory)? {
            Inside::Entered => self.stay_inside(|client| client.begin_listing(b"", options)),
            Inside::Refused(refusal) => Err(refusal),
            Inside::Fixed => Err(Error::ListingCut(ListingCut::Elsewhere)),
        }
    }

    fn list_lines_of(&mut self, request: ListRequest<'_>) -> Result<Entries<'_>, Error> {
        self.begin_lines(request).map(|beginning| Entries::resume(self, beginning))
    }

    /// Lists with `NLST`, or with `LIST` if the server refuses `NLST`.
    fn list_names(&mut self, request: ListRequest<'_>) -> Result<Entries<'_>, Error> {
        if self.no_nlst {
            return self.list_lines_of(request.by_list());
        }
        let beginning = match self.begin_lines(request) {
            Err(refusal @ Error::Refused { verb: Verb::Nlst, .. }) if is_no_names(&refusal) => {
                trace::note(format_args!("NLST was refused: using LIST"));
                let listed = or_refusal(self.begin_lines(request.by_list()), &refusal)?;
                // 550 can mean that this directory is empty.
                self.no_nlst |= refusal
                    .reply()
                    .is_some_and(|reply| reply.code() != ReplyCode::FILE_UNAVAILABLE);
                listed
            }
            beginning => beginning?,
        };
        Ok(Entries::resume(self, beginning))
    }

    /// Begins `LIST` or `NLST`, from inside the directory if the way back is known.
    fn begin_lines(&mut self, request: ListRequest<'_>) -> Result<Beginning, Error> {
        let ListRequest { directory, options, is_directory } = request;
        if directory.is_empty() {
            return self.begin_with_flags(request, options.all, false);
        }
        if self.takes_argument(directory, options) {
            let beginning = self.begin_with_flags(request, options.all, false)?;
            return self.doubt(request, beginning);
        }
        match self.go_inside(directory)? {
            Inside::Entered => self.begin_with_flags(request, options.all, true),
            Inside::Refused(refusal) if is_directory || options.form == ListingForm::Nlst => {
                Err(refusal)
            }
            Inside::Refused(refusal) => {
                // It may be a file. A server can also list something else, or nothing, for a
                // missing object.
                match self.begin_with_flags(request, options.all, false) {
                    Ok(beginning) if beginning.own_name().is_some_and(|own| !own.is_dir()) => {
                        Ok(beginning)
                    }
                    Ok(_) | Err(Error::Refused { .. } | Error::ListingCut(_)) => Err(refusal),
                    Err(error) => Err(error),
                }
            }
            Inside::Fixed => {
                let beginning = self.begin_with_flags(request, options.all, false)?;
                self.doubt(request, beginning)
            }
        }
    }

    /// Checks a listing that was requested with an argument, if it is empty or contains only the name
    /// of the directory itself.
    fn doubt(
        &mut self,
        request: ListRequest<'_>,
        beginning: Beginning,
    ) -> Result<Beginning, Error> {
        let ListRequest { directory, options, is_directory } = request;
        let own = beginning.own_name().map(|entry| entry.kind);
        let is_own_file = own == Some(Some(EntryKind::File)) && !is_directory;
        if is_own_file || (own.is_none() && !beginning.is_empty()) {
            return Ok(beginning);
        }
        // Some servers repeat any argument of NLST, also that of a missing object.
        let is_proof = options.form != ListingForm::Nlst;
        let may_be_file =
            !is_directory && own.is_some_and(|kind| kind != Some(EntryKind::Directory));
        match self.go_inside(directory)? {
            Inside::Entered => self.begin_with_flags(request, options.all, true),
            Inside::Refused(_) if may_be_file && is_proof => Ok(beginning),
            Inside::Refused(refusal) => Err(refusal),
            Inside::Fixed if own.is_none() => Ok(beginning),
            Inside::Fixed if may_be_file && (is_proof || self.is_known(directory)?) => {
                Ok(beginning)
            }
            Inside::Fixed => Err(Error::ListingCut(ListingCut::OwnName)),
        }
    }

    fn is_known(&mut self, path: &[u8]) -> Result<bool, Error> {
        Ok(self.size(path)?.is_some() || self.shows(path)?)
    }

    /// Returns whether servers can take the path of a directory for something else: a pattern, options, or
    /// the directory of a user. They can take the second byte of a character for a bracket.
    fn means_another(&self, directory: &[u8]) -> bool {
        let is_special = |byte: &u8| b"*?[]{}\\~".contains(byte);
        directory.first() == Some(&b'-')
            || sent_in(self.config.charset, directory)
                .map_or(true, |sent| sent.iter().any(is_special))
    }

    /// Returns whether a path can be the argument of `LIST` or `NLST`: the server has `MLSD`, so the
    /// listing is only a supplement, and nothing in the path has a special meaning.
    fn takes_argument(&self, directory: &[u8], options: ListOptions) -> bool {
        let has_mlsd = self.features.as_ref().is_some_and(|features| features.has("MLST"));
        let is_special = |byte: &u8| byte.is_ascii_whitespace() || b"'\"".contains(byte);
        // Pure-FTPd lists the current directory if a flag precedes a path.
        let has_flag = options.form == ListingForm::Nlst && options.all;
        let is_unclear = self.means_another(directory) || directory.iter().any(is_special);
        has_mlsd && !(self.no_mlsd || has_flag || is_unclear)
    }

    /// Begins `LIST` or `NLST` with the flag `-a` if `all` is set, or without it if the server does
    /// not know the flag.
    fn begin_with_flags(
        &mut self,
        request: ListRequest<'_>,
        all: bool,
        is_inside: bool,
    ) -> Result<Beginning, Error> {
        let ListRequest { directory, options, .. } = request;
        let mut all = all && !self.no_flags;
        let mut is_refused = false;
        loop {
            let options = ListOptions { all, ..options };
            let begun = match is_inside {
                true => self.stay_inside(|client| client.begin_listing(b"", options)),
                false => self.begin_listing(directory, options),
            };
            let sent = sent_as(directory);
            let beginning = begun.and_then(|begun| {
                let absolute = self.absolute(&sent);
                let lines = Lines::new(Transfer::new(self, begun), options.form, sent.clone());
                Entries::new(lines.compared(), [sent].into_iter().chain(absolute).collect()).begin()
            });
            match beginning {
                Err(error) if (is_inside || directory.is_empty()) && error.says_no_files() => {
                    return Ok(Beginning::of_nothing(options.form, sent_as(directory)));
                }
                // The server may take the flag for a name, and then report a missing file or list
                // nothing.
                Err(error) if all && is_no(&error) => is_refused = true,
                Ok(beginning) if all && beginning.is_empty() => {}
                Ok(beginning) => {
                    self.no_flags |= is_refused;
                    return Ok(beginning);
                }
                Err(error) => return Err(error),
            }
            all = false;
        }
    }

    /// Returns the raw lines of a listing.
    ///
    /// Use [`Facts::parse`](crate::Facts::parse) to read `MLSD` lines with facts that
    /// [`Entry`](crate::Entry) has no field for. Unlike [`list_with`](Self::list_with), this method
    /// does not list a directory again if it seems to contain only itself. It also does not repeat
    /// the command without `-a` if the server refuses that flag.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`list_with`](Self::list_with).
    pub fn list_lines(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Lines<'_>, Error> {
        let directory = directory.as_ref();
        // An argument that cannot be sent must fail before anything is sent.
        self.with_flags(directory, options)?;
        let (form, begun) = match options.form {
            ListingForm::Auto => match self.begin_mlsd_if_listed(directory, false)? {
                Mlsd::Begun(begun) => (ListingForm::Mlsd, Some(*begun)),
                Mlsd::Unused => (ListingForm::List, None),
                Mlsd::Refused(refusal) => return Err(refusal),
            },
            form => (form, None),
        };
        let options = ListOptions { form, ..options };
        let begun = match begun {
            Some(begun) => begun,
            None if form == ListingForm::Mlsd => self.begin_mlsd(directory)?,
            None if directory.is_empty() || self.takes_argument(directory, options) => {
                self.begin_listing(directory, options)?
            }
            None => match self.go_inside(directory)? {
                Inside::Entered => self.stay_inside(|client| client.begin_listing(b"", options))?,
                Inside::Refused(refusal) if form == ListingForm::Nlst => return Err(refusal),
                Inside::Refused(_) | Inside::Fixed => self.begin_listing(directory, options)?,
            },
        };
        Ok(Lines::new(Transfer::new(self, begun), form, sent_as(directory)))
    }

    /// Begins a listing of a form other than `Auto`.
    fn begin_listing(&mut self, directory: &[u8], options: ListOptions) -> Result<Begun, Error> {
        let command = match options.form {
            ListingForm::Nlst => Command::Nlst(self.with_flags(directory, options)?),
            ListingForm::Mlsd => Command::Mlsd(self.pathname_or_none(directory)?),
            _ => Command::List(self.with_flags(directory, options)?),
        };
        // MLSD is the same in every type, other listings are text (RFC 959 §4.1.3).
        let is_text = self.is_in_image() && options.form != ListingForm::Mlsd;
        let representation = is_text.then_some(RepresentationType::Ascii);
        match transfer::begin(self, &command, FileRange::default(), representation) {
            // A server that knows only type image lists in it.
            Err(Error::Refused { verb: Verb::Type, reply })
                if reply.code().severity() == Severity::Permanent =>
            {
                transfer::begin(self, &command, FileRange::default(), None)
            }
            begun => begun,
        }
    }

    /// Walks a directory tree, starting at `directory`. If `directory` is empty, starts at the
    /// current directory.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// use ftp_client::listing::Walked;
    ///
    /// for item in client.walk("pub") {
    ///     match item? {
    ///         Walked::Entry { path, .. } => println!("{}", String::from_utf8_lossy(&path)),
    ///         Walked::Skipped { directory, why, .. } => {
    ///             println!("{}: {why}", String::from_utf8_lossy(&directory));
    ///         }
    ///     }
    /// }
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    pub fn walk(&mut self, directory: impl AsRef<[u8]>) -> Walk<'_> {
        Walk::new(self, directory.as_ref())
    }

    /// Begins `MLSD` if the server lists `MLST`. If the server does not know `MLSD` after all, the
    /// client does not send it again in this session. A path that is not a directory is left to
    /// `LIST`, which lists files too (RFC 3659 §7.2.1 demands 501 for such a path), unless the caller
    /// wants only a directory.
    fn begin_mlsd_if_listed(
        &mut self,
        directory: &[u8],
        is_directory: bool,
    ) -> Result<Mlsd, Error> {
        if self.no_mlsd || !self.features()?.has("MLST") {
            return Ok(Mlsd::Unused);
        }
        match self.begin_mlsd(directory) {
            Ok(begun) => Ok(Mlsd::Begun(Box::new(begun))),
            // A refused `CWD` says nothing about `MLSD`.
            Err(error @ Error::Refused { verb: Verb::Cwd, .. }) => Ok(Mlsd::Refused(error)),
            Err(Error::Refused { verb, reply }) => match reply.code() {
                ReplyCode::FILE_UNAVAILABLE => Ok(Mlsd::Refused(Error::Refused { verb, reply })),
                ReplyCode::BAD_ARGUMENT if is_directory => {
                    Ok(Mlsd::Refused(Error::Refused { verb, reply }))
                }
                code if is_about_syntax(&reply) => {
                    self.no_mlsd = code != ReplyCode::BAD_ARGUMENT;
                    trace::note(format_args!("MLSD was refused: using LIST"));
                    Ok(Mlsd::Unused)
                }
                _ => Err(Error::Refused { verb, reply }),
            },
            Err(error) => Err(error),
        }
    }

    /// Returns the argument of `LIST` or `NLST`.
    fn with_flags(
        &mut self,
        directory: &[u8],
        options: ListOptions,
    ) -> Result<Option<Pathname>, Error> {
        let directory = sent_as(directory);
        match (options.all, directory.as_slice()) {
            (false, directory) => self.pathname_or_none(directory),
            (true, b"") => self.pathname_or_none(b"-a"),
            (true, directory) => self.pathname_or_none(&[b"-a ", directory].concat()),
        }
    }
}

#[derive(Clone, Copy)]
struct ListRequest<'d> {
    directory: &'d [u8],
    options: ListOptions,
    /// Whether the path must not be that of a file.
    is_directory: bool,
}

impl ListRequest<'_> {
    fn by_list(self) -> Self {
        Self { options: ListOptions { form: ListingForm::List, ..self.options }, ..self }
    }
}

enum Mlsd {
    Begun(Box<Begun>),
    /// `LIST` must be used.
    Unused,
    /// 550 or 501: the directory is missing, or the server refuses `MLSD` for another reason.
    Refused(Error),
}

/// Returns a listing, or the earlier refusal if this listing was refused too.
fn or_refusal<T>(listed: Result<T, Error>, refusal: &Error) -> Result<T, Error> {
    match listed {
        Err(Error::Refused { .. }) => Err(refusal.clone()),
        listed => listed,
    }
}

/// Returns whether a refusal of `NLST` can mean that the server wants another command, or that the
/// directory is empty.
fn is_no_names(refusal: &Error) -> bool {
    refusal
        .reply()
        .is_some_and(|reply| is_about_syntax(reply) || reply.code() == ReplyCode::FILE_UNAVAILABLE)
}

/// Returns whether the server permanently refuses the listing.
fn is_no(error: &Error) -> bool {
    matches!(error, Error::Refused { verb: Verb::List | Verb::Nlst, reply } if is_final_no(reply))
}

/// Returns the name of a directory for `LIST` and `NLST`. Servers take a name with a leading `-`
/// for options.
fn sent_as(directory: &[u8]) -> Vec<u8> {
    match directory {
        [b'-' | b'~', ..] => [b"./", directory].concat(),
        _ => directory.to_vec(),
    }
}
