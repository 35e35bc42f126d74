//! The header of a load balancer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::proxy_header(data));
