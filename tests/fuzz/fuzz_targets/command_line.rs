//! Bytes from a client, decoded into lines and commands.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::command_line(data));
