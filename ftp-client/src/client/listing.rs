//! Listings: `MLSD`, `LIST`, `NLST`, and whole trees.

use ftp_proto::{Command, EntryKind, FileRange, Pathname, ReplyCode, Severity, Verb};

use super::{Client, is_unknown};
use crate::error::{Error, ListingCut};
use crate::listing::WalkOptions;
use crate::listing::{Beginning, Entries, Lines, ListLimits, ListOptions, ListingForm, Walk};
use crate::trace;
use crate::transfer::{self, Begun, Transfer};

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
    /// For a file, `LIST` and `NLST` usually list the file itself. Some servers list an unreadable
    /// directory as if it contained only itself. If a listing looks like that, the client enters
    /// the directory (`CWD`), lists it from within, and changes back.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`retrieve`](Self::retrieve), and may return [`Error::ListingCut`] if
    /// a short listing is not proved complete. In other cases, that error is the last item of the
    /// iterator.
    pub fn list_with(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Entries<'_>, Error> {
        self.list_what_is(directory.as_ref(), options, false)
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
        self.list_what_is(directory.as_ref(), options, true)
    }

    fn list_what_is(
        &mut self,
        directory: &[u8],
        options: ListOptions,
        is_directory: bool,
    ) -> Result<Entries<'_>, Error> {
        // An argument that cannot be sent must fail before anything is sent.
        self.with_flags(directory, options)?;
        let (form, begun) = match options.form {
            ListingForm::Auto => match self.begin_mlsd_if_listed(directory)? {
                Some(begun) => (ListingForm::Mlsd, Some(begun)),
                None => (ListingForm::List, None),
            },
            form => (form, None),
        };
        let options = ListOptions { form, ..options };
        if form == ListingForm::Mlsd || (directory.is_empty() && !options.all) {
            let begun = match begun {
                Some(begun) => begun,
                None => self.begin_listing(directory, options)?,
            };
            let sent = sent_as(directory);
            let lines = Lines::new(Transfer::new(self, begun), form, sent.clone());
            return Ok(Entries::new(lines, sent));
        }
        if form == ListingForm::Nlst && options.all && !directory.is_empty() {
            // Pure-FTPd lists the current directory if a flag precedes a path.
            match self.list_within(directory, options)? {
                Within::Listed(within) => return Ok(Entries::resume(self, *within)),
                Within::Refused(Some(error)) if is_directory => return Err(error),
                Within::Refused(_) => {}
            }
        }
        let mut beginning = self.begin_with_flags(directory, options)?;
        if let Some(kind) = beginning.own_name().map(|entry| entry.kind)
            && (is_directory || kind != Some(EntryKind::File))
        {
            let may_be_file = !is_directory && kind != Some(EntryKind::Directory);
            match self.list_within(directory, options)? {
                Within::Listed(within) => beginning = *within,
                Within::Refused(_) if may_be_file => {}
                Within::Refused(Some(error)) => return Err(error),
                Within::Refused(None) => return Err(Error::ListingCut(ListingCut::OwnName)),
            }
        }
        Ok(Entries::resume(self, beginning))
    }

    /// Begins `LIST` or `NLST` with the requested flag, or without it if the server does not know
    /// the flag.
    fn begin_with_flags(
        &mut self,
        directory: &[u8],
        options: ListOptions,
    ) -> Result<Beginning, Error> {
        let sent = sent_as(directory);
        let mut all = options.all && !self.no_flags;
        let mut is_refused = false;
        loop {
            let begun = self.begin_listing(directory, ListOptions { all, ..options });
            let beginning = begun.and_then(|begun| {
                let lines = Lines::new(Transfer::new(self, begun), options.form, sent.clone());
                Entries::new(lines, sent.clone()).begin()
            });
            match beginning {
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

    /// Lists a directory from inside it, and returns to the previous directory.
    fn list_within(&mut self, directory: &[u8], options: ListOptions) -> Result<Within, Error> {
        let moved = self.moved;
        let here = match self.pwd() {
            Err(Error::Refused(..)) => return Ok(Within::Refused(None)),
            here => here?,
        };
        match self.cwd(directory) {
            Err(error @ Error::Refused(..)) => return Ok(Within::Refused(Some(error))),
            entered => entered?,
        }
        let listed = self.list_what_is(b"", options, true);
        let listed = listed.and_then(|entries| entries.read_ahead(ListLimits::default()));
        if let Err(error) = self.go_back(&here) {
            // Returning failed, so relative paths would have a different meaning from now on.
            self.control.close();
            return Err(error);
        }
        self.moved = moved;
        listed.map(|listed| Within::Listed(Box::new(listed)))
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
    /// Returns the errors of [`retrieve`](Self::retrieve).
    pub fn list_lines(
        &mut self,
        directory: impl AsRef<[u8]>,
        options: ListOptions,
    ) -> Result<Lines<'_>, Error> {
        let directory = directory.as_ref();
        // An argument that cannot be sent must fail before anything is sent.
        self.with_flags(directory, options)?;
        let (form, begun) = match options.form {
            ListingForm::Auto => match self.begin_mlsd_if_listed(directory)? {
                Some(begun) => (ListingForm::Mlsd, Some(begun)),
                None => (ListingForm::List, None),
            },
            form => (form, None),
        };
        let begun = match begun {
            Some(begun) => begun,
            None => self.begin_listing(directory, ListOptions { form, ..options })?,
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
        transfer::begin(self, &command, FileRange::default(), None)
    }

    /// Walks a directory tree, starting at `directory`. If `directory` is empty, starts at the
    /// current directory.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// use ftp_client::{Walked, WalkOptions};
    ///
    /// for item in client.walk("pub", WalkOptions::default()) {
    ///     match item? {
    ///         Walked::Entry { path, .. } => println!("{}", String::from_utf8_lossy(&path)),
    ///         Walked::Skipped { directory, why } => {
    ///             println!("{}: {why}", String::from_utf8_lossy(&directory));
    ///         }
    ///     }
    /// }
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    pub fn walk(&mut self, directory: impl AsRef<[u8]>, options: WalkOptions) -> Walk<'_> {
        Walk::new(self, directory.as_ref(), options)
    }

    /// Begins `MLSD` if the server lists `MLST`; returns `None` if `LIST` must be used. If the
    /// server does not know `MLSD` after all, the client does not send it again in this session. A
    /// path that is not a directory is left to `LIST`, which lists files too (RFC 3659 §7.2.1
    /// demands 501 for such a path).
    fn begin_mlsd_if_listed(&mut self, directory: &[u8]) -> Result<Option<Begun>, Error> {
        if self.no_mlsd || !self.features()?.has("MLST") {
            return Ok(None);
        }
        let command = Command::Mlsd(self.pathname_or_none(directory)?);
        match transfer::begin(self, &command, FileRange::default(), None) {
            Ok(begun) => Ok(Some(begun)),
            Err(Error::Refused(_, reply))
                if is_unknown(&reply)
                    || [ReplyCode::BAD_ARGUMENT, ReplyCode::PARAMETER_NOT_IMPLEMENTED]
                        .contains(&reply.code()) =>
            {
                self.no_mlsd = is_unknown(&reply);
                trace::note(format_args!("MLSD was refused: using LIST"));
                Ok(None)
            }
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

/// The result of listing from within a directory.
enum Within {
    Listed(Box<Beginning>),
    /// The server refused to enter the directory (`Some`), or to report the current one (`None`).
    Refused(Option<Error>),
}

/// Returns whether the server permanently refuses the listing.
fn is_no(error: &Error) -> bool {
    matches!(error, Error::Refused(Verb::List | Verb::Nlst, reply)
        if reply.code().severity() == Severity::Permanent
            && reply.code() != ReplyCode::NOT_LOGGED_IN)
}

/// Returns the name of a directory for `LIST` and `NLST`. Servers take a name with a leading `-`
/// for options.
fn sent_as(directory: &[u8]) -> Vec<u8> {
    match directory {
        [b'-', ..] => [b"./", directory].concat(),
        _ => directory.to_vec(),
    }
}
