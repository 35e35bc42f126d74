//! Directory trees: [`TreeSync`] makes one equal to another, and
//! [`Repeat::remove`](crate::pool::Repeat::remove) deletes one.
//!
//! Some targets store two spellings of a name as one object: they ignore case, normalize Unicode,
//! drop dots and blanks at the end, or cut names short. Before anything is written, deleted or
//! removed, a run therefore asks the target which of its names may be one object, and keeps what is
//! in doubt. After a failure, it deletes nothing that the failure may concern.
//!
//! ```no_run
//! use ftp_client::tree::{SyncOptions, TreeSide, TreeSync};
//! use ftp_client::{Client, Pool};
//!
//! let pool = Pool::new(|| {
//!     let mut client = Client::builder().connect("ftp.example.org")?;
//!     client.login("me", "secret").map(|()| client)
//! });
//! let (site, www) = (TreeSide::local("site"), TreeSide::remote(&pool, "www"));
//! let options = SyncOptions::new().deletes(true).most_deletions(Some(100));
//! let sync = TreeSync::plan(&site, &www, &options, &())?;
//! for step in sync.steps() {
//!     println!("{step:?}");
//! }
//! let (summary, result) = sync.run(&());
//! println!("{} files copied, {} objects removed", summary.copied, summary.removed);
//! result?;
//! # Ok::<(), ftp_client::Error>(())
//! ```

mod copy;
pub(crate) mod entry;
mod execute;
mod fault;
mod hand;
pub(crate) mod links;
pub(crate) mod local;
mod manifest;
pub(crate) mod names;
mod options;
mod plan;
pub(crate) mod probe;
mod remove;
mod scan;
mod steps;
mod sync;

pub use execute::Summary;
pub use fault::{Setting, TreeFault};
pub use options::{Compare, LinkChoice, SyncOptions};
pub use plan::Difference;
pub use remove::RemoveOptions;
pub use steps::PlannedStep;
pub use sync::{TreeSide, TreeSync};
