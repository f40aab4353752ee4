use super::*;

#[test]
fn both_forms_of_an_answer_are_read() {
    let plain =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nabcde";
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    for answer in [plain, chunked] {
        assert_eq!(body(answer.as_bytes()).unwrap(), b"abcde");
        let needed = answer.len() - if answer == chunked { 2 } else { 0 };
        let mut request = Request::new("/");
        for byte in &answer.as_bytes()[..needed - 1] {
            assert_eq!(request.take(&[*byte]), Ok(Heard::More(vec![])), "{answer}");
        }
        let last = &answer.as_bytes()[needed - 1..needed];
        assert_eq!(request.take(last), Ok(Heard::All(b"abcde".to_vec())));
    }
}

#[test]
fn what_is_no_answer_is_told() {
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", AnswerError::Status(404)),
        ("SSH-2.0-x\r\n", AnswerError::NotHttp),
        ("HTTP/1.1 200 OK\r\n\r\n", AnswerError::NotHttp),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", AnswerError::TooLong),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", AnswerError::NotHttp),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", AnswerError::TooLong),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", AnswerError::NotHttp),
    ] {
        assert_eq!(Request::new("/").take(answer.as_bytes()), Err(expected), "{answer}");
    }
    let endless = vec![b'a'; LONGEST_HEAD + 10];
    assert_eq!(body(&endless), Err(AnswerError::NotHttp));
}

#[test]
fn the_request_is_this() {
    let request = "GET /containers/abc/json HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    assert_eq!(Request::new("/containers/abc/json").opening(), request.as_bytes());
}
