//! Coordinators in the states of the page, and what the commands print there.

use std::{fs::File, path::Path, process::Stdio, time::Duration};

use tercet_harness::wait_until;
use tercet_sdk::{
    CallAnswer, Mode, Participant, Raw,
    initiator::{Action, CheckBack, Wait},
    proto::{Operation, TxStatus},
};
use tercet_testkit::TestCoordinator;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use crate::shape::shape;

/// Time after which the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// The output of one command, in shape.
#[derive(Clone)]
pub(crate) struct Printed {
    /// The command; `None`: the page has parts of this output alone.
    pub(crate) command: Option<String>,
    pub(crate) lines: Vec<String>,
}

impl Printed {
    /// Returns whether this is the output of that command, and the sample has all its lines. Steps of a timeline that
    /// run at once come in any order.
    pub(crate) fn has(&self, command: &str, sample: &[String]) -> bool {
        let sample: Vec<String> = sample.iter().map(|line| shape(line)).collect();
        self.command.as_ref() == Some(&shape(command)) && in_order(&self.lines) == in_order(&sample)
    }

    /// Returns whether these lines are in the output, in this order, with others between them.
    pub(crate) fn has_part(&self, part: &[String]) -> bool {
        let mut lines = self.lines.iter();
        part.iter().all(|line| {
            let line = shape(line);
            lines.any(|it| *it == line)
        })
    }
}

/// Sorts the steps of a timeline.
fn in_order(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    for steps in
        lines.chunk_by_mut(|one, next| [one, next].iter().all(|it| it.starts_with("TIME +")))
    {
        steps.sort();
    }
    lines
}

/// Brings coordinators into every state.
pub(crate) async fn play() -> Vec<Printed> {
    let (parked, asking, listed, refused) =
        tokio::join!(parked(), asking_back(), participants(), second_process());
    [parked, asking, listed, refused].concat()
}

/// The arguments of a command as the page has it: words, some of them quoted.
fn arguments(command: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    for (number, part) in command.split('"').enumerate() {
        if number % 2 == 1 {
            arguments.push(part.to_owned());
        } else {
            arguments.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    arguments
}

/// Runs a command; returns what it prints on standard output, or its error.
async fn tercet(coordinator: &TestCoordinator, command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(arguments(command))
        .env("TERCET_COORDINATOR", coordinator.address())
        .env_remove("COLUMNS")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let printed = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    String::from_utf8(printed).unwrap()
}

fn printed(command: Option<&str>, text: &str) -> Printed {
    Printed {
        command: command.map(shape),
        lines: text.lines().map(shape).collect(),
    }
}

/// Runs a command until its output, without the spaces that fill columns, has all these parts.
async fn until(coordinator: &TestCoordinator, command: &str, parts: &[&str]) -> String {
    let what = format!("{parts:?} of {command}");
    wait_until(&what, PATIENCE, || async {
        let text = tercet(coordinator, command).await;
        let narrow = text.split(' ').filter(|word| !word.is_empty());
        let narrow = narrow.collect::<Vec<_>>().join(" ");
        parts
            .iter()
            .all(|part| narrow.contains(part))
            .then_some(text)
    })
    .await
}

fn points() -> Participant {
    Participant::builder("points")
        .raw("freeze-points", Mode::Tcc, async |_| CallAnswer::done())
        .build()
        .unwrap()
}

fn coupons() -> Participant {
    Participant::builder("coupons")
        .raw("reserve-coupon", Mode::Tcc, async |call| {
            match call.operation() {
                Operation::Confirm => CallAnswer::Rejected("rejected on purpose".to_owned()),
                _ => CallAnswer::done(),
            }
        })
        .build()
        .unwrap()
}

/// Parked transactions, of which one is retried while its participant is gone, and one resolved.
async fn parked() -> Vec<Printed> {
    let coordinator = TestCoordinator::start().await;
    let _points = coordinator.attach(&points()).await;
    let coupons = coordinator.attach(&coupons()).await;
    let client = coordinator.client().await;
    let mut ids = Vec::new();
    for order in ["order-0100", "order-0257", "order-0332"] {
        let payload = Raw(b"\x0a\x05lucia\x12\x06cinema\x1a\x0aorder-0332"
            .as_slice()
            .into());
        let outcome = client
            .execute("points_for_coupon", order)
            .unique_business()
            .action(
                Action::tcc("points", "points")
                    .handler("freeze-points")
                    .payload(&payload),
            )
            .action(
                Action::tcc("coupon", "coupons")
                    .handler("reserve-coupon")
                    .payload(&payload),
            )
            .wait(Wait::Completed)
            .send()
            .await
            .unwrap();
        let tx = coordinator.ended(outcome.tx_id()).await;
        assert_eq!(tx.status(), TxStatus::Failure);
        ids.push(outcome.tx_id().to_string());
    }
    let [_, second, third] = ids.try_into().unwrap();
    let show = |id: &str| format!("tx show {id}");
    let mut all = Vec::new();
    let shown = until(&coordinator, &show(&third), &["points CONFIRMED"]).await;
    all.push(printed(Some(&show(&third)), &shown));

    drop(coupons);
    until(&coordinator, "participants list", &["coupons ATTACH 0"]).await;
    let retry = format!("tx retry {third} --reason \"try again: the fault is off\"");
    all.push(printed(Some(&retry), &tercet(&coordinator, &retry).await));
    let list = "tx list --stuck --limit 2";
    let listed = until(&coordinator, list, &["there is no way", "there are more"]).await;
    all.push(printed(Some(list), &listed));
    let parts = [
        "No CONFIRM of action coupon could be sent",
        "has been due for",
    ];
    let shown = until(&coordinator, &show(&third), &parts).await;
    all.push(printed(None, &shown));

    let reason = "coupon issued by hand, ticket 812";
    let resolve = format!("tx resolve {second} coupon --as confirmed --reason \"{reason}\"");
    all.push(printed(
        Some(&resolve),
        &tercet(&coordinator, &resolve).await,
    ));
    all.push(printed(None, &tercet(&coordinator, &show(&second)).await));
    all
}

/// An initiator that does not know the outcome, and a participant at an address that fails.
async fn asking_back() -> Vec<Printed> {
    let coordinator = TestCoordinator::start().await;
    let points = Participant::builder("points")
        .raw("mail", Mode::Deliver, async |_| CallAnswer::done())
        .build();
    let orders = Participant::builder("orders").check_back_with(async |_| Err(String::new()));
    let _attached = [
        coordinator.attach(&points.unwrap()).await,
        coordinator.attach(&orders.build().unwrap()).await,
    ];
    let client = coordinator.client().await;
    let mut begun = client
        .begin("order", "order-9")
        .action(Action::deliver("mail", "points"))
        .timeout(Duration::from_secs(1))
        .check_back(CheckBack::ask("orders"))
        .send()
        .await
        .unwrap();
    begun.leave();
    let show = format!("tx show {}", begun.id());
    let parts = ["without an outcome at", "next step"];
    let shown = until(&coordinator, &show, &parts).await;
    let mut all = vec![printed(Some(&show), &shown)];
    let reason = "order-9 was never stored: looked in orders.db";
    let decide = format!("tx decide {} failure --reason \"{reason}\"", begun.id());
    all.push(printed(Some(&decide), &tercet(&coordinator, &decide).await));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let failing = tokio::spawn(fail(listener));
    let register = "participants register mailer --protocol http --method mail=,/mail, --address";
    tercet(&coordinator, &format!("{register} {address}")).await;
    let outcome = client
        .execute("order", "order-10")
        .action(Action::deliver("mail", "mailer"))
        .wait(Wait::Decided)
        .send()
        .await
        .unwrap();
    let show = format!("tx show {}", outcome.tx_id());
    let shown = until(&coordinator, &show, &["UNKNOWN (HTTP 503", "next try"]).await;
    all.push(printed(None, &shown));
    failing.abort();
    all
}

/// Answers every request with 503.
async fn fail(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = [0; 4096];
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nlater";
                let _ = stream.write_all(answer).await;
            }
        });
    }
}

/// A participant that is attached, one that was, and one at an address.
async fn participants() -> Vec<Printed> {
    let coordinator = TestCoordinator::start().await;
    let _coupons = coordinator.attach(&coupons()).await;
    drop(coordinator.attach(&points()).await);
    let register = "participants register mailer --protocol http --method mail=,/mail, --address";
    tercet(&coordinator, &format!("{register} http://127.0.0.1:9")).await;
    let list = "participants list";
    vec![printed(Some(list), &tercet(&coordinator, list).await)]
}

/// A second process on one file.
async fn second_process() -> Vec<Printed> {
    let folder = tempfile::tempdir().unwrap();
    let command = "serve --database coordinator.db";
    let serve = |folder: &Path| {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_tercet"));
        serve
            .args(arguments(command))
            .current_dir(folder)
            .kill_on_drop(true);
        serve
    };
    let out = folder.path().join("out");
    let _first = serve(folder.path())
        .args(["--listen", "127.0.0.1:0"])
        .stdout(File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the first process", PATIENCE, || async {
        let out = std::fs::read_to_string(&out).unwrap();
        out.contains("listening").then_some(())
    })
    .await;
    let second = serve(folder.path()).output().await.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    let here = folder.path().canonicalize().unwrap();
    let error = error.replace(&*here.to_string_lossy(), "/var/lib/tercet");
    vec![printed(Some(command), &error)]
}
