//! Listings whose pages have fewer keys than they could, or that never end.

use super::fake::Fault;
use super::*;

#[test]
fn a_page_without_keys_is_neither_an_empty_directory_nor_the_last_page() {
    for (skipped, size) in [(0, 1_000), (0, 1), (1, 1), (2, 1)] {
        let fake = Fake::start();
        for key in ["d/", "d/1", "d/2", "e/"] {
            fake.store(key, b"bytes");
        }
        // The first page of a directory can have nothing but its marker.
        fake.limit_pages(size);
        let what = format!("{skipped} {size}");
        let after_empty_pages = || {
            fake.works();
            fake.fail("ListObjectsV2", skipped, 3, Fault::EmptyPage);
            on(&fake)
        };
        assert_eq!(names(&after_empty_pages(), "/"), ["d", "e"], "{what}");
        assert_eq!(names(&after_empty_pages(), "d"), ["1", "2"], "{what}");
        assert!(names(&after_empty_pages(), "e").is_empty(), "{what}");
        after_empty_pages().stat(&path("d"), Ask::Directory).unwrap();
        let begun = after_empty_pages().write(&path("d"), WriteMode::Replace, Keep::Shared);
        assert_eq!(kind(begun), Some(Kind::IsDirectory), "{what}");
        assert_eq!(kind(after_empty_pages().rmdir(&path("d"))), Some(Kind::NotEmpty), "{what}");
        assert_eq!(
            kind(after_empty_pages().list(&path("x"), Ask::Facts)),
            Some(Kind::NotFound),
            "{what}"
        );
        let mut count = 0;
        let counted = after_empty_pages().inner.each_key("d/", |_| {
            count += 1;
            Ok(())
        });
        counted.unwrap();
        assert_eq!(count, 3, "{what}");
        after_empty_pages().rename_trees(9).rename(&path("d"), &path("n"), false).unwrap();
        after_empty_pages().rmdir(&path("e")).unwrap();
        assert_eq!(fake.keys(""), ["n/", "n/1", "n/2"], "{what}");
    }
}

#[test]
fn a_listing_whose_pages_repeat_ends_with_an_error() {
    for faults in [&[Fault::FirstPage][..], &[Fault::EmptyPage, Fault::FirstPage]] {
        let fake = Fake::start();
        (0..9).for_each(|number| fake.store(&format!("d/{number}"), b""));
        fake.limit_pages(2);
        let (storage, every) = (on(&fake), faults.len() as u64);
        for at in 0..500 {
            let fault = faults[usize::try_from(at % every).unwrap()];
            fake.fail("ListObjectsV2", 1 + at, 1, fault);
        }
        let mut entries = storage.list(&path("d"), Ask::Facts).unwrap();
        let error = entries.find_map(Result::err).expect("the listing is not whole");
        assert_eq!(error.kind, Kind::Io);
        assert!(entries.next().is_none(), "a listing ends with its error");
        assert!(fake.count("ListObjectsV2") < 20);
        let counted = storage.inner.each_key("d/", |_| Ok(()));
        assert!(counted.unwrap_err().to_string().contains("follows again"));
    }
    let fake = Fake::start();
    fake.store("d/f", b"");
    fake.fail("ListObjectsV2", 0, 9_999, Fault::EmptyPage);
    let error = on(&fake).stat(&path("d"), Ask::Directory).unwrap_err();
    assert!(error.source.unwrap().to_string().contains("too many pages"));
}

#[test]
fn a_key_without_the_prefix_is_no_key_of_a_listing() {
    let fake = Fake::start();
    fake.store("d/f", b"");
    fake.fail("ListObjectsV2", 0, 1, Fault::OtherPrefix);
    assert_eq!(kind(on(&fake).list(&path("x"), Ask::Facts)), Some(Kind::Io));
}

#[test]
fn times_of_a_listing_are_requested_eight_at_a_time() {
    let fake = Fake::start();
    for number in 0..20 {
        fake.store(&format!("f{number:02}"), b"");
    }
    fake.store("f05", b"a file");
    let storage = on(&fake).keep_times(true);
    storage.set(&path("f05"), Change::Modified(938_565_235)).unwrap();
    let before = fake.count("HeadObject");
    fake.fail("HeadObject", 0, 8, Fault::Hold);
    let lister = storage.clone();
    let listing = std::thread::spawn(move || {
        let entries = lister.list(&path("/"), Ask::Facts).unwrap();
        entries.map(Result::unwrap).collect::<Vec<_>>()
    });
    ftp_tests::wait::wait_until("eight are asked", || fake.count("HeadObject") == before + 8);
    fake.release();
    let listed = listing.join().unwrap();
    assert_eq!(fake.count("HeadObject"), before + 20);
    let names: Vec<_> = (0..20).map(|number| format!("f{number:02}").into_bytes()).collect();
    assert_eq!(listed.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>(), names);
    assert_eq!((listed[5].metadata.modified, listed[5].metadata.size), (938_565_235, 6));
    assert!(listed.iter().enumerate().all(|(at, it)| at == 5 || it.metadata.modified > 1 << 30));
}
