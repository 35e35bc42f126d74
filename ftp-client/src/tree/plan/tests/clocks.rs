//! Tests plans by the clock of the target, and by times that it sets or rounds.

use super::*;

fn by_clock(
    clock: Option<Clock>,
    source: &[&'static str],
    target: &[&'static str],
) -> (Plan, String) {
    let mut source = tree(source, true);
    let mut target = tree(target, false);
    target.clock = clock;
    let wish = (&SyncOptions::new(), Rule::NotBefore, 5_000);
    let plan = make_by(&mut source, &mut target, false, wish).unwrap();
    let text = summary(&plan);
    (plan, text)
}

#[test]
fn a_fast_target_clock_does_not_hide_a_change() {
    let ahead = Some(Clock { least: 32_399, most: 32_401 });
    // Stored at 1,000 local time, with the source changed after or before that; both sizes are
    // equal.
    let there = &["a=5@33400", "b=5@33400"];
    let (plan, text) = by_clock(ahead, &["a=5@2000", "b=5@900"], there);
    assert_eq!((text.as_str(), plan.same), ("a", 1));
    assert_eq!(plan.left_out.len(), 1, "{:?}", plan.left_out);
    assert!(plan.left_out[0].contains("is 9:00:00 fast"), "{:?}", plan.left_out);
    // Without a measured clock, the time may be in any zone.
    let (plan, text) = by_clock(None, &["a=5@2000", "b=5@900"], &["a=5@33400", "b=5@80000"]);
    assert_eq!((text.as_str(), plan.same), ("a", 1));
    let (plan, text) = by_clock(Some(Clock::OURS), &["a=5@900"], &["a=5@1000"]);
    assert_eq!((text.as_str(), plan.same, plan.left_out.len()), ("", 1, 0));
}

#[test]
fn an_unknown_source_clock_hides_no_change() {
    // Copied at 10,000. The source changed at 20,000, which its server reports as 2,000.
    let mut source = tree(&["a=5@2000"], false);
    let mut target = tree(&["a=5@10000"], false);
    let options = SyncOptions::new();
    let wish = (&options, Rule::NotBefore, 9);
    let plan = make_by(&mut source, &mut target, false, wish).unwrap();
    assert_eq!(summary(&plan), "a");
    // Half a day later, the order is certain in every time zone.
    let mut target = tree(&["a=5@46000"], false);
    let plan = make_by(&mut source, &mut target, false, wish).unwrap();
    assert_eq!((summary(&plan).as_str(), plan.same), ("", 1));
}

#[test]
fn a_file_is_not_taken_for_old_by_a_clock_of_another_zone() {
    let slow = Clock { least: -32_400, most: -32_400 };
    for (clock, is_dry, want, failed) in [
        (Some(Clock::OURS), false, "old young", 0),
        (Some(slow), false, "old", 0),
        (None, false, "old !1", 1),
        (None, true, "old young", 0),
    ] {
        let mut source = Tree { clock, ..tree(&["old=5@1000", "young=5@70000"], false) };
        let options = SyncOptions::new().moves(true).times(None, Some(100_000)).is_dry(is_dry);
        let wish = (&options, Rule::SameTime, 9);
        let plan = make_by(&mut source, &mut tree(&[], true), false, wish).unwrap();
        assert_eq!((summary(&plan).as_str(), plan.failures.len()), (want, failed), "{clock:?}");
    }
}

#[test]
fn an_unmeasurable_clock_is_tried_in_few_directories() {
    let mut source = tree(&["a=5@900", "b=5@900"], true);
    let mut target = Tree { clock: None, ..tree(&["a=5@100000", "b=5@100000"], false) };
    let options = SyncOptions::new();
    let wish = (&options, Rule::NotBefore, 99);
    let plan = make_by(&mut source, &mut target, false, wish).unwrap();
    let asked = target.asked.iter().filter(|asked| asked.starts_with("clock"));
    assert_eq!((asked.count(), plan.same), (1, 2), "{:?}", target.asked);
    let note = "the top directory: the server's clock is unknown";
    assert!(plan.left_out[0].starts_with(note), "{:?}", plan.left_out);
}

#[test]
fn the_clock_is_measured_once_and_only_if_it_matters() {
    let mut target = tree(&["a=5@33400", "b=5@33400", "c=1@3"], false);
    let mut source = tree(&["a=5@900", "b=5@900", "c=2@3"], true);
    let mut asked = |rule, is_dry| {
        let options = SyncOptions::new().is_dry(is_dry);
        target.asked.clear();
        let plan = make_by(&mut source, &mut target, false, (&options, rule, 9)).unwrap();
        let asked = target.asked.iter().filter(|asked| asked.starts_with("clock")).count();
        (asked, plan.left_out.len())
    };
    assert_eq!(asked(Rule::NotBefore, false), (1, 0));
    assert_eq!(asked(Rule::NotBefore, true), (0, 1));
    assert_eq!(asked(Rule::SameTime, false), (0, 0));
    assert_eq!(asked(Rule::SizeOnly, false), (0, 0));
}

#[test]
fn a_dry_run_leaves_out_no_copy_because_of_the_servers_clock() {
    // The server's clock may be fast, so that only one time proves the order.
    for (is_dry, want) in [(true, "a"), (false, "")] {
        let mut target = tree(&["a=5@1000", "b=5@80000"], false);
        target.clock = Some(Clock::OURS);
        let options = SyncOptions::new().is_dry(is_dry);
        let wish = (&options, Rule::NotBefore, 9);
        let source = &mut tree(&["a=5@900", "b=5@900"], true);
        let plan = make_by(source, &mut target, false, wish).unwrap();
        assert_eq!(summary(&plan), want);
    }
    // A local target has the clock of this computer.
    let options = SyncOptions::new().is_dry(true);
    let (mut source, mut target) = (tree(&["a=5@900"], false), tree(&["a=5@80000"], true));
    target.clock = Some(Clock::OURS);
    let plan = make_by(&mut source, &mut target, false, (&options, Rule::NotBefore, 9)).unwrap();
    assert!(plan.left_out.is_empty(), "{:?}", plan.left_out);
}

#[test]
fn a_server_that_sets_no_times_gets_a_file_once() {
    // `b` is older there, as if another program had written it.
    let (here, there) = (["a=5@100", "b=5@100", "c=5@100"], ["a=5@200", "b=5@90", "c=5@300"]);
    for (drops_times, want) in [(true, "b"), (false, "a b c")] {
        let mut target = tree(&there, false);
        target.time_error = Some(if drops_times { 1 << 20 } else { 0 });
        let options = SyncOptions::new();
        let wish = PlanOptions { options: &options, rule: Rule::SameTime, objects: 99, top: None };
        let plan = Plan::make(&mut tree(&here, true), &mut target, false, &wish, None).unwrap();
        assert_eq!((summary(&plan).as_str(), plan.drops_times), (want, drops_times));
        let asked = target.asked.iter().filter(|asked| asked.starts_with("times")).count();
        assert_eq!(asked, 1, "{:?}", target.asked);
    }
}

#[test]
fn times_rounded_by_fat_count_as_unchanged() {
    let source = ["a=5@101", "b=5@101", "c=5@101", "d=5@100", "e=5@103"];
    let target = ["a=5@100", "b=5@102", "c=5@99", "d=5@101", "e=5@100"];
    for (is_coarse, want) in [(true, "c d e"), (false, "a b c d e")] {
        let mut source = tree(&source, false);
        let mut target = tree(&target, true);
        target.time_error = Some(u64::from(is_coarse));
        let plan = make(&mut source, &mut target);
        assert_eq!(summary(&plan), want);
        let asked = target.asked.iter().filter(|asked| asked.starts_with("times")).count();
        assert_eq!(asked, 2, "once for the directory, and once for the run");
    }
}
