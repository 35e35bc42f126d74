//! A reply to `LIST` as servers on DOS, Windows and OS/2 send it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::listing(data));
