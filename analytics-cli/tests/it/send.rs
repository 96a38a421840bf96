use crate::{
    run,
    server::{Answer, TestServer},
};

#[test]
fn an_event_is_sent_with_its_name_escaped() {
    let server = TestServer::answering(&[Answer::Stored]);
    let run = run(&server, &["send", "--user", "ann & bob=ü", "--event", "click", "--at", "2015-05-17T10:05:03Z"], b"");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    assert_eq!(run.stderr, "stored; the hour 2015-05-17T10:00:00Z counts it\n");
    let request = &server.requests()[0];
    assert_eq!(request.head, "POST /analytics?timestamp=1431857103000&user=ann%20%26%20bob%3D%C3%BC&event=click");
}

#[test]
fn a_timestamp_that_looks_like_seconds_is_called_out_and_sent() {
    let server = TestServer::answering(&[Answer::Stored]);
    let run = run(&server, &["send", "--user", "ann", "--event", "click", "--at", "1431857103"], b"");
    assert_eq!(run.code, 0);
    assert!(run.stderr.starts_with("warning: --at 1431857103 was read as milliseconds"), "{}", run.stderr);
    assert!(run.stderr.contains("give 1431857103000 milliseconds"), "{}", run.stderr);
    assert!(server.requests()[0].head.contains("timestamp=1431857103&"));
}

#[test]
fn a_refusal_is_printed_and_exits_1() {
    let server = TestServer::answering(&[Answer::Problem(400, "timestamp is too early.", None)]);
    let run = run(&server, &["send", "--user", "ann", "--event", "click", "--at", "0"], b"");
    assert_eq!(run.code, 1);
    assert_eq!(run.stderr, "error: the server refused with 400 (A problem): timestamp is too early.\n");
}

#[test]
fn an_event_whose_fate_is_unknown_is_not_sent_again() {
    for (answer, code) in [(Answer::Nothing, 2), (Answer::Foreign(504), 1), (Answer::Foreign(200), 2)] {
        let server = TestServer::answering(std::slice::from_ref(&answer));
        let run = run(&server, &["send", "--user", "ann", "--event", "click"], b"");
        assert_eq!(run.code, code, "{answer:?}: {}", run.stderr);
        assert!(run.stderr.contains("it is unknown whether the event is stored"), "{answer:?}: {}", run.stderr);
        assert_eq!(server.requests().len(), 1, "{answer:?}");
    }
}

#[test]
fn an_event_goes_under_a_key_if_asked_and_may_then_be_sent_again() {
    let server = TestServer::answering(&[Answer::Nothing]);
    let run = run(&server, &["send", "--user", "ann", "--event", "click", "--at", "0", "--id", "k-1"], b"");
    assert!(run.stderr.contains("send it again with --id k-1 --at 0, and it is counted once"), "{}", run.stderr);
    assert!(server.requests()[0].headers.contains("idempotency-key: k-1"));
}

#[test]
fn an_event_in_the_spool_is_reported() {
    let server = TestServer::answering(&[Answer::Spooled]);
    let run = run(&server, &["send", "--user", "ann", "--event", "click"], b"");
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("not stored yet"), "{}", run.stderr);
}
