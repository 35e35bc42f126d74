//! What a caller can say about the synchronization of two trees.

use std::path::PathBuf;
use std::sync::Arc;

use ftp_proto::AddressRule;

use crate::error::fxp::Side;
use crate::file::TemporaryName;
use crate::file::evidence::Resume;
use crate::file::options::Selection;
use crate::listing::{ListOptions, ListingForm};
use crate::pool::patience::Patience;
use crate::system::{FileId, file_id};
use crate::transfer::RateLimit;

/// Largest number of objects in both trees, unless a lower limit is requested.
pub(crate) const OBJECTS: usize = 1_000_000;

/// The facts by which files of the same name and size are compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compare {
    /// The modification time. If the target cannot set times, its file must be newer.
    #[default]
    Time,
    /// Nothing else: files of equal size count as equal.
    Size,
    /// The digest. A server that computes none is a failure.
    Digest,
}

/// The treatment of symbolic links of the source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LinkChoice {
    /// They are left out.
    #[default]
    Skip,
    /// The target gets the same links. FTP cannot create links on a server.
    Keep,
    /// The target gets copies of the objects that the links lead to.
    Follow,
}

/// Defines the options: those of the first list have a function that sets them.
macro_rules! sync_options {
    ($($(#[$about:meta])* $field:ident: $value:ty = $default:expr;)* ..
     $($kept:ident: $its:ty = $first:expr;)*) => {
        /// Options of [`TreeSync`](super::TreeSync).
        ///
        /// By default all files are copied that differ in size or time, nothing is deleted, links are
        /// left out, and nothing is retried.
        #[derive(Clone)]
        #[must_use]
        pub struct SyncOptions<'a> {
            $(pub(crate) $field: $value,)*
            $(pub(crate) $kept: $its,)*
        }

        impl Default for SyncOptions<'_> {
            fn default() -> Self {
                Self { $($field: $default,)* $($kept: $first,)* }
            }
        }

        impl SyncOptions<'_> {
            $($(#[$about])*
            pub fn $field(mut self, $field: $value) -> Self {
                self.$field = $field;
                self
            })*
        }
    };
}

/// Decides whether a file or directory takes part, by its path in the tree and whether it is a directory.
type Choice<'a> = dyn Fn(&[u8], bool) -> bool + Send + Sync + 'a;

sync_options! {
    /// Sets the name of a file in the target's top that lists what these runs have stored there,
    /// with SHA-256 of each file (default: none). Only for uploads.
    ///
    /// With it, files are compared by content, without help of the server, and only files are
    /// deleted that the list names and that are still as an earlier run left them. A file that
    /// changed on the server, or that the list does not name, is not replaced, which is a failure.
    /// A list that is missing or incomplete proves nothing: then all files are compared with the
    /// server's, and nothing is deleted. A source with a file of this name is refused.
    manifest: Option<String> = None;
    /// Sets whether files that changed on the server since the [manifest](Self::manifest) was
    /// written are replaced, and deleted if the source lacks them (default: no).
    replaces_changed: bool = false;
    /// Sets whether objects that only the target has are deleted (default: no).
    ///
    /// Deletions come last. If an object of the source may be missing in the target, nothing is
    /// deleted.
    deletes: bool = false;
    /// Sets the largest number of deletions; a plan with more is refused (default: none). A rename
    /// counts as one: the server may refuse it. A source without files deletes only if there is such
    /// a number.
    most_deletions: Option<usize> = None;
    /// Sets whether deletions take place, despite failures elsewhere, in directories in which, above
    /// which and below which nothing failed (default: no).
    ignores_errors: bool = false;
    /// Sets whether the target has no symbolic links to directories (default: no). Then what it lists
    /// as a directory is one; without this, an extra directory stays unless listings prove that.
    no_links: bool = false;
    /// Sets the treatment of symbolic links (default: [`LinkChoice::Skip`]).
    links: LinkChoice = LinkChoice::Skip;
    /// Sets whether the target gets the permission bits of the source (default: no).
    permissions: bool = false;
    /// Sets whether files of the source are removed once the target provably has them (default:
    /// no). One side must be local.
    moves: bool = false;
    /// Sets what may be resumed (default: [`Resume::Own`], which resumes nothing in a new run).
    resume: Resume = Resume::Own;
    /// Sets whether nothing may be written, not even a test file (default: no). Then only the
    /// [plan](super::TreeSync::steps) is of use, and [`run`](super::TreeSync::run) is an error.
    is_dry: bool = false;
    /// Sets whether missing parents of the target's top are created (default: no).
    creates_parents: bool = false;
    /// Sets the temporary name of uploads (default: none).
    temporary: Option<TemporaryName> = None;
    /// Sets the directory of the target's side that keeps replaced and deleted files (default:
    /// none). It and the target must not contain each other. One side must be local. On a server,
    /// uploads then get temporary names.
    backup: Option<PathBuf> = None;
    /// Sets the directory for journals, as [`FileOptions::journals`](crate::FileOptions::journals)
    /// does.
    journals: Option<PathBuf> = None;
    /// Sets a limit of bytes per second for all copies together (default: none).
    rate_limit: Option<RateLimit> = None;
    /// Sets the server that listens for the data of a copy between two servers, as
    /// [`Relay::listener`](crate::file::Relay::listener) does.
    listener: Option<Side> = None;
    /// Sets the host to which one server must connect for a copy between two servers, as
    /// [`Relay::address`](crate::file::Relay::address) does.
    address: AddressRule = AddressRule::Peer;
    /// Sets the attempts and pauses after transient failures, and what ends them (default: one
    /// attempt).
    patience: Patience = Patience::new().attempts(1);
    ..
    compare: Option<Compare> = None;
    own: Arc<[FileId]> = Arc::default();
    choice: Arc<Choice<'a>> = Arc::new(|_, _| true);
    selection: Selection = Selection::default();
    list: ListOptions = ListOptions { all: true, form: ListingForm::Auto };
    jobs: Option<usize> = None;
}

impl<'a> SyncOptions<'a> {
    /// The usual name of a [`manifest`](Self::manifest). Without one, a run that would delete a file of
    /// this name from a server is refused.
    pub const MANIFEST: &'static str = ".ftp-cli-manifest.json";

    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how files are compared (default: [`Compare::Time`]; with a
    /// [`manifest`](Self::manifest) that proves nothing: by digest if the server computes one,
    /// otherwise files are sent again).
    pub const fn compare(mut self, compare: Compare) -> Self {
        self.compare = Some(compare);
        self
    }

    /// Sets the files of the run itself, such as its password file and its log (default: none). A local
    /// tree that contains one leaves it out: it is not copied, replaced or removed, under any
    /// name (on Windows: other than a hard link).
    pub fn own_files(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let files = paths.into_iter().filter(|path| path.is_file());
        self.own = files.filter_map(|path| file_id(&path).ok()).collect();
        self
    }

    setters! {
        /// Sets a function that returns whether an object takes part (default: all do). It gets the
        /// path from the top of the tree, and whether the object is a directory. A directory that takes
        /// no part is not entered.
        choice(choice: impl Fn(&[u8], bool) -> bool + Send + Sync + 'a) => choice = Arc::new(choice);
        /// Sets which files of the source take part, by size, as
        /// [`FileOptions::sizes`](crate::FileOptions::sizes) does.
        sizes(smallest: Option<u64>, largest: Option<u64>) => selection.sizes = (smallest, largest);
        /// Sets which files of the source take part, by modification time, as
        /// [`FileOptions::times`](crate::FileOptions::times) does.
        times(earliest: Option<i64>, latest: Option<i64>) => selection.times = (earliest, latest);
        /// Sets the form of listings (default: [`ListingForm::Auto`]).
        listing(form: ListingForm) => list.form = form;
        /// Sets the largest number of copies at the same time, each over a connection of the pool (0
        /// counts as 1). With `None` (default), the run begins with one, and takes part in up to four
        /// while the time that files wait for replies is worth another login.
        jobs(most: impl Into<Option<usize>>) => jobs = most.into();
    }
}

ftp_proto::debug_fields!(SyncOptions<'_> { compare, deletes, links } ..);
