//! Tests plans of deploys. The content of a file is told by its size.

use std::fs;

use super::*;
use crate::file::TemporaryName;
use crate::file::journal::LocalFacts;
use crate::tree::Compare;
use crate::tree::manifest::{Manifest, ManifestRecord};

/// Returns the size, the time and the content of a file as text.
fn facts(text: &str) -> (&[u8], Sum, i64) {
    let (path, facts) = text.split_once('=').unwrap();
    let (size, time) = facts.split_once('@').unwrap();
    let size: u64 = size.parse().unwrap();
    let digest = [u8::try_from(size % 251).unwrap(); 32];
    let identity = LocalFacts::of(&fs::metadata(".").unwrap());
    (path.as_bytes(), Sum { size, digest, identity }, time.parse().unwrap())
}

impl Tree {
    pub(super) fn sum_of(&self, path: &[u8]) -> Sum {
        let mut files = self.paths.iter().filter(|text| text.contains('='));
        let (name, mut sum, _) =
            files.find_map(|text| Some(facts(text)).filter(|it| it.0 == path)).unwrap();
        if self.changed.iter().any(|changed| changed.as_bytes() == name) {
            sum.digest[0] ^= 0x80;
        }
        sum
    }
}

/// Returns a deploy of a list with these files, of which those that begin with `!` are pending.
fn deploy(files: &[&str]) -> Deploy {
    let mut list = Manifest { generation: 7, ..Manifest::default() };
    for text in files {
        let (path, Sum { size, digest, .. }, time) = facts(text.trim_start_matches('!'));
        let record = ManifestRecord { size, digest, modified: Some((time, time)), is_new: false };
        let records = if text.starts_with('!') { &mut list.pending } else { &mut list.files };
        records.insert(path.to_vec(), record);
    }
    Deploy::of(list)
}

fn make_deploy(
    source: &mut Tree,
    target: &mut Tree,
    files: &[&str],
    options: &SyncOptions<'_>,
) -> Plan {
    let wish = PlanOptions { options, rule: Rule::SameHash, objects: 5_000, top: None };
    Plan::make(source, target, false, &wish, Some(deploy(files))).unwrap()
}

fn renames(plan: &Plan) -> Vec<String> {
    let renamed = plan.copies.iter().filter_map(|copy| {
        let from = String::from_utf8(copy.from.clone()?).unwrap();
        Some(format!("{from} {}", String::from_utf8(plan.path_of(copy)).unwrap()))
    });
    renamed.collect()
}

#[test]
fn no_file_is_renamed_out_of_a_directory_that_may_be_a_link_cl_81_hc_08() {
    let options = SyncOptions::new().deletes(true);
    let files = ["d/a=1@1", "d/e/b=2@1", "e=3@1", "kept/c=4@1", "kept/x=9@1"];
    let there =
        ["d/", "d/a=1@1", "d/e/", "d/e/b=2@1", "e=3@1", "kept/", "kept/c=4@1", "kept/x=9@1"];
    let here = ["n/", "n/a=1@5", "n/b=2@5", "n/e=3@5", "n/c=4@5", "kept/", "kept/x=9@1"];
    for (proof, want, all) in [
        (
            Proof::Directory,
            &["d/a n/a", "d/e/b n/b", "kept/c n/c", "e n/e"][..],
            "+n/ n/a n/b n/c n/e -d/e -d",
        ),
        // The directory that stays was compared with the source's.
        (Proof::None, &["kept/c n/c", "e n/e"], "+n/ n/a n/b n/c n/e !1"),
    ] {
        let mut target = Tree { proof, ..tree(&there, false) };
        let plan = make_deploy(&mut tree(&here, true), &mut target, &files, &options);
        assert_eq!(renames(&plan), want, "{proof:?}");
        assert_eq!(summary(&plan), all, "{proof:?}");
    }
}

#[test]
fn a_file_that_one_listing_leaves_out_stays_in_the_list_cl_81() {
    let options = SyncOptions::new().deletes(true);
    let files = ["a=1@1", "b=2@1", "c/d=3@1"];
    for (tells, hidden, left) in [
        (true, vec!["b=2@1"], "a b"),
        (true, vec!["c/"], "a c/d"),
        (true, vec![], "a"),
        // In doubt, the list keeps what it has.
        (false, vec![], "a b c/d"),
    ] {
        let mut target = Tree { tells, hidden, ..tree(&files[..1], false) };
        let plan = make_deploy(&mut tree(&files[..1], true), &mut target, &files, &options);
        let list = plan.deploy.unwrap().list;
        let names: Vec<_> = list.files.keys().map(|path| String::from_utf8_lossy(path)).collect();
        assert_eq!(names.join(" "), left, "{tells}");
    }
}

#[test]
fn what_an_interrupted_run_may_have_written_is_told_in_each_run_cl_81() {
    let options = SyncOptions::new().deletes(true);
    let mut target = tree(&["a=1@1", "x=1@5"], false);
    let plan =
        make_deploy(&mut tree(&["a=1@1"], true), &mut target, &["a=1@1", "!x=2@9"], &options);
    assert_eq!((plan.failures.len(), plan.removed().count()), (1, 0));
    // Replacing what changed on the server does not cure it.
    assert_eq!(plan.failures[0].setting(), None);
    assert!(plan.failures[0].to_string().contains("interrupted run"), "{:?}", plan.failures);
    // The list still names it.
    assert!(plan.deploy.unwrap().list.pending.contains_key(&b"x"[..]));
}

#[test]
fn a_rename_counts_as_a_deletion_cl_81() {
    let options = SyncOptions::new().deletes(true);
    let (here, there) = (["x=1@5", "y=2@5"], ["a=1@1", "b=2@1", "c=3@1"]);
    let plan = make_deploy(&mut tree(&here, true), &mut tree(&there, false), &there, &options);
    assert_eq!(renames(&plan), ["a x", "b y"]);
    assert_eq!((plan.removed().count(), plan.most_removed()), (1, 3));
}

#[test]
fn a_wanted_digest_of_the_server_shows_what_its_listing_hides_cl_81() {
    let there = ["a=1@1", "b=2@1", "c=3@1", "d=4@1", "e=5@1", "f=6@1"];
    // `a` and `b` are the same, `c` and `d` changed, `e` and `f` gone.
    let here = ["a=1@9", "b=2@9", "c=7@9", "d=8@9"];
    for (compare, force, want) in [
        (Compare::Time, false, "c d -e -f"),
        // A failure in their directory keeps `e` and `f`.
        (Compare::Digest, false, "c !3"),
        (Compare::Digest, true, "b c d -e -f"),
    ] {
        let options = SyncOptions::new().deletes(true).ignores_errors(true).compare(compare);
        let mut target = Tree { changed: vec!["b", "d", "f"], ..tree(&there, false) };
        let mut deploy = deploy(&there);
        deploy.replaces_changed = force;
        let mut source = tree(&here, true);
        let wish = PlanOptions { options: &options, rule: Rule::SameHash, objects: 99, top: None };
        let plan = Plan::make(&mut source, &mut target, false, &wish, Some(deploy)).unwrap();
        let is_told = |fault: &&TreeFault| fault.setting() == Some(Setting::Changed);
        assert_eq!(plan.failures.iter().filter(is_told).count(), plan.failures.len());
        assert_eq!(summary(&plan), want, "{compare:?} {force}");
    }
}

#[test]
fn a_file_of_equal_size_is_copied_for_its_content_only_if_a_deploy_has_stored_it() {
    for (listed, want) in [("a=1@1", Difference::Content), ("!a=1@1", Difference::Doubt)] {
        let mut source = Tree { changed: vec!["a"], ..tree(&["a=1@9"], true) };
        let mut target = tree(&["a=1@1"], false);
        let plan = make_deploy(&mut source, &mut target, &[listed], &SyncOptions::new());
        let reasons: Vec<_> = plan.copies.iter().map(|copy| copy.why).collect();
        assert_eq!(reasons, [want], "{listed}");
    }
}

#[test]
fn a_file_whose_time_moved_by_a_time_zone_is_compared_by_its_content() {
    const LARGE: &str = "large=16777217@4600";
    let list = ["a=1@1000", "b=2@1000", "c=3@1000", "e=5@1000", "large=16777217@1000"];
    // `b` is edited, and `c` has the time of no time zone.
    let there = ["a=1@4600", "b=2@4600", "c=3@1060", "e=5@4600", LARGE];
    let here = ["a=1@9", "b=2@9", "c=3@9", "e=7@9", LARGE];
    let options = SyncOptions::new().deletes(true);
    let mut target = Tree { changed: vec!["b"], ..tree(&there, false) };
    let plan = make_deploy(&mut tree(&here, true), &mut target, &list, &options);
    assert_eq!(summary(&plan), "e !3");
    assert_eq!(target.asked, ["content a", "content b", "content e"]);
    let deploy = plan.deploy.unwrap();
    assert_eq!(deploy.list.files[&b"a"[..]].modified, Some((4_600, 4_600)));
    assert_eq!(deploy.list.files[&b"b"[..]].modified, Some((1_000, 1_000)));
    for (changed, want) in [(vec![], "-d"), (vec!["d"], "!1")] {
        let mut target = Tree { changed, ..tree(&["d=4@-2600", "x=9@1"], false) };
        let mut source = tree(&["x=9@1"], true);
        let plan = make_deploy(&mut source, &mut target, &["d=4@1000", "x=9@1"], &options);
        assert_eq!(summary(&plan), want);
    }
}

#[test]
fn a_listed_file_makes_way_for_a_directory_and_the_reverse_cl_81() {
    let (file, directory) = (["a=1@1", "x=9@1"], ["a/", "a/b=2@1", "a/c/", "a/c/d=3@1", "x=9@1"]);
    let listed = ["a=1@1", "x=9@1", "a/b=2@1", "a/c/d=3@1"];
    let way = |plan: &Plan| plan.removals.iter().filter(|it| it.is_first).count();
    let planned = |here: &[&'static str], there: &[&'static str], files: &[&str], deletes| {
        let options = SyncOptions::new().deletes(deletes);
        let mut target = tree(there, false);
        let plan = make_deploy(&mut tree(here, true), &mut target, files, &options);
        let is_cured = plan.failures.iter().any(|it| it.setting() == Some(Setting::Replaced));
        (summary(&plan), way(&plan), is_cured)
    };
    let of = |text: &str, way, is_cured| (text.to_owned(), way, is_cured);
    assert_eq!(planned(&directory, &file, &listed, true), of("+a/ +a/c/ a/b a/c/d -a", 1, false));
    assert_eq!(planned(&file, &directory, &listed, true), of("a -a/b -a/c/d -a/c -a", 4, false));
    for (here, there) in [(&directory[..], &file[..]), (&file, &directory)] {
        // Without deletions, the cure is told; what others have stored stays.
        assert_eq!(planned(here, there, &listed, false), of("!1", 0, true));
        assert_eq!(planned(here, there, &["x=9@1"], true), of("!1", 0, false));
        assert_eq!(planned(here, there, &["x=9@1"], false), of("!1", 0, false));
    }
    let others = ["a/", "a/b=2@1", "a/c/", "a/c/d=3@1", "a/c/photo=4@1", "x=9@1"];
    assert_eq!(planned(&file, &others, &listed, true), of("!1", 0, false));
}

#[test]
fn the_temporary_file_of_an_interrupted_upload_is_removed_cl_81() {
    let temporary = |is_on: bool| is_on.then(TemporaryName::standard);
    for (here, there, is_on, want) in [
        (&["a=5@9", "x=9@1"][..], ".in.a.0123456789abcdef=3@2", false, "a -.in.a.0123456789abcdef"),
        (&["a=5@9", "x=9@1"], ".in.a.0123456789abcdef=3@2", true, "a -.in.a.0123456789abcdef"),
        (&["x=9@1"], ".in.a.0123456789abcdef=3@2", false, "-.in.a.0123456789abcdef"),
        // What no deploy can have left stays.
        (&["a=5@9", "x=9@1"], ".in.a.0123456789abcdef=6@2", false, "a"),
        (&["a=5@9", "x=9@1"], ".in.b.0123456789abcdef=3@2", false, "a"),
        (&["a=5@9", "x=9@1"], ".in.a=3@2", false, "a"),
    ] {
        let options = SyncOptions::new().deletes(true).temporary(temporary(is_on));
        let mut target = tree(&[there, "x=9@1"], false);
        let files = ["!a=5@9", "x=9@1"];
        let plan = make_deploy(&mut tree(here, true), &mut target, &files, &options);
        assert_eq!(summary(&plan), want, "{here:?} {there} {is_on}");
    }
}

#[test]
fn a_file_that_is_not_listed_is_replaced_only_if_the_server_tells_that_it_is_missing_cl_81() {
    let options = SyncOptions::new();
    let here = ["d/", "d/.a=5@9", "x=9@1"];
    let (listed, refused) = (["d/", "x=9@1"], Some("d"));
    let told = |target: &mut Tree, files: &[&str]| {
        let plan = make_deploy(&mut tree(&here, true), target, files, &options);
        let reasons = plan.failures.iter().map(|it| it.to_string()).collect::<Vec<_>>();
        (summary(&plan), reasons.concat())
    };
    for (refused, hides) in [(refused, false), (None, true)] {
        let target = || Tree { refused, hides, ..tree(&listed, false) };
        // The list says that the file of this name is not of a deploy, is as deployed, or changed.
        for (files, hidden, want, why) in [
            (&["x=9@1"][..], &[][..], "d/.a", ""),
            (&["x=9@1"], &["d/.a=5@9"], "!1", "no earlier deploy stored"),
            (&["d/.a=5@7", "x=9@1"], &["d/.a=5@7"], "", ""),
            (&["d/.a=5@7", "x=9@1"], &["d/.a=6@7"], "!1", "changed on the server"),
            (&["d/.a=5@7", "x=9@1"], &[], "d/.a", ""),
        ] {
            let mut target = Tree { hidden: hidden.to_vec(), ..target() };
            let (plan, reason) = told(&mut target, files);
            assert_eq!(plan, want, "{hidden:?} {hides}");
            assert!(reason.contains(why), "{reason}");
        }
        let (plan, reason) = told(&mut Tree { tells: false, ..target() }, &["x=9@1"]);
        assert_eq!(plan, "!1", "{hides}");
        assert!(reason.contains("does not tell"), "{reason}");
    }
    // A listing can lack a name without an error, also that of a directory.
    for (listed, hidden, want, why) in [
        (&listed[..], "d/.a=6@7", "!1", "changed on the server"),
        (&["d/.a=6@7", "x=9@1"], "d/", "!1", "changed on the server"),
        (&listed, "d/.a=5@7", "", ""),
    ] {
        let mut target = Tree { hidden: vec![hidden], ..tree(listed, false) };
        let (plan, reason) = told(&mut target, &["d/.a=5@7", "x=9@1"]);
        assert_eq!(plan, want, "{hidden}");
        assert!(reason.contains(why), "{reason}");
    }
    // What is listed, and what no deploy has stored, needs no question.
    let mut target = tree(&["d/", "d/.a=5@9", "x=9@1"], false);
    told(&mut target, &["d/.a=5@9", "x=9@1"]);
    told(&mut tree(&listed, false), &["x=9@1"]);
    assert_eq!(target.asked, [""; 0]);
    // A directory that may be there is listed.
    let mut target = Tree { hidden: vec!["d/"], ..tree(&["d/.a=4@9", "x=9@1"], false) };
    target.doubt = Some(("", "a line that is not understood"));
    assert_eq!(told(&mut target, &["x=9@1"]).0, "!1");
}

#[test]
fn a_name_that_may_be_that_of_a_file_of_others_is_not_written_cl_81() {
    let options = SyncOptions::new().deletes(true);
    for (relation, files, want) in [
        (Relation::Two, &["x=9@1"][..], "a"),
        (Relation::Unclear, &["x=9@1"], "!2"),
        // The other name is that of an earlier deploy.
        (Relation::Unclear, &["A=4@1", "x=9@1"], "a !1"),
    ] {
        let mut target = Tree { relation, ..tree(&["A=4@1", "x=9@1"], false) };
        let plan = make_deploy(&mut tree(&["a=5@9", "x=9@1"], true), &mut target, files, &options);
        assert_eq!(summary(&plan), want, "{relation:?} {files:?}");
        // The failure already tells that it stays.
        assert_eq!(plan.left_out, [""; 0], "{relation:?} {files:?}");
    }
}
