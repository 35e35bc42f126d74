//! Cuts at each step: the server is sound, but its control connection ends, breaks or falls silent
//! after each of its lines, and in the middle of each.

use ftp_tests::at_once::at_once;
use ftp_tests::hostile::{Behaviour, Cut, How, Want};

use crate::{AT_A_TIME, SHORT, memory, patient_faults, play};

/// Returns the acceptable results of a call that was cut in this way.
fn outcomes(call: &str, how: How) -> &'static [&'static str] {
    match how {
        // The session ends with its data port: the client sees first that its data connection is reset
        // or refused, or that the session ends. Each is a failure; success and timeouts are not here.
        How::End | How::Reset if !["login", "pwd", "delete"].contains(&call) => {
            &["closed", "io", "data (io)"]
        }
        How::End | How::Reset => &["closed", "io"],
        How::Silence => {
            &["timeout greeting", "timeout reply", "timeout stall", "timeout final-reply"]
        }
    }
}

#[test]
fn a_session_cut_at_any_point_is_never_a_success_cl_12_hc_19_hc_20_hc_34() {
    let _alone = memory::alone();
    let calls = ["login", "get", "put", "append", "list", "resume", "pwd", "delete"];
    let cuts: Vec<_> = calls.into_iter().flat_map(cuts).collect();
    let count = cuts.len();
    let found = at_once(AT_A_TIME, cuts, |(call, at, is_whole, how)| {
        let faults = cut(call, at, is_whole, how)?;
        Some(format!("{call} cut at {at} by {how:?}: {faults}"))
    });
    let faults: Vec<_> = found.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(count >= 300, "only {count} cuts");
}

/// Returns the cuts of a call: where, whether the call is complete there, and how.
fn cuts(call: &'static str) -> Vec<(&'static str, usize, bool, How)> {
    let whole = play(&Behaviour::sound(), &want(call, &["ok", "value /probe"], true), None, SHORT);
    assert!(whole.faults.is_empty(), "{call}: {:?}", whole.faults);
    // The last line answers the probe after the call.
    let lines = whole.played.line_ends.split_last().unwrap().1;
    let starts = [0].iter().chain(lines);
    let of_line =
        |(&start, &end): (&usize, &usize)| [start + 1, usize::midpoint(start, end), end - 1, end];
    let places: Vec<_> = starts.zip(lines).flat_map(of_line).collect();
    let cut = |how| {
        places.iter().map(move |at| (call, *at, Some(at) == lines.last(), how)).collect::<Vec<_>>()
    };
    [How::End, How::Reset, How::Silence].into_iter().flat_map(cut).collect()
}

fn want(call: &str, outcomes: &[&str], usable: bool) -> Want {
    Want {
        call: call.to_owned(),
        outcomes: outcomes.iter().map(|outcome| (*outcome).to_owned()).collect(),
        usable: Some(usable),
        memory: None,
    }
}

/// Makes a call that is cut, and returns what is wrong with its result.
fn cut(call: &str, at: usize, is_whole: bool, how: How) -> Option<String> {
    let outcomes = if is_whole { &["ok", "value /probe"] } else { outcomes(call, how) };
    // The probe after a complete call waits for a reply too.
    let short: &[&str] = match how {
        How::Silence if is_whole => &["reply"],
        How::Silence => &["greeting", "reply", "stall", "final-reply"],
        How::End | How::Reset => &[],
    };
    let mut sound = Behaviour::sound();
    sound.short = short.iter().map(|phase| (*phase).to_owned()).collect();
    patient_faults(&sound, &want(call, outcomes, false), Some(Cut { at, how }))
}
