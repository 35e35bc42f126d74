//! Cuts at each step: the server is sound, but its control connection ends, breaks or falls silent
//! after each of its lines, and in the middle of each.

use ftp_tests::hostile::{Behaviour, Cut, How, Want};

use crate::{memory, play};

/// Returns the acceptable results of a call that was cut in this way.
const fn outcomes(how: How) -> &'static [&'static str] {
    match how {
        // A data connection that was not accepted is reset, and the client may see that first.
        How::End | How::Reset => &["closed", "io"],
        How::Silence => {
            &["timeout greeting", "timeout reply", "timeout stall", "timeout final-reply"]
        }
    }
}

#[test]
fn a_dialogue_cut_anywhere_is_no_success_cl_12_hc_19_hc_20_hc_34() {
    let _alone = memory::alone();
    let mut faults = Vec::new();
    let mut count = 0;
    std::thread::scope(|scope| {
        let calls = ["login", "get", "put", "append", "list", "resume", "pwd", "delete"];
        let threads: Vec<_> = calls.map(|call| scope.spawn(move || cut_everywhere(call))).into();
        for thread in threads {
            let (cuts, found) = thread.join().unwrap();
            count += cuts;
            faults.extend(found);
        }
    });
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(count >= 300, "only {count} cuts");
}

/// Returns the number of cuts, and the faults of the calls.
fn cut_everywhere(call: &str) -> (usize, Vec<String>) {
    let want = |outcomes: &[&str], usable| Want {
        call: call.to_owned(),
        outcomes: outcomes.iter().map(|outcome| (*outcome).to_owned()).collect(),
        usable: Some(usable),
        memory: None,
    };
    let mut sound = Behaviour::sound();
    let whole = play(&sound, &want(&["ok", "value /probe"], true), None);
    assert!(whole.faults.is_empty(), "{call}: {:?}", whole.faults);
    // The last line answers the probe after the call.
    let lines = whole.played.line_ends.split_last().unwrap().1;
    let phases = ["greeting", "reply", "stall", "final-reply"];
    let (mut count, mut faults) = (0, Vec::new());
    for how in [How::End, How::Reset, How::Silence] {
        let mut start = 0_usize;
        for end in lines {
            for at in [start + 1, start.midpoint(*end), *end - 1, *end] {
                let is_whole = Some(&at) == lines.last();
                let want = match is_whole {
                    true => want(&["ok", "value /probe"], false),
                    false => want(outcomes(how), false),
                };
                // The probe after a complete call waits for a reply too.
                sound.short = match how {
                    How::Silence if is_whole => vec!["reply".to_owned()],
                    How::Silence => phases.map(str::to_owned).to_vec(),
                    How::End | How::Reset => Vec::new(),
                };
                let found = play(&sound, &want, Some(Cut { at, how })).faults;
                count += 1;
                if !found.is_empty() {
                    faults.push(format!("{call} cut at {at} by {how:?}: {}", found.join(", ")));
                }
            }
            start = *end;
        }
    }
    (count, faults)
}
