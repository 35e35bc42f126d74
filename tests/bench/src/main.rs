//! Repeats one operation: `ftp-bench OPERATION COUNT`. Under callgrind, the difference between runs
//! with two counts is the cost of the operation itself.

use std::hint::black_box;

use ftp_proto::{
    AsciiDecoder, AsciiEncoder, Command, Facts, HostPort, LineDecoder, LineEvent, ListLine,
    ReplyDecoder, TimeVal,
};
use suppaftp::list::ListParser;

const MLSD: &[u8] = b"type=file;size=1234567;modify=20240229123456;perm=adfrw;\
    unique=fd01g1234;UNIX.mode=0644; some file name.txt";
const UNIX: &[u8] = b"-rw-r--r--   1 user  group   1234567 Feb 28 12:34 some file name.txt";
const REPLY: &[u8] = b"211-Features:\r\n MLST type*;size*;modify*;\r\n211 End\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(operation), Some(Ok(count))) =
        (arguments.next(), arguments.next().map(|count| count.parse::<u32>()))
    else {
        eprintln!("usage: ftp-bench OPERATION COUNT");
        std::process::exit(2);
    };
    let reference = TimeVal::parse(b"20240301000000").expect("a time");
    let (unix, mlsd) = (String::from_utf8_lossy(UNIX), String::from_utf8_lossy(MLSD));
    let text: Vec<u8> = (0..1 << 20).map(|at| if at % 61 == 60 { b'\n' } else { b'x' }).collect();
    let mut wire = Vec::new();
    AsciiEncoder::new().encode(&text, &mut wire);
    let mut out = Vec::with_capacity(2 * text.len());
    let mut lines = LineDecoder::new();
    let mut replies = ReplyDecoder::new();
    let mut once: Box<dyn FnMut()> = match operation.as_str() {
        "command-line" => Box::new(|| {
            let _ = lines.push(black_box(b"RETR name\r\n"));
            let Some(LineEvent::Line(line)) = lines.next() else { panic!("a whole line") };
            black_box(&Command::parse_line(&line).expect("a command"));
        }),
        "reply" => Box::new(|| {
            let _ = replies.push(black_box(REPLY));
            black_box(replies.next().expect("a reply"));
        }),
        "227" => Box::new(|| {
            let text = black_box(&b"Entering Passive Mode (192,0,2,1,195,84)."[..]);
            black_box(HostPort::find(text).expect("a tuple"));
        }),
        "mlsd" => Box::new(|| {
            let facts = Facts::parse(black_box(MLSD)).expect("an entry");
            black_box(&(facts.kind(), facts.size(), facts.modify()));
        }),
        "ls-l" => Box::new(|| {
            black_box(ListLine::parse(black_box(UNIX), reference));
        }),
        "mlsd-entry" => Box::new(|| {
            black_box(ListLine::parse_facts(black_box(MLSD)));
        }),
        "suppaftp-ls-l" => Box::new(|| {
            black_box(ListParser::parse_posix(black_box(&unix)).expect("an entry"));
        }),
        "suppaftp-mlsd" => Box::new(|| {
            black_box(ListParser::parse_mlsd(black_box(&mlsd)).expect("an entry"));
        }),
        "copy" => Box::new(|| {
            out.clear();
            out.extend_from_slice(black_box(&text));
            black_box(&out);
        }),
        "ascii-encode" => Box::new(|| {
            out.clear();
            AsciiEncoder::new().encode(black_box(&text), &mut out);
            black_box(&out);
        }),
        "ascii-decode" => Box::new(|| {
            out.clear();
            AsciiDecoder::new().decode(black_box(&wire), &mut out);
            black_box(&out);
        }),
        other => panic!("no operation {other}"),
    };
    for _ in 0..count {
        once();
    }
}
