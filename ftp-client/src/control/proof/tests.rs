use super::*;

fn code(value: u16) -> ReplyCode {
    ReplyCode::new(value).unwrap()
}

fn codes() -> impl Iterator<Item = ReplyCode> {
    (200..600).map(code)
}

/// All states that matter to the next reply.
fn states() -> [(&'static str, ProofStep); 5] {
    let after = |verb, replies: &[(Verb, u16)]| {
        let mut step = ProofStep::default();
        step.end_transfer(verb, code(226));
        for (verb, value) in replies {
            let _ = step.read(*verb, code(*value), false);
        }
        step
    };
    let mut banner = ProofStep::default();
    banner.log_in();
    [
        ("new", ProofStep::default()),
        ("after a login", banner),
        ("after an upload", after(Verb::Stor, &[])),
        ("after a download and an extra reply", after(Verb::Retr, &[(Verb::Size, 250)])),
        ("after a proof", after(Verb::Retr, &[(Verb::Size, 213)])),
    ]
}

#[test]
fn the_owners_of_a_code_are_the_commands_that_list_it() {
    for (value, verbs) in OWN {
        for verb in Verb::KNOWN.iter().filter(|verb| !verb.uses_data()) {
            let is_twin = (*verb, *value) == (Verb::Pasv, 229);
            let is_listed = is_listed(*verb, code(*value)) && !is_twin;
            assert_eq!(verbs.contains(verb), is_listed, "{value} {verb}");
        }
    }
    for verb in QUESTIONS {
        let owned = OWN.iter().filter(|(_, verbs)| verbs.contains(verb)).count();
        assert_eq!(owned, 1, "{verb} has one code of its own");
    }
}

#[test]
fn a_success_in_a_flight_has_a_code_of_its_command_cl_78() {
    for (verb, value, want) in [
        (Verb::Size, 213, true),
        (Verb::Size, 226, false),
        (Verb::Mdtm, 250, false),
        (Verb::Epsv, 229, true),
        (Verb::Epsv, 213, false),
        (Verb::Pasv, 227, true),
        (Verb::Pwd, 257, true),
        (Verb::Pwd, 250, false),
        (Verb::Dele, 250, true),
        (Verb::Mfmt, 213, true),
        (Verb::Mfmt, 253, true),
        (Verb::Size, 550, true),
        (Verb::Epsv, 500, true),
    ] {
        assert_eq!(is_in_place(verb, code(value)), want, "{verb} {value}");
    }
}

/// The tables of the program are lists; this one has a row for each command of RFCs and drafts, so that a
/// new one needs a decision here.
#[test]
fn each_command_has_the_protection_that_its_effect_needs_cl_13() {
    let asks = "RNFR PWD SYST STAT HELP NOOP FEAT MDTM SIZE MLST HASH AVBL DSIZ XCRC XMD5 XSHA XSHA1 \
        XSHA256 XSHA512";
    let sets = "USER PASS ACCT QUIT REIN PORT PASV TYPE STRU MODE RETR ALLO REST ABOR LIST NLST AUTH ADAT \
        PBSZ PROT CCC OPTS EPRT EPSV LPRT LPSV LANG MLSD HOST RANG CLNT CSID PRET SSCN CPSV";
    let table = [
        // (commands, needs proof, changes something, removes something, keeps the session)
        (asks, false, false, false, true),
        (sets, false, false, false, false),
        ("CWD CDUP SMNT", true, false, false, false),
        ("STOR STOU APPE RNTO MKD MFMT MFCT MFF", false, true, false, true),
        ("SITE COMB", true, true, false, false),
        ("DELE RMD RMDA", true, true, true, true),
        // Any command can be in them.
        ("MIC CONF ENC", true, true, false, false),
        ("XYZZY", true, true, false, false),
    ];
    let rows = table.iter().flat_map(|(words, ..)| words.split(' '));
    let mut rows: Vec<Verb> = rows.map(|word| Verb::parse(word.as_bytes()).unwrap()).collect();
    let unknown = rows.pop().unwrap();
    assert!(matches!(unknown, Verb::Other(_)));
    for verb in Verb::KNOWN {
        assert_eq!(rows.iter().filter(|row| *row == verb).count(), 1, "a row for {verb}");
    }
    assert_eq!(rows.len(), Verb::KNOWN.len());
    for (words, proof, change, removal, kept) in table {
        for word in words.split(' ') {
            let verb = Verb::parse(word.as_bytes()).unwrap();
            let found = (needs_proof(verb), changes(verb), REMOVALS.contains(&verb));
            assert_eq!(found, (proof, change, removal), "{verb}");
            assert_eq!(verb.keeps_session(), kept, "{verb}");
        }
    }
}

#[test]
fn every_reply_to_every_command_is_read_as_the_table_says() {
    let mut count = [0; 3];
    for verb in Verb::KNOWN.iter().copied() {
        for code in codes() {
            for (name, mut step) in states() {
                let was_in_doubt = step.is_in_doubt;
                let was_late = step.late.is_some();
                let reading = step.read(verb, code, false);
                let case = format!("{verb} {code} {name}");
                let owned = owners(code);
                let is_own = owned.is_some_and(|verbs| verbs.contains(&verb));
                let is_twin = matches!((verb, code.value()), (Verb::Epsv, 227) | (Verb::Pasv, 229));
                count[reading as usize] += 1;
                match reading {
                    ReplyMeaning::Answer => {
                        let is_of_feat = verb == Verb::Feat && matches!(code.value(), 221 | 350);
                        let is_odd = is_twin || is_of_feat && !was_in_doubt;
                        assert!(owned.is_none() || is_own || is_odd, "{case}");
                        // Only a code of its own settles a doubt.
                        assert_eq!(step.is_in_doubt, was_in_doubt && !is_own, "{case}");
                        assert_eq!(step.is_proved, is_own, "{case}");
                    }
                    ReplyMeaning::Late => {
                        assert_eq!(code.severity(), Severity::Completion, "{case}");
                        assert!(was_late && !is_listed(verb, code), "{case}");
                        assert!(step.is_in_doubt && step.late.is_none(), "{case}");
                    }
                    ReplyMeaning::Foreign => {
                        let is_extra = was_in_doubt && ends_transfer(code);
                        assert!(is_extra || owned.is_some() && !is_own, "{case}");
                    }
                }
                if was_in_doubt && needs_proof(verb) {
                    // The client does not send these before the doubt is settled.
                    assert!(is_own || step.is_in_doubt, "{case}");
                }
            }
        }
    }
    assert!(count.iter().all(|count| *count > 50), "{count:?}");
}

/// pyftpdlib answers `EPSV ALL` with 220, which is also the code of a late greeting.
#[test]
fn the_first_command_after_a_login_may_be_epsv_all() {
    let mut step = ProofStep::default();
    step.log_in();
    assert_eq!(step.read(Verb::Epsv, code(220), false), ReplyMeaning::Answer);
    step.log_in();
    assert_eq!(step.read(Verb::Noop, code(220), false), ReplyMeaning::Late);
}

#[test]
fn a_question_never_takes_the_end_of_a_transfer_for_its_answer() {
    for verb in QUESTIONS {
        for value in [226, 250] {
            let (_, mut step) = states().into_iter().nth(2).unwrap();
            assert_eq!(step.read(*verb, code(value), false), ReplyMeaning::Late, "{verb} {value}");
            // One extra reply is late, two are out of step.
            assert_eq!(
                step.read(*verb, code(value), false),
                ReplyMeaning::Foreign,
                "{verb} {value}"
            );
        }
    }
}

#[test]
fn one_proof_shows_whether_removals_are_answered_once() {
    let mut step = ProofStep::default();
    step.doubt_removals();
    assert!(!step.is_in_doubt());
    assert_eq!(step.read(Verb::Dele, code(250), false), ReplyMeaning::Answer);
    assert!(!step.is_in_doubt());
    step.doubt_removals();
    assert!(step.is_in_doubt());
    // The second answer to the removal is no answer to the question.
    assert_eq!(step.read(Verb::Pwd, code(250), false), ReplyMeaning::Foreign);
    assert_eq!(step.read(Verb::Pwd, code(257), false), ReplyMeaning::Answer);
    for _ in 0..3 {
        step.doubt_removals();
        assert!(!step.is_in_doubt());
        assert_eq!(step.read(Verb::Dele, code(550), false), ReplyMeaning::Answer);
    }
}

#[test]
fn an_upload_is_in_question_until_a_reply_proves_it() {
    let (_, mut step) = states().into_iter().nth(2).unwrap();
    assert_eq!(step.in_question(None), Some(Verb::Stor));
    assert_eq!(step.read(Verb::Noop, code(200), false), ReplyMeaning::Answer);
    assert_eq!(step.in_question(Some(Verb::Pwd)), Some(Verb::Stor));
    assert_eq!(step.read(Verb::Pwd, code(257), false), ReplyMeaning::Answer);
    assert_eq!(step.in_question(Some(Verb::Pwd)), None);
    assert_eq!(step.in_question(Some(Verb::Dele)), Some(Verb::Dele));
    step.quote();
    assert_eq!(step.in_question(None), Some(Verb::Pwd), "a new connection would lose settings");
}

#[test]
fn an_aborted_transfer_ends_the_proof_before_it() {
    let mut step = ProofStep::default();
    assert_eq!(step.read(Verb::Pwd, code(257), false), ReplyMeaning::Answer);
    assert!(step.is_proved() && !step.is_in_doubt());
    step.abort_transfer();
    assert!(!step.is_proved() && step.is_in_doubt());
}

#[test]
fn the_second_refusal_of_a_transfer_answers_no_port_command() {
    for (first, second, verb, want) in [
        (451, 451, Verb::Epsv, ReplyMeaning::Foreign),
        (451, 451, Verb::Pasv, ReplyMeaning::Foreign),
        (451, 425, Verb::Epsv, ReplyMeaning::Answer),
        (451, 229, Verb::Epsv, ReplyMeaning::Answer),
        (451, 451, Verb::Size, ReplyMeaning::Answer),
        (451, 451, Verb::Quit, ReplyMeaning::Late),
        (550, 550, Verb::Epsv, ReplyMeaning::Answer),
    ] {
        let mut step = ProofStep::default();
        assert_eq!(step.read(Verb::Retr, code(first), false), ReplyMeaning::Answer);
        let read = step.read(verb, code(second), false);
        assert_eq!(read, want, "{first} {second} {verb}");
    }
    let mut step = ProofStep::default();
    assert_eq!(step.read(Verb::Stor, code(450), false), ReplyMeaning::Answer);
    assert!(!step.read_idle(code(451)));
    assert!(step.read_idle(code(450)), "it comes before the next command");
    assert!(!step.read_idle(code(450)), "and only once");
}
