//! Lists of participants, page by page.

use tercet_proto::v1;

use crate::harness::{Server, refusal};

fn page(cursor: &str, page_size: u32) -> v1::ListParticipantsRequest {
    v1::ListParticipantsRequest {
        cursor: cursor.to_owned(),
        page_size,
    }
}

/// Returns the names of each page.
async fn pages(server: &Server, page_size: u32) -> Vec<Vec<String>> {
    let mut client = server.participants();
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = client.list(page(&cursor, page_size)).await.unwrap();
        let v1::ListParticipantsReply {
            participants,
            next_cursor,
        } = reply.into_inner();
        pages.push(participants.into_iter().map(|it| it.participant).collect());
        if next_cursor.is_empty() {
            return pages;
        }
        assert!(pages.len() < 10, "pages without end: {pages:?}");
        cursor = next_cursor;
    }
}

#[tokio::test]
async fn pages_have_every_participant_once_by_name() {
    let server = Server::knowing(["points", "coupons", "shop", "bank", "mail"]).await;
    assert_eq!(
        pages(&server, 2).await,
        [
            vec!["bank", "coupons"],
            vec!["mail", "points"],
            vec!["shop"]
        ]
    );
    let all = ["bank", "coupons", "mail", "points", "shop"];
    for size in [0, 5, 6, 500] {
        assert_eq!(pages(&server, size).await, [all], "{size}");
    }
}

/// A cursor is a name, whether or not there is a participant of it any more.
#[tokio::test]
async fn a_page_begins_after_its_cursor() {
    let server = Server::knowing(["bank", "points"]).await;
    let mut client = server.participants();
    for (cursor, rest) in [
        ("a", 2),
        ("bank", 1),
        ("coupons", 1),
        ("points", 0),
        ("z", 0),
    ] {
        let reply = client.list(page(cursor, 10)).await.unwrap().into_inner();
        assert_eq!(reply.participants.len(), rest, "{cursor}");
        assert_eq!(reply.next_cursor, "", "{cursor}");
    }
}

#[tokio::test]
async fn a_bad_size_or_cursor_is_named() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.participants();
    let long = "n".repeat(129);
    for (request, field) in [
        (page("", 501), "page_size"),
        (page("", u32::MAX), "page_size"),
        (page("a\0b", 1), "cursor"),
        (page(&long, 1), "cursor"),
        (page(&long, 501), "cursor, page_size"),
    ] {
        let refused = client.list(request.clone()).await;
        let expected = format!("INVALID_ARGUMENT: {field}");
        assert_eq!(refusal(refused), expected, "{request:?}");
    }
}
