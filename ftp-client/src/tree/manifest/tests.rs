//! Tests lists: what is read is what was written, and nothing else is believed.

use super::*;
use crate::tree::entry::ObjectKind;

fn record(size: u64, modified: Option<(i64, i64)>) -> ManifestRecord {
    ManifestRecord {
        size,
        digest: [u8::try_from(size % 251).unwrap(); 32],
        modified,
        is_new: false,
    }
}

fn list(files: &[(&[u8], ManifestRecord)], pending: &[(&[u8], ManifestRecord)]) -> Manifest {
    let of = |records: &[(&[u8], ManifestRecord)]| {
        records.iter().map(|(path, record)| (path.to_vec(), *record)).collect()
    };
    Manifest { generation: 7, files: of(files), pending: of(pending) }
}

fn sample() -> Manifest {
    list(
        &[
            (b"a \"quoted\\\" \x01\x7f.html", record(5, Some((-1, 60)))),
            (b"latin\xff/1/b", record(u64::MAX, Some((-62_167_219_200, -62_167_039_201)))),
            (b"\xff", record(0, None)),
            ("stra\u{df}e/\u{1f980}".as_bytes(), record(70_000, Some((1, 1)))),
        ],
        &[(b"c", record(3, None)), (b"d", ManifestRecord { is_new: true, ..record(4, None) })],
    )
}

#[test]
fn a_list_is_read_as_it_was_written_cl_81() {
    for list in [sample(), Manifest::default(), list(&[], &[(b"p", record(1, None))])] {
        let text = list.encode();
        assert_eq!(Manifest::parse(&text), Ok(list), "{}", text.escape_ascii());
    }
    let text = String::from_utf8(sample().encode()).unwrap();
    let first = text.lines().next().unwrap();
    let want =
        r#"{"format":"ftp-cli-manifest","version":1,"generation":"0000000000000007","files":["#;
    assert_eq!(first, want);
    assert!(text.contains(r#"{"path":"a \"quoted\\\" \u0001\u007f.html","size":5,"#), "{text}");
    assert!(text.contains(r#"{"path_b64":"/w==","size":0,"#), "{text}");
}

#[test]
fn a_part_of_a_list_or_an_edited_one_is_never_believed_cl_81() {
    let text = sample().encode();
    for end in 0..text.len() {
        assert_eq!(Manifest::parse(&text[..end]), Err(Distrust::Cut), "{end}");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut text = text.clone();
            text[at] ^= 1 << bit;
            assert!(Manifest::parse(&text).is_err(), "{at} {bit}");
        }
    }
    assert_eq!(Manifest::parse(&[&text[..], b"\n"].concat()), Err(Distrust::Cut));
    let newer = String::from_utf8_lossy(&text).replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(Manifest::parse(newer.as_bytes()), Err(Distrust::Newer));
    assert_eq!(Manifest::parse(b"<!DOCTYPE html>"), Err(Distrust::Foreign));
    assert_eq!(Manifest::parse(&vec![b'{'; LARGEST + 1]), Err(Distrust::Foreign));
    let large = [&text[..text.len() - 3], &vec![b' '; LARGEST]].concat();
    assert_eq!(Manifest::parse(&large), Err(Distrust::TooLarge));
}

#[test]
fn a_hostile_list_names_no_path_outside_of_the_tree_and_no_time_for_all_cl_81_hc_08() {
    let long = vec![b'a'; 256];
    let deep = b"d/".repeat(128);
    let deep = [deep.as_slice(), b"f"].concat();
    for path in [
        &b""[..],
        b"/etc/passwd",
        b"..",
        b"a/../../b",
        b"a//b",
        b"a/",
        b"./a",
        b"a\0",
        b"a\r\nDELE b",
        &long,
        &deep,
    ] {
        let text = list(&[(path, record(1, None))], &[]).encode();
        assert_eq!(Manifest::parse(&text), Err(Distrust::Cut), "{}", path.escape_ascii());
    }
    for (modified, is_read) in [
        ((5, 5), true),
        ((0, 179_999), true),
        ((0, 180_000), false),
        ((6, 5), false),
        ((i64::MIN, i64::MAX), false),
        ((i64::MIN, i64::MIN), false),
        ((i64::MAX, i64::MAX), false),
    ] {
        let text = list(&[(b"a", record(1, Some(modified)))], &[]).encode();
        assert_eq!(Manifest::parse(&text).is_ok(), is_read, "{modified:?}");
    }
    // The same path twice, in both spellings that JSON knows.
    let twice = list(&[(b"a", record(1, None)), (b"b", record(1, None))], &[]).encode();
    let twice = String::from_utf8(twice).unwrap().replace("\"path\":\"b\"", "\"path\":\"\\u0061\"");
    let (body, _) = twice.split_once("],\"sha256\":\"").unwrap();
    assert_eq!(Manifest::parse(&signed(body)), Err(Distrust::Cut));
}

/// Returns a text with the digest that its writer, who may be hostile, can compute too.
fn signed(body: &str) -> Vec<u8> {
    use crate::digest::Checksum;
    use crate::digest::HashAlgorithm;

    let mut sum = Checksum::new(HashAlgorithm::Sha256).unwrap();
    sum.update(body.as_bytes());
    format!("{body}],\"sha256\":\"{}\"}}\n", sum.finish()).into_bytes()
}

#[test]
fn random_texts_with_a_right_digest_neither_panic_nor_change_when_written_again_cl_81() {
    let whole = sample().encode();
    let whole = String::from_utf8(whole).unwrap();
    let (body, _) = whole.split_once("],\"sha256\":\"").unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let letters = b"{}[]\",:\\u0019-ab/.=\n\xc3\xa9";
    let mut read = 0;
    for _ in 0..20_000 {
        let mut text = body.as_bytes().to_vec();
        for _ in 0..=next(3) {
            let at = next(text.len());
            match next(3) {
                0 => text[at] = letters[next(letters.len())],
                1 => text.insert(at, letters[next(letters.len())]),
                _ => _ = text.remove(at),
            }
        }
        let Ok(text) = String::from_utf8(text) else { continue };
        if let Ok(list) = Manifest::parse(&signed(&text)) {
            assert_eq!(Manifest::parse(&list.encode()), Ok(list));
            read += 1;
        }
    }
    assert!(read > 100, "{read} of the texts were lists");
}

fn file(size: u64, time: (i64, i64)) -> TreeEntry {
    TreeEntry {
        name: b"f".to_vec(),
        kind: ObjectKind::File,
        size: Some(size),
        stamp: Some(Stamp::between(time.0, time.1)),
        changed: None,
        unique: None,
        mode: None,
        target: None,
    }
}

impl Deploy {
    /// Returns a deploy of a whole list, whose name is `l`.
    pub(crate) fn of(list: Manifest) -> Self {
        Self {
            name: b"l".to_vec(),
            list,
            distrust: None,
            replaces_changed: false,
            compares: false,
            takes_times: true,
            has_changed: false,
            sent: Records::new(),
        }
    }
}

fn deploy(list: Manifest) -> Deploy {
    Deploy::of(list)
}

#[test]
fn the_listing_tells_whether_a_file_changed_on_the_server_cl_81() {
    let stored = |modified| deploy(list(&[(b"f", record(5, modified))], &[]));
    for (recorded, size, listed, want) in [
        (Some((100, 100)), 5, (100, 100), There::AsListed),
        (Some((100, 100)), 5, (101, 101), There::OtherTime),
        (Some((100, 100)), 6, (100, 100), There::OtherSize),
        // A listing that shows minutes, and later days.
        (Some((60, 119)), 5, (60, 119), There::AsListed),
        (Some((60, 119)), 5, (0, 86_399), There::AsListed),
        (Some((60, 119)), 5, (120, 179), There::OtherTime),
        (Some((60, 119)), 5, (86_400, 172_799), There::OtherTime),
        (None, 5, (1, 1), There::AsListed),
    ] {
        let facts = stored(recorded).facts(b"f", None, Some(&file(size, listed)));
        assert_eq!(facts, (Claim::Stored, Here::Absent, want), "{recorded:?} {size} {listed:?}");
    }
    assert_eq!(stored(None).facts(b"f", None, None).2, There::Missing);
    assert_eq!(stored(None).facts(b"g", None, Some(&file(5, (1, 1)))).0, Claim::None);
    let mut lost = stored(None);
    lost.distrust = Some(Distrust::Cut);
    assert_eq!(lost.facts(b"f", None, Some(&file(5, (1, 1)))).0, Claim::Unknown);
}

#[test]
fn an_interrupted_upload_counts_as_whole_only_with_its_own_time_cl_81() {
    let old = record(9, Some((50, 50)));
    for (stored, set, size, listed, want) in [
        (None, Some((100, 100)), 5, (100, 100), There::AsListed),
        (None, Some((100, 100)), 5, (101, 101), There::OtherTime),
        (None, Some((100, 100)), 3, (100, 100), There::OtherTime),
        (None, Some((100, 100)), 6, (100, 100), There::OtherSize),
        (None, None, 5, (100, 100), There::OtherTime),
        // Not begun yet.
        (Some(old), Some((100, 100)), 9, (50, 50), There::OtherTime),
        (Some(old), Some((100, 100)), 9, (51, 51), There::OtherSize),
        // The old file has the same size and time, so they prove nothing.
        (Some(record(5, Some((100, 100)))), Some((100, 100)), 5, (100, 100), There::OtherTime),
    ] {
        let files: Vec<_> = stored.into_iter().map(|stored| (&b"f"[..], stored)).collect();
        let deploy = deploy(list(&files, &[(b"f", record(5, set))]));
        let sum = Sum { size: 5, digest: [5; 32], identity: identity() };
        let facts = deploy.facts(b"f", Some(&sum), Some(&file(size, listed)));
        assert_eq!(facts, (Claim::Pending, Here::Same, want), "{stored:?} {size} {listed:?}");
    }
}

#[test]
fn without_times_the_size_of_an_interrupted_upload_counts_only_where_no_file_was_cl_81() {
    let pending = ManifestRecord { is_new: true, ..record(5, None) };
    let (old, sum) = (record(5, None), Sum { size: 5, digest: [5; 32], identity: identity() });
    for (stored, is_here, size, want) in [
        (None, true, 5, There::AsListed),
        (None, true, 4, There::OtherTime),
        (None, true, 6, There::OtherSize),
        // Nothing is deleted on such a proof.
        (None, false, 5, There::OtherTime),
        (Some(old), true, 5, There::OtherTime),
    ] {
        let files: Vec<_> = stored.into_iter().map(|stored| (&b"f"[..], stored)).collect();
        let deploy = deploy(list(&files, &[(b"f", pending)]));
        let there = file(size, (1, 1));
        let facts = deploy.facts(b"f", Some(&sum).filter(|_| is_here), Some(&there));
        assert_eq!(facts.2, want, "{stored:?} {is_here} {size}");
    }
}

fn identity() -> LocalFacts {
    LocalFacts::of(&std::fs::metadata(".").unwrap())
}

#[test]
fn what_neither_side_has_is_forgotten_and_only_that_cl_81() {
    let files: Vec<&[u8]> = vec![b"a", b"b/c", b"b/d/e", b"bb", b"x/y"];
    let records: Vec<_> = files.iter().map(|path| (*path, record(1, None))).collect();
    let mut deploy = deploy(list(&records, &[(b"z/p", record(1, None))]));
    assert!(deploy.owns_below(b"b") && deploy.owns_below(b"z") && !deploy.owns_below(b"bb"));
    let missing = deploy.missing(b"", |name| name == b"a" || name == b"b" || name == b"z");
    assert_eq!(missing, [&b"bb"[..], b"x"]);
    missing.iter().for_each(|path| deploy.forget_stored(path));
    let left = |deploy: &Deploy| deploy.list.files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(left(&deploy), [&b"a"[..], b"b/c", b"b/d/e"]);
    assert_eq!(deploy.missing(b"b", |name| name == b"d"), [b"b/c"]);
    deploy.forget_stored(b"b/c");
    assert_eq!(left(&deploy), [&b"a"[..], b"b/d/e"]);
    deploy.forget_stored(b"b");
    assert_eq!(left(&deploy), [&b"a"[..]]);
    assert!(deploy.has_changed && deploy.owns_below(b"z"));
    assert!(deploy.is_own(b"l") && deploy.is_own(b"l.new") && !deploy.is_own(b"l.newer"));
}

#[test]
fn two_runs_at_once_leave_what_both_sent_uncertain_cl_81() {
    let theirs = list(&[(b"f", record(5, Some((1, 1))))], &[(b"g", record(9, Some((1, 1))))]);
    let ours = [(b"f".to_vec(), record(200, Some((2, 2)))), (b"g".to_vec(), record(2, None))];
    let both = theirs.after_both(ours.into_iter());
    // Either run may have stored its content last, so no size or time is a proof.
    for (path, size) in [(b"f", 200), (b"g", 9)] {
        let found = both.pending[&path[..]];
        assert_eq!((found.size, found.modified), (size, None));
    }
}

#[test]
fn what_others_change_after_the_plan_is_neither_replaced_nor_removed_cl_81() {
    let sum = Sum { size: 9, digest: [9; 32], identity: identity() };
    let (new, other) = ((false, Some(&sum)), (true, Some(&sum)));
    let (as_listed, edited) = (file(5, (1, 1)), file(5, (7, 7)));
    for (is_listed, copy, there, want, by_force) in [
        (true, Some(other), Some(&as_listed), true, true),
        (true, Some(other), Some(&edited), false, true),
        (true, Some(other), None, true, true),
        (true, None, Some(&as_listed), true, true),
        (true, None, Some(&edited), false, true),
        (true, None, None, false, false),
        // Somebody has stored a file where there was none.
        (false, Some(new), Some(&edited), false, true),
        (false, Some(new), None, true, true),
        (false, Some(other), Some(&edited), true, true),
    ] {
        let files = if is_listed { vec![(&b"f"[..], record(5, Some((1, 1))))] } else { vec![] };
        let mut deploy = deploy(list(&files, &[]));
        let shown = format!("{is_listed} {:?} {there:?}", copy.map(|(replaces, _)| replaces));
        assert_eq!(deploy.permits(b"f", copy, there), want, "{shown}");
        deploy.replaces_changed = true;
        assert_eq!(deploy.permits(b"f", copy, there), by_force, "{shown}");
    }
}

mod decisions {
    use super::*;
    use Claim::{None as Unlisted, Pending, Stored, Unknown};
    use Here::{Absent, Other, Same};
    use There::{AsListed, Missing, OtherSize, OtherTime};

    /// The promises, said without the table.
    fn check(
        (claim, here, there): (Claim, Here, There),
        deletes: bool,
        replaces_changed: bool,
        step: ManifestStep,
    ) -> bool {
        let (is_here, is_there) = (here != Absent, there != Missing);
        let is_owned = matches!(claim, Stored | Pending);
        // A file that is here is made equal, or somebody hears why not.
        let is_settled = match step {
            ManifestStep::Keep => is_owned && here == Same && there == AsListed,
            ManifestStep::Copy => true,
            ManifestStep::Compare => claim == Unknown && is_there,
            ManifestStep::Tell => is_there && !replaces_changed,
            _ => false,
        };
        // What others may have written stays, unless the caller wants it replaced.
        let may_be_foreign = match claim {
            Unknown => false,
            Unlisted => is_there,
            Stored => matches!(there, OtherSize | OtherTime),
            Pending => there == OtherSize,
        };
        let is_kind = step != ManifestStep::Copy || !may_be_foreign || replaces_changed;
        // Only what is listed, gone from the source, and still as listed, is removed.
        let is_removable = is_owned
            && deletes
            && is_there
            && (there == AsListed || replaces_changed && claim == Stored);
        match (is_here, step) {
            (true, _) => is_settled && is_kind,
            (false, ManifestStep::Remove) => is_removable,
            (false, ManifestStep::Spare) => is_owned && deletes && is_there && !is_removable,
            (false, ManifestStep::Leave) => !is_owned || !deletes || !is_there,
            (false, _) => false,
        }
    }

    #[test]
    fn the_table_decides_each_case_once_and_keeps_the_promises() {
        let mut cases = 0;
        for claim in [Unknown, Unlisted, Stored, Pending] {
            for here in [Same, Other, Absent] {
                for there in [AsListed, OtherSize, OtherTime, Missing] {
                    let facts = (claim, here, there);
                    let rows = DECISIONS.iter().filter(|row| {
                        row.0.contains(&claim) && row.1.contains(&here) && row.2.contains(&there)
                    });
                    assert_eq!(rows.count(), 1, "{facts:?}");
                    for (deletes, force) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        let step = step(facts, deletes, force);
                        let shown = format!("{facts:?} {deletes} {force}: {step:?}");
                        assert!(check(facts, deletes, force, step), "{shown}");
                        cases += 1;
                    }
                }
            }
        }
        assert_eq!(cases, 4 * 3 * 4 * 4);
    }
}
