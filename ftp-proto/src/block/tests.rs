use super::*;
use crate::bytes::any_chunking;

/// Returns the events of all pieces as text, with data joined.
fn events(pieces: &[&[u8]]) -> (String, Result<(), BlockFault>) {
    let (mut decoder, mut shown, mut is_data) = (BlockDecoder::new(), String::new(), false);
    for mut rest in pieces.iter().copied() {
        loop {
            let step = match decoder.decode(rest) {
                Ok(step) => step,
                Err(fault) => {
                    assert_eq!(decoder.decode(b"x"), Err(fault), "a fault stays");
                    return (shown, decoder.finish());
                }
            };
            rest = &rest[step.taken..];
            let Some(event) = step.event else {
                assert!(rest.is_empty(), "a step without an event takes all");
                break;
            };
            let was_data = std::mem::replace(&mut is_data, false);
            match event {
                BlockEvent::Data(data) => {
                    assert!(!data.is_empty());
                    is_data = true;
                    shown += if was_data { "" } else { "|" };
                    shown += str::from_utf8(data).unwrap();
                }
                BlockEvent::Suspect => shown += "|?",
                BlockEvent::Marker(marker) => shown += &format!("|#{marker}"),
                BlockEvent::EndOfRecord => shown += "|R",
                BlockEvent::EndOfFile => shown += "|F",
            }
        }
    }
    (shown, decoder.finish())
}

#[test]
fn events_are_the_same_for_any_chunking_go_02() {
    use BlockFault::{Descriptor, Marker, Truncated};
    for (input, shown, end) in [
        ("", "", Ok(())),
        ("\0\0\x05hello@\0\0", "|hello|F", Ok(())),
        ("@\0\x05hello", "|hello|F", Ok(())),
        ("@\0\0@\0\0", "|F|F", Ok(())),
        ("@\0\x01a\0\0\x01b@\0\x01c", "|a|F|bc|F", Ok(())),
        ("\0\0\0\0\0\x01a\0\0\0@\0\0", "|a|F", Ok(())),
        // A block with several descriptors.
        ("\x60\0\x02ab", "|?|ab|F", Ok(())),
        ("\0\0\x01a\x10\0\x0215A\0\0", "|a|#15", Err(Descriptor(b'A'))),
        ("\0\0\x01a\x10\0\x0215\0\0\x01b@\0\0", "|a|#15|b|F", Ok(())),
        ("\x50\0\x02ab", "|#ab|F", Ok(())),
        // Incomplete input.
        ("\0", "", Err(Truncated)),
        ("@\0", "", Err(Truncated)),
        ("\0\0\x05hell", "|hell", Err(Truncated)),
        ("\0\0\x05hello", "|hello", Err(Truncated)),
        ("@\0\0\0", "|F", Err(Truncated)),
        ("\x10\0\x0212345", "|#12", Err(Descriptor(b'3'))),
        // Invalid input.
        ("\x01\0\0", "", Err(Descriptor(1))),
        ("\x48\0\0", "", Err(Descriptor(0x48))),
        ("HTTP/1.1", "", Err(Descriptor(b'H'))),
        ("\x10\0\0", "", Err(Marker)),
        ("\x10\x01\0", "", Err(Marker)),
        ("\x10\0\x03a b", "", Err(Marker)),
        ("\x10\0\x02\r\n", "", Err(Marker)),
        ("\x10\0\x02\u{e4}", "", Err(Marker)),
    ] {
        any_chunking(input.as_bytes(), events, &(shown.to_owned(), end));
    }
    let records = b"\x80\0\x01a\xc0\0\x01b";
    any_chunking(records, events, &("|a|R|b|R|F".to_owned(), Ok(())));
}

#[test]
fn blocks_without_data_are_limited() {
    let most = usize::try_from(limits::EMPTY_BLOCKS).unwrap();
    for (block, shown) in [(&b"\0\0\0"[..], ""), (b"\x10\0\x01m", "|#m"), (b"\x80\0\0", "|R")] {
        let allowed = [&block.repeat(most), &b"\0\0\x01a"[..], &block.repeat(most)].concat();
        let (found, end) = events(&[&allowed]);
        assert_eq!((found.len(), end), (2 * most * shown.len() + 2, Err(BlockFault::Truncated)));
        let (found, end) = events(&[&block.repeat(most + 1)]);
        assert_eq!((found, end), (shown.repeat(most), Err(BlockFault::Empty)));
    }
    // Empty files do not count as empty blocks: each is the result of a command.
    assert_eq!(events(&[&b"@\0\0".repeat(2 * most)]).1, Ok(()));
}

#[test]
fn headers_round_trip() {
    for descriptor in (0..=255).step_by(16) {
        for count in [0, 1, 255, 256, 65_535] {
            let [high, low] = u16::to_be_bytes(count);
            let header = BlockHeader::parse([descriptor, high, low]).unwrap();
            assert_eq!((header.count, header.encode()), (count, [descriptor, high, low]));
        }
    }
    for descriptor in (0..=255).filter(|descriptor| descriptor % 16 != 0) {
        let fault = Err(BlockFault::Descriptor(descriptor));
        assert_eq!(BlockHeader::parse([descriptor, 0, 0]), fault);
    }
    assert_eq!(BlockHeader::END_OF_FILE.encode(), [64, 0, 0]);
}

#[test]
fn data_is_sent_in_as_few_blocks_as_possible() {
    let data = vec![b'x'; 2 * BlockHeader::MOST + 1];
    for (length, blocks) in [(0, 0), (1, 1), (65_535, 1), (65_536, 2), (data.len(), 3)] {
        let mut sent = Vec::new();
        BlockHeader::encode_data(&data[..length], &mut sent);
        assert_eq!(sent.len(), length + 3 * blocks);
        sent.extend(BlockHeader::END_OF_FILE.encode());
        let (shown, end) = events(&[&sent]);
        let want = shown.len() - "|F".len() - usize::from(length > 0);
        assert_eq!((want, end), (length, Ok(())));
    }
}

#[test]
fn markers_are_printable_and_short() {
    let long = [b'm'; limits::BLOCK_MARKER + 1];
    for (text, is_valid) in [
        (&b"1048576"[..], true),
        (b"!~", true),
        (&long[1..], true),
        (&long, false),
        (b"", false),
        (b"a b", false),
        (b"a\x7f", false),
        (b"\xe4", false),
    ] {
        let marker = BlockMarker::new(text);
        assert_eq!(marker.map(|marker| marker.as_bytes().to_vec()), is_valid.then(|| text.into()));
        let Some(marker) = marker else { continue };
        let mut sent = Vec::new();
        marker.encode(&mut sent);
        assert_eq!(sent.len(), 3 + text.len());
        let step = BlockDecoder::new().decode(&sent).unwrap();
        assert_eq!((step.taken, step.event), (sent.len(), Some(BlockEvent::Marker(marker))));
    }
    let marker = BlockMarker::from(RestartMarker::new(1 << 20).unwrap());
    assert_eq!((marker.to_string(), marker.as_bytes()), ("1048576".into(), &b"1048576"[..]));
}
