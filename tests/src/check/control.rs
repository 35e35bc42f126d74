//! The control connection in both directions: command lines, arguments, replies, features.

use ftp_proto::{
    Command, Exchange, Features, LineDecoder, LineEvent, ParseError, ParseErrorKind, Progress,
    RawCommand, Reply, ReplyDecoder, Verb, limits,
};

use super::{any_chunking, assert_shown, breaks_lines};

const IAC: u8 = 255;

/// Checks bytes from a client: [`LineDecoder`], lenient and strict, then [`Command`] on each line.
///
/// So that short input can reach the limits, input that begins with 0xF1 or 0xF2 is preceded by
/// filler up to [`limits::COMMAND_LINE`] or [`limits::UNTERMINATED`].
pub fn command_line(data: &[u8]) {
    let filler = |limit: usize, rest: &[u8]| vec![b'x'; limit.saturating_sub(rest.len() / 2)];
    match data.split_first() {
        Some((0xF1, rest)) => lines(&filler(limits::COMMAND_LINE, rest), rest),
        Some((0xF2, rest)) => lines(&filler(limits::UNTERMINATED, rest), rest),
        _ => lines(&[], data),
    }
}

/// Returns `pieces` with `first` before them.
fn behind<'a>(first: &'a [u8], pieces: &[&'a [u8]]) -> Vec<&'a [u8]> {
    [&[first], pieces].concat()
}

fn lines(filler: &[u8], data: &[u8]) {
    let length = filler.len() + data.len();
    for (decoder, strict) in [(LineDecoder::new(), false), (LineDecoder::strict(), true)] {
        let events =
            any_chunking(data, |pieces| line_events(decoder.clone(), &behind(filler, pieces)));
        let answers = events.iter().filter(|event| matches!(event, LineEvent::Answer(_)));
        assert!(answers.count() <= limits::TELNET_ANSWERS as usize, "Telnet answers");
        if length <= limits::COMMAND_LINE && filler.is_empty() && !data.contains(&IAC) {
            let got: Vec<_> = events.iter().map(text_of).collect();
            assert_eq!(got, plain_lines(data, strict), "strict: {strict}");
        }
        for event in events {
            match event {
                LineEvent::Line(line) => whole_line(&line),
                LineEvent::Malformed(error) => assert!(error.at <= limits::UNTERMINATED),
                LineEvent::Answer([first, refusal, _]) => {
                    assert_eq!(first, IAC);
                    assert!(matches!(refusal, 252 | 254), "only refusals are sent");
                }
                LineEvent::TooLong => assert!(length > limits::COMMAND_LINE),
                LineEvent::Unterminated => assert!(length >= limits::UNTERMINATED),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn line_events(mut decoder: LineDecoder, pieces: &[&[u8]]) -> Vec<LineEvent<'static>> {
    let mut events = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let room = decoder.room();
            let taken = decoder.push(rest);
            assert!((1..=room).contains(&taken), "{taken} bytes were taken, {room} had room");
            rest = rest.get(taken..).unwrap_or_default();
            events.extend(std::iter::from_fn(|| decoder.next().map(LineEvent::into_owned)));
            assert_eq!(decoder.room(), limits::READ_AHEAD, "all was looked at");
        }
    }
    let end = events.iter().position(|event| *event == LineEvent::Unterminated);
    assert!(end.is_none_or(|at| at + 1 == events.len()), "nothing comes behind the end");
    events
}

/// Returns a line, or `None` for a malformed line. Short data causes no other event.
fn text_of(event: &LineEvent<'_>) -> Option<Vec<u8>> {
    match event {
        LineEvent::Line(line) => Some(line.to_vec()),
        LineEvent::Malformed(_) => None,
        other => panic!("{other:?} without a reason"),
    }
}

/// Returns the lines of `data`, which is short and contains no Telnet commands. A malformed line is
/// `None`.
fn plain_lines(data: &[u8], strict: bool) -> Vec<Option<Vec<u8>>> {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for &byte in data {
        let behind_cr = line.ends_with(b"\r");
        let ends = behind_cr || !strict && !line.ends_with(b"\r\0");
        if byte != b'\n' || !ends {
            line.push(byte);
            continue;
        }
        line.truncate(line.len() - usize::from(behind_cr));
        let whole = std::mem::take(&mut line);
        lines.push(Some(whole).filter(|line| !line.iter().copied().any(breaks_lines)));
    }
    lines
}

/// Returns whether our own output is short enough to test it in pieces too.
fn is_short(sent: &[u8]) -> bool {
    sent.len() < 1_000
}

fn whole_line(line: &[u8]) {
    assert!(line.len() <= limits::COMMAND_LINE, "a line of {} bytes", line.len());
    assert!(!line.iter().copied().any(breaks_lines), "{:?}", line.escape_ascii().to_string());
    let split = Verb::split(line);
    match RawCommand::new(line) {
        Ok(raw) => {
            assert_eq!(Ok(raw.verb()), split.map(|(verb, _)| verb));
            assert_eq!(sent_line(&raw.encode().expect("a line within the limit")), line);
        }
        Err(error) => assert_eq!(Err(error), split.map(|_| ())),
    }
    parsed(Command::parse_line(line), line.len());
}

/// Checks the argument of any verb of [`Verb::KNOWN`], which the first byte chooses.
pub fn argument(data: &[u8]) {
    argument_of(Verb::KNOWN, data);
}

/// Checks the argument of a verb that takes a name: the first byte chooses the verb.
pub fn argument_of_names(data: &[u8]) {
    use Verb::{
        Acct, Appe, Avbl, Clnt, Cwd, Dele, Hash, List, Mdtm, Mkd, Mlsd, Mlst, Nlst, Pass, Retr,
        Rmd, Rnfr, Rnto, Size, Smnt, Stat, Stor, Stou, User, Xcrc,
    };
    const VERBS: &[Verb] = &[
        User, Pass, Acct, Cwd, Smnt, Retr, Stor, Stou, Appe, Rnfr, Rnto, Dele, Rmd, Mkd, List,
        Nlst, Stat, Mdtm, Size, Mlst, Mlsd, Hash, Clnt, Avbl, Xcrc,
    ];
    argument_of(VERBS, data);
}

/// Checks the argument of a verb that takes a fixed word or nothing: the first byte chooses the
/// verb.
pub fn argument_of_words(data: &[u8]) {
    use Verb::{
        Abor, Auth, Cdup, Epsv, Feat, Help, Host, Lang, Mode, Noop, Opts, Prot, Quit, Site, Stru,
        Type,
    };
    const VERBS: &[Verb] = &[
        Type, Stru, Mode, Site, Opts, Epsv, Auth, Prot, Lang, Host, Help, Feat, Cdup, Quit, Noop,
        Abor,
    ];
    argument_of(VERBS, data);
}

/// Checks the argument of a verb that takes numbers, alone or before a name: the first byte chooses
/// the verb.
pub fn argument_of_numbers(data: &[u8]) {
    use Verb::{Allo, Eprt, Mff, Mfmt, Pbsz, Port, Rest};
    argument_of(&[Port, Eprt, Rest, Allo, Pbsz, Mfmt, Mff], data);
}

fn argument_of(verbs: &[Verb], data: &[u8]) {
    let Some((&choice, argument)) = data.split_first() else { return };
    let Some(&verb) = verbs.get(usize::from(choice) % verbs.len()) else { return };
    let parsed = parsed(Command::parse(verb, argument), verb.as_str().len() + 1 + argument.len());
    assert!(parsed.is_none_or(|command| command.verb() == verb), "{verb} reads as another");
}

/// Checks a command that was parsed from `length` bytes: it can be encoded, and the result parses
/// to the same command.
fn parsed(result: Result<Command, ParseError>, length: usize) -> Option<Command> {
    let command = match result {
        Ok(command) => command,
        Err(error) => {
            assert!(error.at <= length, "{error}, of {length}");
            assert_shown(&error.to_string());
            return None;
        }
    };
    match command.encode() {
        Ok(sent) => {
            let line = sent_line(&sent);
            assert_eq!(Command::parse_line(&line).as_ref(), Ok(&command), "sent as {line:?}");
        }
        // Encoding adds omitted parts, such as the `;` after the last fact.
        Err(error) => {
            assert_eq!(error.kind, ParseErrorKind::TooLong, "{command:?}");
            assert!(length + 8 > limits::COMMAND_LINE, "{command:?}");
        }
    }
    Some(command)
}

/// Returns the only line that a server reads from a client's output.
fn sent_line(sent: &[u8]) -> Vec<u8> {
    let body = sent.strip_suffix(b"\r\n").expect("CR LF ends what is sent");
    assert!(!body.iter().copied().any(breaks_lines), "{:?}", sent.escape_ascii().to_string());
    let read = |pieces: &[&[u8]]| line_events(LineDecoder::strict(), pieces);
    let mut events = if is_short(sent) { any_chunking(sent, read) } else { read(&[sent]) };
    match (events.pop(), events.pop()) {
        (Some(LineEvent::Line(line)), None) => line.into_owned(),
        other => panic!("{:?} reads as {other:?}", sent.escape_ascii().to_string()),
    }
}

/// Checks bytes from a server: [`ReplyDecoder`], and [`Exchange`] on the decoded codes.
///
/// Input that begins with 0xF1 or 0xF2 is preceded by text almost up to [`limits::REPLY_LINE`] or
/// [`limits::REPLY_TEXT`]; input that begins with 0xF3 is preceded by more text than is kept.
pub fn reply(data: &[u8]) {
    let (filler, data) = match data.split_first() {
        Some((0xF1, rest)) => (vec![b'2'; limits::REPLY_LINE - rest.len() / 2], rest),
        Some((0xF2, rest)) => (lines_of_text(limits::REPLY_TEXT - rest.len() / 2), rest),
        Some((0xF3, rest)) => (lines_of_text(limits::REPLY_TEXT + 2 * limits::REPLY_LINE), rest),
        _ => (Vec::new(), data),
    };
    let (replies, error) = any_chunking(data, |pieces| decode_replies(&behind(&filler, pieces)));
    if filler.is_empty() && data.len() < limits::REPLY_LINE {
        let got: Vec<_> = replies.iter().map(code_and_lines).collect();
        assert_eq!((got, error.is_some()), plain_replies(data));
    }
    assert!(error.is_none_or(|error| error.at <= limits::REPLY_TOTAL));
    for verb in [Verb::Retr, Verb::User, Verb::Rnfr, Verb::Noop] {
        exchange(verb, &replies);
    }
    replies.iter().for_each(received);
}

/// Returns the beginning of a reply with about `length` bytes of text.
fn lines_of_text(length: usize) -> Vec<u8> {
    let line = [[b'x'; 1_021].as_slice(), b"\r\n"].concat();
    [b"211-\r\n".as_slice(), &line.repeat(length / 1_022)].concat()
}

/// Returns the replies, and the error that ended them.
fn decode_replies(pieces: &[&[u8]]) -> (Vec<Reply>, Option<ParseError>) {
    let (mut decoder, mut replies) = (ReplyDecoder::new(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let room = decoder.room();
            let taken = decoder.push(rest);
            assert!((1..=room).contains(&taken), "{taken} bytes were taken, {room} had room");
            rest = rest.get(taken..).unwrap_or_default();
            loop {
                match decoder.next() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.next(), Err(error), "the error stays");
                        return (replies, Some(error));
                    }
                }
            }
            assert_eq!(decoder.room(), limits::READ_AHEAD, "all was looked at");
        }
    }
    if decoder.is_clear() {
        let _ = decoder.push(b"200 next\r\n");
        let next = decoder.next().map(|reply| reply.map(|reply| code_and_lines(&reply)));
        assert_eq!(next, Ok(Some((200, vec![b"next".to_vec()]))), "nothing was left over");
    }
    (replies, None)
}

/// Parts of a reply: its code, and its lines as in [`Reply::lines`].
type CodeAndLines = (u16, Vec<Vec<u8>>);

fn code_and_lines(reply: &Reply) -> CodeAndLines {
    (reply.code().value(), reply.lines().map(<[u8]>::to_vec).collect())
}

/// Returns the replies in `data`, which is shorter than any limit, and whether invalid input ends
/// them.
fn plain_replies(data: &[u8]) -> (Vec<CodeAndLines>, bool) {
    let (mut replies, mut open) = (Vec::new(), None::<CodeAndLines>);
    let end = data.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let whole = data.get(..end).unwrap_or_default();
    for line in whole.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = single_iac(line.strip_suffix(b"\r").unwrap_or(line));
        let (digits, behind) = line.split_at_checked(3).unwrap_or((&line, &[]));
        let code = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
        let code = code.filter(|code| (100..600).contains(code));
        let text = behind.get(1..).unwrap_or_default().to_vec();
        open = match (open, code, behind.first()) {
            (None, Some(code), Some(b'-')) => Some((code, vec![text])),
            (None, Some(code), Some(b' ') | None) => {
                replies.push((code, vec![text]));
                None
            }
            (None, _, _) => return (replies, true),
            (Some((first, mut lines)), Some(code), Some(b' ') | None) if first == code => {
                lines.push(text);
                replies.push((first, lines));
                None
            }
            (Some((first, mut lines)), _, _) => {
                lines.push(line);
                Some((first, lines))
            }
        };
    }
    (replies, false)
}

fn single_iac(line: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(byte);
        if byte == IAC
            && let Some(next) = bytes.next().filter(|next| *next != IAC)
        {
            out.push(next);
        }
    }
    out
}

fn exchange(verb: Verb, replies: &[Reply]) {
    let mut exchange = Exchange::new(verb);
    for reply in replies {
        let ended = exchange.is_ended();
        match exchange.reply(reply.code()) {
            Ok(progress) => {
                assert!(!ended, "nothing answers {verb} after its final reply");
                assert_eq!(progress == Progress::Final, exchange.is_ended());
            }
            Err(_) => assert_eq!(exchange.is_ended(), ended, "what is refused changes nothing"),
        }
    }
}

/// Checks a decoded reply: its size, and that it can be encoded.
fn received(reply: &Reply) {
    let kept: usize = reply.lines().map(|line| line.len() + 1).sum();
    assert!(kept <= limits::REPLY_TEXT + limits::REPLY_LINE + 1, "{kept} bytes are kept");
    assert!(reply.lines().all(|line| line.len() <= limits::REPLY_LINE && !line.contains(&b'\n')));
    assert_eq!(reply.lines().next_back(), Some(reply.text()));
    assert_shown(&reply.to_string());
    assert_shown(&format!("{reply:?}"));
    let sent = reply.encode();
    let mut lines: Vec<&[u8]> = sent.split(|&byte| byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(b"".as_slice()), "CR LF ends what is sent");
    assert_eq!(lines.len(), reply.lines().count());
    for line in &lines {
        let body = line.strip_suffix(b"\r").expect("each line ends in CR LF");
        assert!(!body.iter().copied().any(breaks_lines));
    }
    // A cut reply is encoded as a complete reply.
    let is_same = !reply.is_cut() && !reply.lines().flatten().copied().any(breaks_lines);
    if is_same && lines.iter().all(|line| line.len() <= limits::REPLY_LINE) {
        let read = decode_replies;
        let replies = if is_short(&sent) { any_chunking(&sent, read) } else { read(&[&sent]) };
        assert_eq!(replies, (vec![reply.clone()], None));
    }
}

/// Checks the lines of a 211 reply to `FEAT`.
pub fn features(data: &[u8]) {
    let sent = [b"211-Features:\r\n".as_slice(), data, b"\r\n211 End\r\n"].concat();
    let (replies, _) = any_chunking(&sent, decode_replies);
    let Some(reply) = replies.first() else { return };
    let features = Features::read(reply);
    let mut between: Vec<&[u8]> = reply.lines().skip(1).collect();
    between.pop();
    let split = |line: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let line = line.strip_prefix(b"211-").unwrap_or(line).trim_ascii_start();
        let mut words = line.splitn(2, |&byte| byte == b' ');
        let mut word = || words.next().unwrap_or_default().to_vec();
        (word().to_ascii_uppercase(), word())
    };
    let listed: Vec<_> = between.into_iter().map(split).collect();
    let filled = || listed.iter().filter(|(word, _)| !word.is_empty());
    let upper = |(word, rest): (&[u8], &[u8])| (word.to_ascii_uppercase(), rest.to_vec());
    assert!(features.iter().map(upper).eq(filled().cloned()));
    for (word, _) in filled() {
        let of_word = filled().filter(|(other, _)| other == word);
        let want: Vec<_> = of_word.map(|(_, parameters)| parameters.as_slice()).collect();
        let Ok(word) = std::str::from_utf8(word) else { continue };
        assert_eq!(features.parameters(word), want.first().copied(), "{word:?}");
        assert_eq!(features.all_parameters(word).collect::<Vec<_>>(), want, "{word:?}");
        assert_eq!(features.parameters(&word.to_ascii_lowercase()).is_some(), features.has(word));
    }
    for word in ["SIZE", "MDTM", "REST", "MLST", "UTF8", "AUTH"] {
        let is_listed = listed.iter().any(|(other, _)| other == word.as_bytes());
        assert_eq!(features.has(word), is_listed, "{word}");
    }
}
