//! The client with servers that break the rules. Their behaviour and the required result of each
//! call are in the tables beside this file; `ftp_tests::hostile` explains the format.
//!
//! For every behaviour: each call ends in time, missing bytes are never a success, an error stays
//! an error, and its text is one line without control characters.

#![expect(clippy::unwrap_used, reason = "what tests call panics as they do")]

mod calls;
mod generated;
mod memory;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ftp_client::{Client, Extended, Mode, Timeouts};
use ftp_tests::at_once::at_once;
use ftp_tests::hostile::{Behaviour, Cut, Played, Server, Want, behaviours};
use ftp_tests::wait::try_patiently;

use crate::calls::Outcome;

/// Lines of `docs/dev/hostile.md` that this library does not prove: those about local files and a
/// terminal belong to the command line, HC-02 to server-to-server copies, HC-26 to TLS, and HC-33
/// to connectors.
const ELSEWHERE: [&str; 6] = ["HC-02", "HC-06", "HC-07", "HC-08", "HC-26", "HC-33"];

/// The minimum number of behaviours, so that none is lost.
const BEHAVIOURS: usize = 700;

/// A timeout that a call reaches, if the machine is not busy.
const SHORT: Duration = Duration::from_millis(250);

/// A timeout that no call reaches.
const LONG: Duration = Duration::from_secs(90);

/// The longest duration of a call, including connecting and logging in: many times what it needs.
const BOUND: Duration = Duration::from_secs(60);

/// Behaviours at a time; nearly all of them wait.
const AT_A_TIME: usize = 32;

#[test]
fn every_behaviour_has_its_outcome_cl_11_cl_12() {
    let _alone = memory::alone();
    let behaviours = behaviours();
    let mut plays: Vec<_> = behaviours
        .iter()
        .flat_map(|behaviour| behaviour.wants.iter().map(move |want| (behaviour, want)))
        .collect();
    // Memory is measured while nothing else runs.
    let measured: Vec<_> = plays.extract_if(.., |(_, want)| want.memory.is_some()).collect();
    let found = at_once(AT_A_TIME, plays, |(behaviour, want)| fault(behaviour, want));
    let measured = measured.into_iter().map(|(behaviour, want)| fault(behaviour, want));
    let faults: Vec<_> = found.into_iter().chain(measured).flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_hostile_server_requirement_has_a_behaviour() {
    let behaviours = behaviours();
    assert!(behaviours.len() >= BEHAVIOURS, "{} behaviours", behaviours.len());
    let names: BTreeSet<_> = behaviours.iter().map(|behaviour| &behaviour.name).collect();
    assert_eq!(names.len(), behaviours.len(), "a name stands twice");
    for behaviour in &behaviours {
        assert!(!behaviour.wants.is_empty(), "{} is asked nothing", behaviour.name);
    }
    let claimed: BTreeSet<_> = behaviours.iter().flat_map(|behaviour| &behaviour.ids).collect();
    for number in 1..=34 {
        let id = format!("HC-{number:02}");
        let is_ours = !ELSEWHERE.contains(&id.as_str());
        assert_eq!(claimed.contains(&id), is_ours, "{id}");
    }
}

/// Returns the fault of a call's result.
fn fault(behaviour: &Behaviour, want: &Want) -> Option<String> {
    let found = patient_faults(behaviour, want, None)?;
    Some(format!("{}: {}: {found}", behaviour.name, want.call))
}

/// Makes the requested call, and returns what is wrong with its result.
fn patient_faults(behaviour: &Behaviour, want: &Want, cut: Option<Cut>) -> Option<String> {
    let call = |short| {
        let found = play(behaviour, want, cut, short).faults;
        if found.is_empty() { Ok(()) } else { Err(found.join(", ")) }
    };
    try_patiently(SHORT, call).err()
}

/// The result of a call.
struct Made {
    faults: Vec<String>,
    played: Played,
}

/// Makes the requested call, with timeouts of `short` where it must reach one, and returns its
/// result as both sides saw it.
fn play(behaviour: &Behaviour, want: &Want, cut: Option<Cut>, short: Duration) -> Made {
    let server = Server::start(behaviour, cut);
    let mut faults = Vec::new();
    let mut growth = want.memory.map(|_| memory::Growth::begin());
    let started = Instant::now();
    let mut client = None;
    let outcome = calls::login(builder(behaviour, want, short), server.address(), &mut client)
        .and_then(|()| client.as_mut().map_or(Ok(Outcome::Done), |it| calls::make(it, &want.call)));
    let is_usable = client.as_mut().is_some_and(calls::is_usable);
    drop(client);
    let took = started.elapsed();
    if let (Some(most), Some(growth)) = (want.memory, growth.take())
        && let Some(grown) = growth.end().filter(|grown| *grown > most)
    {
        faults.push(format!("it grew by {} KiB", grown / 1_024));
    }
    let played = server.end();
    if took > BOUND {
        faults.push(format!("it took {took:?}"));
    }
    faults.extend(played.violations.iter().cloned());
    let outcome = match outcome {
        Ok(outcome) => outcome.judged(&played).unwrap_or_else(|lie| {
            faults.push(lie);
            "a lie".to_owned()
        }),
        Err(error) => {
            let text = error.to_string();
            if text.chars().any(char::is_control) {
                faults.push(format!("the text of the error is {text:?}"));
            }
            calls::described(&error)
        }
    };
    if !want.outcomes.contains(&outcome) {
        faults.push(format!("{outcome}, not {}", want.outcomes.join(" or ")));
    }
    if want.usable.is_some_and(|usable| usable != is_usable) {
        faults.push(format!("the client is {}", if is_usable { "usable" } else { "closed" }));
    }
    Made { faults, played }
}

fn builder(behaviour: &Behaviour, want: &Want, soon: Duration) -> ftp_client::ClientBuilder {
    let waited = want.outcomes.iter().filter_map(|outcome| outcome.split_once("timeout "));
    let waited = waited.map(|(_, phase)| phase.trim_end_matches(')'));
    let short: Vec<&str> = behaviour.short.iter().map(String::as_str).chain(waited).collect();
    let limit = |phase| if short.contains(&phase) { soon } else { LONG };
    let timeouts = Timeouts::new()
        .resolve(LONG)
        .connect(LONG)
        .greeting(limit("greeting"))
        .handshake(limit("handshake"))
        .reply(limit("reply"))
        .data_connect(limit("data-connect"))
        .stall(limit("stall"))
        .final_reply(limit("final-reply"));
    let extended = if behaviour.old { Extended::Never } else { Extended::Auto };
    let mode = if behaviour.active { Mode::Active } else { Mode::Passive };
    Client::builder().timeouts(timeouts).mode(mode).epsv(extended).eprt(extended)
}
