//! `tercet demo`, run as a person runs it: the books balance whatever fails and whichever process is killed, and
//! do not where they cannot.

#![allow(clippy::unwrap_used)]
#![cfg(feature = "demo")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Time that one run may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Orders of a run that need not be the whole file.
const FEW: usize = 120;

/// One run, ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
    /// The folder in which the demo made its temporary one.
    temporary: TempDir,
}

fn command(temporary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", temporary)
        .kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Run {
    let temporary = tempfile::tempdir().unwrap();
    let ended = timeout(DEADLINE, command(temporary.path(), arguments).output())
        .await
        .unwrap_or_else(|_| panic!("demo {arguments:?} does not end within {DEADLINE:?}"))
        .unwrap();
    Run {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).unwrap(),
        err: String::from_utf8(ended.stderr).unwrap(),
        temporary,
    }
}

/// Runs with a part of the orders and the result as JSON.
async fn few(arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.csv");
    let all = include_str!("../../../demo/orders.csv");
    let part: Vec<&str> = all.lines().take(FEW + 1).collect();
    std::fs::write(&file, part.join("\n")).unwrap();
    let orders = format!("--orders={}", file.display());
    let arguments: Vec<&str> = ["--json", &orders]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    run(&arguments).await
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// The result of a run in which all went well.
    #[track_caller]
    fn balanced(&self) -> Value {
        let json = self.json();
        assert_eq!(self.code, Some(0), "{json:#}\n{}", self.err);
        assert_eq!(json["ok"], true);
        assert_eq!(json["balances"], true);
        let sheet = &json["sheet"];
        assert_eq!(sheet["mismatches"], Value::Array(Vec::new()));
        assert_eq!(sheet["matched"], sheet["orders"]);
        assert_eq!(sheet["ended"], sheet["orders"]);
        for service in ["points", "coupons"] {
            assert_eq!(sheet[service]["frozen"], 0);
            assert_eq!(sheet[service]["taken"], sheet[service]["expected"]);
        }
        let left = std::fs::read_dir(self.temporary.path()).unwrap().count();
        assert_eq!(left, 0, "the temporary folder is removed");
        json
    }

    /// The result of a run in which something went wrong, but which came to its end.
    #[track_caller]
    fn unbalanced(&self) -> Value {
        let json = self.json();
        assert_eq!(self.code, Some(1), "{json:#}\n{}", self.err);
        assert_eq!(json["ok"], false);
        let kept = Path::new(json["data_dir"].as_str().unwrap());
        assert!(
            kept.join("coordinator.log").is_file(),
            "databases and logs are kept"
        );
        json
    }
}

/// The number of orders that ended one way, for a reason that contains `reason`.
fn ended(json: &Value, outcome: &str, reason: &str) -> u64 {
    json["endings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|ending| {
            ending["outcome"] == outcome && ending["reason"].as_str().unwrap().contains(reason)
        })
        .map(|ending| ending["orders"].as_u64().unwrap())
        .sum()
}

#[tokio::test]
async fn the_exchange_balances_in_tcc() {
    let run = run(&["--json"]).await;
    let json = run.balanced();
    assert_eq!(json["mode"], "tcc");
    assert_eq!(json["lines"], 400);
    assert_eq!(json["bad_orders"], Value::Array(Vec::new()));
    assert_eq!(json["sheet"]["orders"], 380);
    assert_eq!(ended(&json, "repeated", ""), 20);
    assert!(ended(&json, "committed", "") > 100, "{json:#}");
    for reason in ["short of points", "sold out", "limit is reached"] {
        assert!(
            ended(&json, "rolled back", reason) > 0,
            "{reason}: {json:#}"
        );
    }
}

#[tokio::test]
async fn the_exchange_balances_in_compensate_and_tells_a_person() {
    let run = run(&["--mode", "compensate"]).await;
    assert_eq!(run.code, Some(0), "{}\n{}", run.out, run.err);
    for words in [
        "committed",
        "rolled back",
        "points: short of points",
        "The books balance.",
    ] {
        assert!(run.out.contains(words), "{words}: {}", run.out);
    }
    assert!(run.err.contains("of 400 orders sent"), "{}", run.err);
}

#[tokio::test]
async fn lost_replies_errors_and_silence_change_nothing() {
    let run = few(&[
        "--fail=try:points=0.2:after",
        "--fail=try:coupons=0.1:before",
        "--fail=try:coupons=0.05:hang",
        "--fail=confirm:points=0.2",
        "--fail=confirm:coupons=0.2:before",
        "--fail=cancel:points=0.3:after",
        "--fail=cancel:coupons=0.1:hang",
    ])
    .await;
    let json = run.balanced();
    assert_eq!(json["faults"][3], "confirm:points=0.2:after");
}

#[tokio::test]
async fn what_was_really_done_is_undone_once() {
    let run = few(&[
        "--mode=compensate",
        "--fail=try:coupons=0.2:after",
        "--fail=try:coupons=0.2:reject",
        "--fail=cancel:points=0.5:after",
    ])
    .await;
    let json = run.balanced();
    assert!(
        ended(&json, "rolled back", "rejected on purpose") > 0,
        "{json:#}"
    );
}

#[tokio::test]
async fn a_rejected_confirm_is_parked_and_told() {
    let run = few(&["--fail=confirm:coupons=0.3:reject"]).await;
    let json = run.unbalanced();
    let parked = ended(&json, "parked", "while confirming");
    assert!(parked > 0, "{json:#}");
    let sheet = &json["sheet"];
    assert_eq!(
        sheet["ended"].as_u64().unwrap() + parked,
        sheet["orders"].as_u64().unwrap()
    );
    let mismatches = sheet["mismatches"].to_string();
    assert!(
        mismatches.contains("it has not reached its end: parked"),
        "{mismatches}"
    );
}

#[tokio::test]
async fn without_the_barrier_the_books_do_not_balance() {
    let run = few(&[
        "--without-barrier",
        "--fail=try:points=0.3:after",
        "--fail=confirm:coupons=0.3:after",
    ])
    .await;
    let json = run.unbalanced();
    assert_eq!(json["balances"], false);
    assert!(!json["sheet"]["mismatches"].as_array().unwrap().is_empty());
}

async fn killed(mode: &str, processes: &[&str]) {
    let kills = processes.iter().map(|process| format!("--kill={process}"));
    let arguments: Vec<String> = kills.chain([format!("--mode={mode}")]).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = few(&arguments).await;
    let json = run.balanced();
    let kills = json["kills"].as_array().unwrap();
    assert_eq!(kills.len(), processes.len());
    for (kill, process) in kills.iter().zip(processes) {
        assert_eq!(kill["process"], *process);
        assert!(kill["sent"].as_u64().unwrap() >= u64::try_from(FEW / 3).unwrap());
        assert!(kill["in_flight"].as_u64().unwrap() >= 8);
        assert!(
            run.err.contains(&format!("SIGKILL to the {process}")),
            "{}",
            run.err
        );
    }
}

#[tokio::test]
async fn a_killed_coordinator_goes_on() {
    killed("tcc", &["coordinator"]).await;
}

#[tokio::test]
async fn killed_services_go_on() {
    killed("tcc", &["points", "coupons"]).await;
}

#[tokio::test]
async fn a_killed_initiator_feeds_again() {
    killed("compensate", &["initiator"]).await;
}

#[tokio::test]
async fn all_can_be_killed_at_once() {
    killed(
        "compensate",
        &["coordinator", "points", "coupons", "initiator"],
    )
    .await;
}

#[tokio::test]
async fn bad_orders_are_named_and_the_rest_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.csv");
    let mut text = b"order_id,user,points,coupon\n\
        o-1,ada,100,coffee\n\
        o-2,nobody,100,coffee\n\
        o-3,ada,-5,coffee\n\
        o-4,ada\n\
        order_id,user,points,coupon\n\
        o-5,a\xffa,100,coffee\n"
        .to_vec();
    text.extend_from_slice(format!("{},ada,1,coffee\n", "x".repeat(5_000)).as_bytes());
    text.extend_from_slice(b"o-6,ada,150,book\n");
    std::fs::write(&file, text).unwrap();
    let run = run(&["--json", "--orders", file.to_str().unwrap()]).await;
    let json = run.balanced();
    assert_eq!(json["lines"], 2);
    let bad: Vec<(u64, &str)> = json["bad_orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bad| {
            (
                bad["line"].as_u64().unwrap(),
                bad["reason"].as_str().unwrap(),
            )
        })
        .collect();
    for (line, reason) in [
        (3, "unknown user \"nobody\""),
        (4, "points is -5"),
        (5, "2 field(s), expected 4"),
        (6, "the header again"),
        (7, "not UTF-8"),
        (8, "at most 1024"),
    ] {
        let found = bad
            .iter()
            .any(|(at, why)| *at == line && why.contains(reason));
        assert!(found, "{line}: {reason}: {bad:?}");
    }
    assert_eq!(bad.len(), 6);
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let not_empty = folder.path().to_str().unwrap().to_owned();
    let no_header = file("orders.csv", "o-1,ada,100,coffee\n");
    let no_seed = file("seed.toml", "[[account]]\nuser = \"\"\npoints = -1\n");
    for (arguments, reason) in [
        (["--fail", "try:points"], "expected OP:SERVICE=P[:WHEN]"),
        (["--fail", "try:points=2"], "\"2\" is no share"),
        (
            ["--kill", "database"],
            "coordinator, points, coupons, initiator",
        ),
        (["--orders", &no_header], "line 1 is not the header"),
        (
            ["--orders", "/nowhere/orders.csv"],
            "cannot read /nowhere/orders.csv",
        ),
        (["--seed", &no_seed], "account.user is empty"),
        (["--data-dir", &not_empty], "not empty"),
        (["--concurrency", "0"], "0 is not in 1..=1024"),
        (
            ["--mode=compensate", "--fail=confirm:points=0.1"],
            "nothing is confirmed",
        ),
    ] {
        let run = run(&arguments).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {}{}", run.out, run.err);
        assert!(run.err.contains(reason), "{reason}: {}", run.err);
        assert_eq!(run.out, "");
    }
}

/// The processes that were started with this folder, but for the demo itself.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    let commands = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    commands
        .filter(|command| String::from_utf8_lossy(command).contains(folder))
        .count()
}

/// Waits until a condition holds, or fails.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// Starts a demo that is busy until it is stopped, because its Tries hang, and waits until all its
/// processes run.
async fn busy(temporary: &Path) -> Child {
    let demo = command(temporary, &["--fail=try:points=1:hang"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("four processes run", || processes_of(temporary) == 4).await;
    demo
}

#[tokio::test]
async fn no_process_outlives_a_demo_that_is_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = busy(temporary.path()).await;
    demo.kill().await.unwrap();
    until("none is left", || processes_of(temporary.path()) == 0).await;
}

#[tokio::test]
async fn an_interrupt_stops_every_process() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = busy(temporary.path()).await;
    let id = i32::try_from(demo.id().unwrap()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    let status = timeout(DEADLINE, demo.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(130));
    until("none is left", || processes_of(temporary.path()) == 0).await;
}
