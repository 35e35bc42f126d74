//! The options of trees, typed.

use ftp_client::{ListOptions, ListingForm};

use super::filter::Filter;
use crate::exit::Failure;
use crate::options::{Options, values};
use crate::transfer::options::TransferOptions;

/// What `mirror` and `fxp -r` take.
pub(super) struct MirrorOptions {
    pub(super) filter: Filter,
    pub(super) list: ListOptions,
    pub(super) size_only: bool,
    pub(super) deletes: bool,
    pub(super) max_delete: Option<usize>,
    pub(super) is_dry: bool,
    /// Those that are about each file: of what only `get` and `put` take nothing is set.
    pub(super) transfer: TransferOptions,
}

impl MirrorOptions {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// `Usage`: a value that is none, or an option that has no effect.
    pub(super) fn from_options(options: &Options) -> Result<Self, Failure> {
        let forms =
            [("auto", ListingForm::Auto), ("mlsd", ListingForm::Mlsd), ("list", ListingForm::List)];
        let form = options.parsed("listing", |text| values::word(text, &forms))?;
        let number = |text: &str| {
            text.parse::<usize>().map_err(|_| format!("\"{text}\" is not a whole number"))
        };
        let max_delete = options.parsed("max-delete", number)?;
        let deletes = options.has("delete");
        if max_delete.is_some() && !deletes {
            return Err(Failure::usage("--max-delete limits --delete, which is not given"));
        }
        Ok(Self {
            filter: Filter::from_options(options)?,
            list: ListOptions { all: true, form: form.unwrap_or_default() },
            size_only: options.has("size-only"),
            deletes,
            max_delete,
            is_dry: options.has("dry-run"),
            transfer: TransferOptions::from_options(options)?,
        })
    }
}
