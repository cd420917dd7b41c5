//! Lists: of transactions, and of participants.

use tercet_sdk::initiator::Action;
use tercet_testkit::TestCoordinator;
use tokio::process::Command;

use crate::harness::{execute, json, parked, points, tercet, text};

#[tokio::test]
async fn a_list_has_the_transactions_of_a_standing() {
    let coordinator = TestCoordinator::start().await;
    let _points = coordinator.attach(&points()).await;
    execute(&coordinator, "order-1", [Action::tcc("spend", "points")]).await;
    execute(
        &coordinator,
        "order-2",
        [Action::tcc("overspend", "points")],
    )
    .await;
    for (standing, orders) in [
        ("committed", [true, false]),
        ("rolled-back", [false, true]),
        ("finished", [true, true]),
        ("unfinished", [false, false]),
    ] {
        let listed = text(&coordinator, &["tx", "list", "--status", standing]).await;
        let found = ["order-1", "order-2"].map(|order| listed.contains(order));
        assert_eq!(found, orders, "{standing}\n{listed}");
    }
    // Two standings that are not all pairs of their statuses.
    let two = [
        "tx",
        "list",
        "--status",
        "rolled-back",
        "--status",
        "confirming",
    ];
    let listed = text(&coordinator, &two).await;
    assert!(!listed.contains("order-1"), "{listed}");
    let ambiguous = tercet(&coordinator, &["tx", "list", "--status", "success"]).await;
    assert_eq!(ambiguous.status.code(), Some(2));
    let error = String::from_utf8_lossy(&ambiguous.stderr).into_owned();
    assert!(
        error.contains("committed, rolled-back or finished"),
        "{error}"
    );
}

#[tokio::test]
async fn lists_fit_the_width_that_is_given_and_are_whole_without() {
    let coordinator = TestCoordinator::start().await;
    let parked = parked(&coordinator).await;
    let run = |width: Option<&'static str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
        command.args(["tx", "list"]);
        command.env("TERCET_COORDINATOR", coordinator.address());
        command.env_remove("COLUMNS").kill_on_drop(true);
        if let Some(width) = width {
            command.env("COLUMNS", width);
        }
        command
    };
    let whole = String::from_utf8(run(None).output().await.unwrap().stdout).unwrap();
    for part in [
        "points_for_coupon",
        "order-1",
        "Action issue of coupons failed: the printer is broken",
    ] {
        assert!(whole.contains(part), "{part} is not in\n{whole}");
    }
    assert!(!whole.contains("every Try answered OK"), "{whole}");
    let narrow = run(Some("80")).output().await.unwrap().stdout;
    let narrow = String::from_utf8(narrow).unwrap();
    assert!(
        narrow.contains(&parked.tx_id),
        "an id is never cut\n{narrow}"
    );
    for line in narrow.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[tokio::test]
async fn participants_are_registered_and_listed() {
    let coordinator = TestCoordinator::start().await;
    let register = [
        "participants",
        "register",
        "shop",
        "--address",
        "http://127.0.0.1:1",
        "--protocol",
        "grpc",
        "--method",
        "spend=/shop.Shop/Freeze,/shop.Shop/Spend,/shop.Shop/Release",
    ];
    let whole = [
        &register[..],
        &["--check-back", "/shop.Shop/Outcome", "--concurrency", "7"],
    ]
    .concat();
    let first = text(&coordinator, &whole).await;
    assert_eq!(first, "shop is registered (version 1)\n");
    let listed = text(&coordinator, &["participants", "list"]).await;
    for part in [
        "shop",
        "GRPC",
        " 7 ",
        "http://127.0.0.1:1",
        "spend",
        "/shop.Shop/Outcome",
    ] {
        assert!(listed.contains(part), "{part} is not in\n{listed}");
    }
    // A registration replaces the whole, and says what is gone.
    let again = text(&coordinator, &register).await;
    for part in [
        "before: --protocol grpc --address http://127.0.0.1:1",
        "--check-back /shop.Shop/Outcome --concurrency 7\n",
    ] {
        assert!(again.contains(part), "{part} is not in\n{again}");
    }
    let listed = json(&coordinator, &["participants", "list", "--json"]).await;
    assert_eq!(
        listed["participants"][0]["methods"][0]["cancel"],
        "/shop.Shop/Release"
    );
    assert_eq!(listed["participants"][0]["check_back"], "");
    assert_eq!(listed["participants"][0]["concurrency"], 0);
    let attaches = ["participants", "register", "shop", "--protocol", "attach"];
    let attaches = text(&coordinator, &attaches).await;
    assert!(
        attaches.contains("now:    --protocol attach\n"),
        "{attaches}"
    );
    let wrong = [
        "participants",
        "register",
        "shop",
        "--address",
        "x",
        "--protocol",
        "http",
    ];
    let refused = tercet(&coordinator, &wrong).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        error.contains("address:") && error.contains("methods:"),
        "{error}"
    );
}

/// A number that would list nothing, or leave out its own filter, is wrong usage; the largest is one like any other.
#[tokio::test]
async fn numbers_of_a_list_are_refused_where_they_mean_nothing() {
    let coordinator = TestCoordinator::start().await;
    let parked = parked(&coordinator).await;
    let none = "0 is not in 1..";
    let short = "expected 1ms or more";
    for (option, value, refusal) in [
        ("--limit", "0", Some(none)),
        ("--limit", "1", None),
        ("--limit", "4294967295", None),
        ("--limit", "4294967296", Some("is not in 1..")),
        ("--older-than", "0s", Some(short)),
        ("--older-than", "999us", Some(short)),
        ("--older-than", "1ms", None),
        ("--younger-than", "0s", Some(short)),
        ("--younger-than", "999us", Some(short)),
        ("--younger-than", "1h", None),
    ] {
        let output = tercet(&coordinator, &["tx", "list", option, value]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        let what = format!("{option} {value}: {error}");
        if let Some(refusal) = refusal {
            assert_eq!(output.status.code(), Some(2), "{what}");
            assert!(error.contains(refusal), "{what}");
        } else {
            assert_eq!(output.status.code(), Some(0), "{what}");
            let listed = String::from_utf8(output.stdout).unwrap();
            assert!(listed.contains(&parked.tx_id), "{what}: {listed}");
        }
    }
    // Ages that no transaction can have, the second beyond what a request can carry.
    for value in ["1000years", "580000000000years"] {
        for (option, is_listed) in [("--older-than", false), ("--younger-than", true)] {
            let listed = text(&coordinator, &["tx", "list", option, value]).await;
            let found = listed.contains(&parked.tx_id);
            assert_eq!(found, is_listed, "{option} {value}: {listed}");
        }
    }
    for (value, is_taken) in [("0", true), ("1", true), ("4294967295", false)] {
        let register = ["participants", "register", "shop", "--protocol", "invoke"];
        let rest = ["--address", "http://127.0.0.1:1", "--concurrency", value];
        let output = tercet(&coordinator, &[&register[..], &rest].concat()).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), is_taken, "{value}: {error}");
        assert!(is_taken || error.contains("concurrency"), "{error}");
    }
}
