use super::*;
use crate::exit::Exit;

#[test]
fn the_exit_code_is_partial_if_some_files_succeeded() {
    let messages = Messages::new(std::io::sink(), false);
    let events = Events::default();
    let failure = |exit, fatal| Failure { fatal, ..Failure::new(exit, "no") };
    for (all, done, failures, want, words) in [
        (1, 0, &[(Exit::Refused, false)][..], Exit::Refused, "no"),
        (3, 2, &[(Exit::Refused, false)], Exit::Partial, "2 of 3 files sent, 1 failed, 0 not"),
        (3, 1, &[(Exit::Temporary, true)], Exit::Partial, "no; 1 of 3 files sent, 1 failed, 1"),
        (2, 0, &[(Exit::Local, false), (Exit::Refused, false)], Exit::Refused, "0 of 2 files"),
        (2, 1, &[(Exit::Interrupted, true)], Exit::Interrupted, "no; 1 of 2 files"),
    ] {
        let mut tally = Tally::new(all, "files sent", &messages, &events);
        (0..done).for_each(|_| tally.done());
        for (exit, fatal) in failures {
            let flow = tally.failed(failure(*exit, *fatal), |error| error);
            assert_eq!(flow.is_break(), *fatal);
        }
        let failure = tally.finish().unwrap_err();
        assert_eq!(failure.exit, want);
        assert!(failure.reported && failure.message.starts_with(words), "{}", failure.message);
    }
    let mut tally = Tally::new(2, "files sent", &messages, &events);
    tally.done();
    tally.done();
    assert!(tally.finish().is_ok());
}
