//! The server.
#![allow(missing_docs)]
pub mod limits;
mod listing;
mod storage;
pub use storage::{
    Entries, Entry, EntryKind, LocalStorage, Metadata, Source, Storage, StorageError,
    StorageErrorKind, StreamEnd, SyncPolicy, Upload, VirtualPath, WriteMode,
};
