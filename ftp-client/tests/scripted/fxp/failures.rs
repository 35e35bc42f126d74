//! Server-to-server copies that fail: how the other server is stopped, and the final state of both.

use std::time::Duration;

use ftp_client::error::{Phase, Recovery};
use ftp_client::file::Side;
use ftp_client::{Canceller, Error, Verb};
use ftp_tests::fxp;
use ftp_tests::wait::patiently;

use super::Then::{Closed, Usable};
use super::{
    BEGUN, Meeting, PATIENCE, RELEASED, SOURCE_LISTENS, TARGET_LISTENS, TYPES, fails, fails_with,
    last_of, only, patient,
};
use crate::peer::{SHORT, timeouts};

/// The time for the last commands of a cancelled client.
const GOOD_BYE: Duration = Duration::from_secs(1);

#[test]
fn a_refusal_by_one_server_stops_the_other_fx_07() {
    let options = fxp::to(None);
    let both = [Usable, Usable];
    let begun = [TYPES, TARGET_LISTENS, BEGUN].concat();
    let before = [TYPES, TARGET_LISTENS, "s> RETR a\n s< 150 going\n t> STOR b\n"].concat();
    for (script, side, words) in [
        // Refused by the target, to whose port the source has connected: in each order of replies.
        (
            format!("{before} t< 553 bad name\n {RELEASED} s< 426 reset"),
            Side::Target,
            "target: STOR refused: 553 bad name; source: RETR aborted: 426 reset",
        ),
        (
            format!("{before} t< 553 bad name\n {RELEASED} s^\n s< 426 cut\n s< 226 ok"),
            Side::Target,
            "target: STOR refused: 553 bad name",
        ),
        (
            format!("{before} s< 226 sent\n t< 553 bad name"),
            Side::Target,
            "target: STOR refused: 553 bad name; the source confirmed that it sent the file",
        ),
        (
            format!("{before} t< 452 full\n t> PASV\n t< 500 what\n s^\n s< 226 done\n s< 225 ok"),
            Side::Target,
            "target: STOR refused: 452 full",
        ),
        // In the middle of the data.
        (
            format!("{begun} t< 452 disk full\n s^\n s< 426 cut\n s< 226 ok"),
            Side::Target,
            "target: STOR aborted: 452 disk full",
        ),
        (
            format!("{begun} s< 451 disk error\n t^\n t< 426 cut\n t< 226 ok"),
            Side::Source,
            "source: RETR aborted: 451 disk error",
        ),
        // Both fail at once: the reply with the reason counts.
        (
            format!("{begun} s< 426 broken pipe\n t< 552 quota"),
            Side::Target,
            "target: STOR aborted: 552 quota; source: RETR aborted: 426 broken pipe",
        ),
        (
            format!("{begun} s< 426 cut\n t< 426 cut too"),
            Side::Source,
            "source: RETR aborted: 426 cut; target: STOR aborted: 426 cut too",
        ),
        (
            format!("{before} s< 451 reset\n t< 553 no"),
            Side::Target,
            "target: STOR refused: 553 no; source: RETR aborted: 451 reset",
        ),
        // It ends the wait for the other server, which needs no ABOR.
        (
            format!("{begun} s< 226 sent\n t< 426 cut"),
            Side::Target,
            "target: STOR aborted: 426 cut; the source confirmed that it sent the file",
        ),
        (
            format!("{begun} t< 226 there\n s< 426 cut"),
            Side::Source,
            "426 cut; the target confirmed the partial file as complete",
        ),
        (
            format!("{begun} s< 451 disk\n t< 226 there"),
            Side::Source,
            "451 disk; the target confirmed the partial file as complete",
        ),
    ] {
        fails(&script, options, side, &[words], both);
    }
}

#[test]
fn a_closed_connection_leaves_the_other_usable_fx_07() {
    let begun = [TYPES, TARGET_LISTENS, BEGUN].concat();
    for (end, side, words, then) in [
        ("s< 421 bye\n t^\n t< 426 cut\n t< 226 ok", Side::Source, "421 bye", [Closed, Usable]),
        ("t< 421 bye\n s^\n s< 426 cut\n s< 226 ok", Side::Target, "421 bye", [Usable, Closed]),
        ("s!\n t^\n t< 426 cut\n t< 226 ok", Side::Source, "closed", [Closed, Usable]),
        ("t!\n s^\n s< 426 cut\n s< 226 ok", Side::Target, "closed", [Usable, Closed]),
        ("s< 226 ok\n t!", Side::Target, "closed", [Usable, Closed]),
        // A reply that cannot answer this command.
        ("s< 331 what\n t^\n t< 426 cut\n t< 226 ok", Side::Source, "331", [Closed, Usable]),
        ("s< 227 (1,2,3,4,5,6)\n t< 226 there", Side::Source, "227", [Closed, Usable]),
        ("t< 230 in\n s< 226 sent", Side::Target, "230", [Usable, Closed]),
        (
            "s< hello\n t^\n t< 426 cut\n t< 226 ok",
            Side::Source,
            "protocol error",
            [Closed, Usable],
        ),
    ] {
        fails(&format!("{begun} {end}"), fxp::to(None), side, &[words], then);
    }
    // Before any transfer has begun.
    for (end, side, words, then) in [
        ("t> PASV\n t< 227 nowhere", Side::Target, "protocol error", [Usable, Closed]),
        ("t> PASV\n t< 421 bye", Side::Target, "421 bye", [Usable, Closed]),
        ("t> PASV\n t< 530 who?", Side::Target, "530 who?", [Usable, Usable]),
        ("t> PASV\n t!", Side::Target, "closed", [Usable, Closed]),
    ] {
        fails(&format!("{TYPES} {end}"), fxp::to(None), side, &[words], then);
    }
    // Confirmed before the target could connect.
    let script = [TYPES, SOURCE_LISTENS, "s> RETR a\n s< 226 already sent"].concat();
    let options = only(Side::Source);
    fails(&script, options, Side::Source, &["226 already"], [Usable, Usable]);
    let script = [TYPES, TARGET_LISTENS, "s> RETR a\n s< 200 what"].concat();
    fails(&script, fxp::to(None), Side::Source, &["200 what"], [Closed, Usable]);
    // The target has gone before its command, or goes while the client waits for the source.
    let aborted = "s^\n s< 426 cut\n s< 226 ok";
    for script in [
        format!("{TYPES} {TARGET_LISTENS} t!\n s> RETR a\n s< 150 go\n {aborted}"),
        format!("{TYPES} {TARGET_LISTENS} s> RETR a\n t!\n {aborted}"),
    ] {
        fails(&script, fxp::to(None), Side::Target, &["closed"], [Usable, Closed]);
    }
}

#[test]
fn a_hanging_server_is_closed_and_the_other_stopped_fx_07_cl_12() {
    let options = only(Side::Target);
    let begun = [TYPES, TARGET_LISTENS, BEGUN].concat();
    let before = [TYPES, TARGET_LISTENS, "s> RETR a\n"].concat();
    let (source, target) = ("source: timed out", "target: timed out");
    for (script, side, words, then, want) in [
        // The last reply of one server never comes.
        (format!("{begun} s< 226 sent"), Side::Target, target, [Usable, Closed], Phase::FinalReply),
        (
            format!("{begun} t< 226 there"),
            Side::Source,
            source,
            [Closed, Usable],
            Phase::FinalReply,
        ),
        // The target does not even begin.
        (
            format!("{before} s< 150 go\n t> STOR b\n s^\n s< 426 cut\n s< 226 ok"),
            Side::Target,
            "target: STOR got no reply; the server may still carry it out",
            [Usable, Closed],
            Phase::Reply(Some(Verb::Stor)),
        ),
        (before, Side::Source, source, [Closed, Usable], Phase::Reply(Some(Verb::Retr))),
        // Both have begun, and nothing more comes: only the overall limit ends that.
        (
            format!("{begun} t^\n t< 426 cut\n t< 226 ok"),
            Side::Source,
            source,
            [Closed, Usable],
            Phase::Overall,
        ),
    ] {
        let is_overall = want == Phase::Overall;
        patiently(if is_overall { SHORT * 6 } else { SHORT }, |limit| {
            let mut limits = patient();
            let hasty = &mut limits[usize::from(side == Side::Target)];
            match is_overall {
                true => hasty.1 = Some(limit),
                false => (hasty.0.reply, hasty.0.final_reply) = (limit, limit),
            }
            let error = fails_with(&script, options, limits, (side, &[words]), then);
            match last_of(&error).error {
                Error::Timeout(phase) => assert_eq!(phase, want, "{script}"),
                Error::Uncertain { verb, .. } => {
                    assert_eq!(Phase::Reply(Some(verb)), want, "{script}");
                    assert_eq!(error.recovery(), Recovery::Impossible);
                }
                _ => panic!("{error}"),
            }
        });
    }
}

#[test]
fn a_reply_flood_does_not_hide_the_other_servers_error_fx_07_hc_17() {
    for (who, says, side) in [("s", "t< 452 full", Side::Target), ("t", "s< 451 bad", Side::Source)]
    {
        let script = [TYPES, TARGET_LISTENS, BEGUN, who, "~\n", says].concat();
        let then = if who == "s" { [Closed, Usable] } else { [Usable, Closed] };
        patiently(PATIENCE, |reply| {
            let soon = timeouts().reply(reply);
            let limits = [(soon, None, None), (soon, None, None)];
            let mut meeting = Meeting::with(&script, then, limits, ["127.0.0.1:0"; 2]);
            let error = meeting.copy(only(Side::Target)).unwrap_err();
            assert_eq!(last_of(&error).side, side, "{error}");
            meeting.end(who, then);
        });
    }
}

#[test]
fn an_unanswered_abort_closes_the_connection_cl_11_cl_15() {
    let begun = [TYPES, TARGET_LISTENS, BEGUN].concat();
    for answers in ["", "t< 426 cut\n"] {
        // With more time, the client would send NOOP.
        let reply = SHORT * 4;
        let error = patiently(reply, |_| {
            let mut limits = patient();
            limits[1].0.reply = reply;
            fails_with(
                &format!("{begun} s< 451 disk\n t^\n {answers}"),
                fxp::to(None),
                limits,
                (Side::Source, &["source: RETR aborted: 451 disk; target: timed out"]),
                [Usable, Closed],
            )
        });
        assert!(matches!(last_of(&error).other, Some(Error::Timeout(Phase::Reply(_)))));
    }
}

#[test]
fn a_cancelled_copy_ends_and_quit_aborts_its_transfers_cl_15() {
    let begun = [TYPES, TARGET_LISTENS, BEGUN].concat();
    let left = "s^\n s< 426 cut\n s< 226 ok\n s> QUIT\n s< 221 bye\n \
                t^\n t< 426 cut\n t< 226 ok\n t> QUIT\n t< 221 bye\n";
    let waiting = [TYPES, TARGET_LISTENS, "s> RETR a\n"].concat();
    let not_begun = "s^\n s< 426 cut\n s< 226 ok\n s> QUIT\n s< 221 bye\n t> QUIT\n t< 221 bye\n";
    // One canceller for both, or that of either.
    for (script, shared, side) in [
        (format!("{begun} s*\n {left}"), true, Side::Source),
        (format!("{begun} s*\n {left}"), false, Side::Source),
        (format!("{begun} t*\n {left}"), false, Side::Target),
        (format!("{waiting} s*\n {not_begun}"), false, Side::Source),
        (format!("{waiting} t*\n {not_begun}"), false, Side::Target),
    ] {
        patiently(GOOD_BYE, |_| {
            let mut limits = patient();
            let canceller = Canceller::new().unwrap();
            for (of, (_, _, slot)) in [Side::Source, Side::Target].into_iter().zip(&mut limits) {
                *slot = (shared || of == side).then(|| canceller.clone());
            }
            let mut meeting = Meeting::with(&script, [Closed, Closed], limits, ["127.0.0.1:0"; 2]);
            let error = meeting.copy(only(None)).unwrap_err();
            let last = last_of(&error);
            assert!(matches!(last.error, Error::Cancelled) && last.side == side, "{error}");
            meeting.quit();
        });
    }
}
