//! The client against servers that do what no server should. What they do, and what the client
//! has to make of it, stands in the tables beside this file; `ftp_tests::hostile` says how to read
//! them.
//!
//! For every one of them also holds: each call ends in time, no success is told for bytes that did
//! not arrive, an error stays an error, and its text is one line without control characters.

#![expect(clippy::unwrap_used, reason = "what tests call panics as they do")]

mod calls;
mod generated;
mod memory;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ftp_client::{Client, Extended, Mode, Timeouts};
use ftp_tests::at_once::at_once;
use ftp_tests::hostile::{Behaviour, Cut, Played, Server, Want, behaviours};

use crate::calls::Outcome;

/// Lines of `docs/hostile.md` that are not the library's: those about local files and a terminal
/// are the command line's, HC-02 is proved where servers copy to each other, HC-26 belongs to TLS,
/// and HC-33 to connectors.
const ELSEWHERE: [&str; 6] = ["HC-02", "HC-06", "HC-07", "HC-08", "HC-26", "HC-33"];

/// How many behaviours there are at least, so that none is lost.
const BEHAVIOURS: usize = 700;

/// A limit that a call runs into.
const SHORT: Duration = Duration::from_millis(250);

/// A limit that no call runs into.
const LONG: Duration = Duration::from_secs(90);

/// How long a call, with connecting and logging in, may take: many times what it should.
const BOUND: Duration = Duration::from_secs(60);

/// How many are played at a time; nearly all of them wait.
const AT_A_TIME: usize = 16;

#[test]
fn every_behaviour_has_its_outcome_cl_11_cl_12() {
    let _alone = memory::alone();
    let behaviours = behaviours();
    let mut plays: Vec<_> = behaviours
        .iter()
        .flat_map(|behaviour| behaviour.wants.iter().map(move |want| (behaviour, want)))
        .collect();
    // Memory is measured where nothing else runs.
    let measured: Vec<_> = plays.extract_if(.., |(_, want)| want.memory.is_some()).collect();
    let found = at_once(AT_A_TIME, plays, |(behaviour, want)| fault(behaviour, want));
    let measured = measured.into_iter().map(|(behaviour, want)| fault(behaviour, want));
    let faults: Vec<_> = found.into_iter().chain(measured).flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_line_about_servers_has_a_behaviour() {
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

/// What is wrong with what came of it.
fn fault(behaviour: &Behaviour, want: &Want) -> Option<String> {
    let found = play(behaviour, want, None).faults;
    let name = format!("{}: {}", behaviour.name, want.call);
    (!found.is_empty()).then(|| format!("{name}: {}", found.join(", ")))
}

/// What came of a call.
struct Result {
    faults: Vec<String>,
    played: Played,
}

/// Makes the call that is wanted, and looks at what came of it from both sides.
fn play(behaviour: &Behaviour, want: &Want, cut: Option<Cut>) -> Result {
    let server = Server::start(behaviour, cut);
    let mut faults = Vec::new();
    let mut growth = want.memory.map(|_| memory::Growth::begin());
    let started = Instant::now();
    let mut client = None;
    let outcome = calls::login(builder(behaviour, want), server.address(), &mut client)
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
    Result { faults, played }
}

fn builder(behaviour: &Behaviour, want: &Want) -> ftp_client::ClientBuilder {
    let waited = want.outcomes.iter().filter_map(|outcome| outcome.split_once("timeout "));
    let waited = waited.map(|(_, phase)| phase.trim_end_matches(')'));
    let short: Vec<&str> = behaviour.short.iter().map(String::as_str).chain(waited).collect();
    let limit = |phase| if short.contains(&phase) { SHORT } else { LONG };
    let timeouts = Timeouts {
        resolve: LONG,
        connect: LONG,
        greeting: limit("greeting"),
        handshake: limit("handshake"),
        reply: limit("reply"),
        data_connect: limit("data-connect"),
        stall: limit("stall"),
        final_reply: limit("final-reply"),
    };
    let extended = if behaviour.old { Extended::Never } else { Extended::Auto };
    let mode = if behaviour.active { Mode::Active } else { Mode::Passive };
    Client::builder().timeouts(timeouts).mode(mode).epsv(extended).eprt(extended)
}
