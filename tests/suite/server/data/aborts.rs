//! ABOR at any moment: before, during and after a transfer, and without one.

use ftp_tests::raw::DEADLINE;
use ftp_tests::scale;
use ftp_tests::wait::wait_until_closed;

use super::{content, passive_address, sparse};
use crate::server::Fixture;

#[test]
fn dc_40_dc_45_dc_46_abor_ends_a_transfer() {
    let fixture = Fixture::new();
    sparse(&fixture, "large", 64 << 20);
    fixture.write("old", "old");
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    // A peer that does not read, so that the server waits to write.
    let mut data = session.passive();
    session.expect("RETR large", 150);
    let _some = data.read_exact(10);
    session.expect("ABOR", 426);
    session.expect_reply(226);
    session.expect_in_step();
    let mut data = session.passive();
    session.expect("STOR old", 150);
    data.write_all(b"new");
    session.expect("ABOR", 426);
    session.expect_reply(226);
    session.expect_in_step();
    assert_eq!(fixture.read("old"), b"old");
    assert_eq!(fixture.published(), ["large", "old"]);
}

#[test]
fn the_preparation_of_a_restart_can_be_aborted_as_03_cm_107_dc_45_fr_26() {
    let fixture = Fixture::new();
    let length = 1 << 40;
    sparse(&fixture, "large", length);
    let mut session = fixture.session();
    // Finding the converted byte means reading the file, keeping the beginning means copying it:
    // both would take many minutes.
    session.expect("TYPE A", 200);
    let address = passive_address(&mut session);
    session.expect(format!("REST {}", length - 1), 350);
    session.send("RETR large\r\nSTAT\r\nNOOP\r\nABOR\r\n");
    session.expect_reply(426);
    session.expect_reply(226);
    // In order: before the 150, a reply to STAT would look like the reply to the command.
    session.expect_reply(211);
    session.expect_reply(200);
    // DC-55
    wait_until_closed(address);
    session.expect_in_step();
    session.expect("TYPE I", 200);
    for command in ["STOR large", "APPE large"] {
        let _data = session.passive();
        session.expect(format!("REST {}", length - 1), 350);
        session.send(format!("{command}\r\nSTAT\r\nNOOP\r\nABOR\r\n"));
        [150, 211, 426, 226, 200].into_iter().for_each(|code| drop(session.expect_reply(code)));
        session.expect_in_step();
    }
    assert_eq!(fixture.names(), ["large"]);
    // The work ends with the session too.
    session.expect("TYPE A", 200);
    session.expect("PASV", 227);
    session.expect(format!("REST {}", length - 1), 350);
    session.send("RETR large\r\n");
    drop(session);
    let report = fixture.server.shutdown(DEADLINE);
    assert_eq!((report.cut, report.stuck), (0, 0), "it ended by itself, before or after");
}

#[test]
fn fr_23_dc_40_abor_as_telnet_clients_send_it() {
    let fixture = Fixture::new();
    sparse(&fixture, "large", 64 << 20);
    let mut session = fixture.session();
    let _data = session.passive();
    session.expect("RETR large", 150);
    session.send([255, 244]);
    session.send_urgent([255, 242]);
    session.send("ABOR\r\n");
    session.expect_reply(426);
    session.expect_reply(226);
    session.expect_in_step();
}

#[test]
fn dc_42_hd_19_abor_before_the_data_connection() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    let address = passive_address(&mut session);
    session.send("RETR a\r\nABOR\r\n");
    for code in [150, 426, 226] {
        session.expect_reply(code);
    }
    wait_until_closed(address);
    session.expect_in_step();
}

#[test]
fn dc_41_dc_43_dc_44_abor_without_a_transfer() {
    let fixture = Fixture::new();
    fixture.write("a", "a");
    let mut session = fixture.session();
    session.expect("ABOR", 225);
    let address = passive_address(&mut session);
    session.expect("ABOR", 226);
    wait_until_closed(address);
    session.expect("PORT 127,0,0,1,200,1", 200);
    session.expect("ABOR", 226);
    session.expect("ABOR", 225);
    session.download("RETR a");
    session.expect("ABOR", 225);
}

#[test]
fn hd_17_an_abor_storm_at_scale() {
    let count = scale::count(1_000, 10_000);
    let fixture = Fixture::new();
    sparse(&fixture, "large", 64 << 20);
    let mut session = fixture.session();
    let _data = session.passive();
    session.expect("RETR large", 150);
    session.send("ABOR\r\n".repeat(count));
    session.expect_reply(426);
    session.expect_reply(226);
    for _ in 1..count {
        session.expect_reply(225);
    }
    session.expect_in_step();
}

#[test]
fn abor_with_an_argument_fails_with_501_cm_118() {
    let fixture = Fixture::new();
    let mut session = fixture.greeted();
    session.expect("ABOR", 225);
    session.expect("ABOR x", 501);
    let mut session = fixture.session();
    let mut data = session.passive();
    session.expect("STOR a", 150);
    session.send("ABOR x\r\n");
    data.write_all(b"x");
    data.close();
    session.expect_reply(226);
    session.expect_reply(501);
}

#[test]
fn abor_at_any_offset_gets_two_replies_hd_18_dc_40_dc_46() {
    let fixture = Fixture::new();
    fixture.write("a", content(4_096));
    let mut session = fixture.session();
    session.expect("TYPE I", 200);
    for offset in [0, 1, 2, 3, 10, 100, 1_000, 1_459, 1_460, 4_000, 4_095, 4_096] {
        let mut data = session.passive();
        session.expect("STOR new", 150);
        data.write_all(&content(offset));
        session.expect("ABOR", 426);
        session.expect_reply(226);
        session.expect_in_step();
        assert_eq!(fixture.published(), ["a"], "after {offset} bytes");
    }
    // In the other direction the transfer may end before ABOR is read: DC-41.
    for offset in 0..50 {
        let mut data = session.passive();
        session.expect("RETR a", 150);
        let _some = data.read_exact(offset * 80);
        session.send("ABOR\r\n");
        let replies = [session.reply().code, session.reply().code];
        assert!(matches!(replies, [426, 226] | [226, 225]), "{replies:?} after {offset}");
        session.expect_in_step();
    }
}
