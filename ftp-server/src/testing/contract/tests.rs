//! Storages that keep the promises, and others that break one.

use super::*;
use crate::forward_storage;
use crate::storage::{Fault, FaultStorage, LocalStorage, Partials, StorageCall, Upload};

/// A wrapper that changes the answers to two calls.
struct Changed<S> {
    inner: S,
    unfinished: fn(Option<Unfinished>) -> Option<Unfinished>,
    mode: fn(WriteMode) -> WriteMode,
}

impl<S> Changed<S> {
    fn nothing(inner: S) -> Self {
        Self { inner, unfinished: |found| found, mode: |mode| mode }
    }
}

impl<S: Storage> Storage for Changed<S> {
    forward_storage!(self, self.inner; capabilities, confine, stat, list, read, kept, forget);
    forward_storage!(self, self.inner; remove, rmdir, mkdir, rename, set, space);

    fn write(
        &self,
        path: &VirtualPath,
        mode: WriteMode,
        keep: Keep<'_>,
    ) -> StorageResult<Box<dyn Upload>> {
        self.inner.write(path, (self.mode)(mode), keep)
    }

    fn unfinished(
        &self,
        path: &VirtualPath,
        user: Option<&[u8]>,
    ) -> StorageResult<Option<Unfinished>> {
        self.inner.unfinished(path, user).map(self.unfinished)
    }
}

fn local() -> (Changed<LocalStorage>, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    (open(&root), root)
}

fn open(root: &tempfile::TempDir) -> Changed<LocalStorage> {
    Changed::nothing(LocalStorage::open(root.path()).unwrap())
}

#[test]
fn a_wrapper_that_forwards_what_it_does_not_change_keeps_the_promises() {
    storage_contract(1..=50, || (Changed::nothing(MemoryStorage::new()), ())).unwrap();
    storage_contract(1..=10, local).unwrap();
    restart_contract(local, open).unwrap();
    let (storage, _root) = local();
    let is_confined = !matches!(storage.inner.confine(), crate::Confine::No);
    assert_eq!(!matches!(storage.confine(), crate::Confine::No), is_confined);
}

#[test]
fn a_storage_that_keeps_records_without_bytes_keeps_the_promises() {
    struct WithoutBytes(MemoryStorage);

    impl Storage for WithoutBytes {
        forward_storage!(self, self.0; capabilities, confine, stat, list, read);
        forward_storage!(self, self.0; unfinished, kept, forget);
        forward_storage!(self, self.0; remove, rmdir, mkdir, rename, set, space);

        fn write(
            &self,
            path: &VirtualPath,
            mode: WriteMode,
            keep: Keep<'_>,
        ) -> StorageResult<Box<dyn Upload>> {
            self.0.write(path, mode, Keep::new(keep.user(), false))
        }
    }

    storage_contract(1..=50, || (WithoutBytes(MemoryStorage::new()), ())).unwrap();
}

/// Returns how the contract refuses a changed storage.
fn refusal(change: fn(&mut Changed<FaultStorage>), fault: Option<(StorageCall, Fault)>) -> String {
    let make = || {
        let mut storage = FaultStorage::new(MemoryStorage::new());
        if let Some((call, fault)) = fault {
            storage = storage.from(call, 1, fault);
        }
        let mut storage = Changed::nothing(storage);
        change(&mut storage);
        (storage, ())
    };
    storage_contract(1..=20, make).unwrap_err()
}

#[test]
fn a_broken_promise_is_told_with_its_call_path_and_mode() {
    let forgets: fn(&mut Changed<FaultStorage>) = |storage| storage.unfinished = |_| None;
    let told = refusal(forgets, None);
    assert!(told.starts_with("unfinished /f of ann: None after an upload was cut"), "{told}");
    let appends: fn(&mut Changed<FaultStorage>) = |storage| {
        storage.mode = |mode| match mode {
            WriteMode::Resume(_) => WriteMode::Append,
            mode => mode,
        };
    };
    let told = refusal(appends, None);
    assert!(told.starts_with("read /f: \"the old content"), "{told}");
    for (call, name) in [
        (StorageCall::Mkdir, "mkdir /"),
        (StorageCall::Rmdir, "rmdir /"),
        (StorageCall::List, "list /"),
        (StorageCall::Rename, "rename /"),
    ] {
        let told = refusal(|_| {}, Some((call, Fault::Fail(Kind::Uncounted))));
        let (place, rest) = told.split_once(name).expect(&told);
        assert!(place.starts_with("seed ") && place.contains(", call "), "{told}");
        let want = if call == StorageCall::Rename { "not renamed" } else { "Err(Uncounted) in " };
        assert!(rest.contains(want), "{told}");
    }
    let told = refusal(|_| {}, Some((StorageCall::Write, Fault::Fail(Kind::Denied))));
    assert_eq!(told, "write /f Create: Denied");
    let replaces: fn(&mut Changed<FaultStorage>) = |storage| {
        storage.mode = |mode| if mode == WriteMode::Create { WriteMode::Replace } else { mode };
    };
    let told = refusal(replaces, None);
    assert!(told.contains(" Create of ") && told.contains("in place of Err("), "{told}");
}

#[test]
fn a_storage_that_forgets_its_records_in_a_restart_is_told() {
    let make = || {
        let files = MemoryStorage::new();
        (Partials::new(files.clone()), files)
    };
    let told = restart_contract(make, |files| Partials::new(files.clone())).unwrap_err();
    assert!(told.starts_with("after a restart, unfinished /f of ann: None"), "{told}");
    let make = || {
        let files = MemoryStorage::new();
        (files.clone(), files)
    };
    restart_contract(make, MemoryStorage::clone).unwrap();
}
