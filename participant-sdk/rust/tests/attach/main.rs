//! A participant's streams to its coordinators, and its messages on them.
#![allow(clippy::unwrap_used)]

mod coordinator;
mod serve;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use coordinator::{Coordinator, SOON, addresses};
use tercet_sdk::{
    AttachOptions, CallAnswer, Mode, Participant, Truth,
    participant::AttachError,
    proto::{self, attach_reply, attach_request},
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

/// Makes a participant whose handler `echo` answers at once, `wait` once it is let go, and `panic`
/// never.
fn participant(let_go: &Arc<Notify>) -> Participant {
    let let_go = Arc::clone(let_go);
    Participant::builder("shop")
        .raw("echo", Mode::Tcc, |call| async move {
            CallAnswer::Done(call.payload.to_vec())
        })
        .raw("wait", Mode::Tcc, move |_| {
            let let_go = Arc::clone(&let_go);
            async move {
                let_go.notified().await;
                CallAnswer::done()
            }
        })
        .raw("panic", Mode::Tcc, |_| async move { panic!("as told") })
        .check_back_with(|call| async move {
            if call.attempt == 1 {
                Err("not known yet".to_owned())
            } else {
                Ok(Truth::Success)
            }
        })
        .concurrency(100)
        .build()
        .unwrap()
}

/// A participant that is attached until it is stopped.
struct Running {
    let_go: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), AttachError>>,
}

fn attach(addresses: &[&str]) -> Running {
    let let_go = Arc::default();
    let participant = participant(&let_go);
    let options = AttachOptions::new(addresses.iter().copied(), "shop-1");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        participant
            .attach(options, async move { stopped.await.unwrap_or(()) })
            .await
    });
    Running { let_go, stop, task }
}

async fn ended(task: JoinHandle<Result<(), AttachError>>) {
    tokio::time::timeout(SOON, task)
        .await
        .expect("it does not end")
        .unwrap()
        .unwrap();
}

fn call(call_id: u64, handler: &str) -> proto::Call {
    proto::Call {
        epoch: 7,
        call_id,
        tx_id: "0198c0de-0000-7000-8000-000000000001".to_owned(),
        action: "take".to_owned(),
        operation: proto::Operation::Try.into(),
        mode: proto::Mode::Tcc.into(),
        participant: "shop".to_owned(),
        handler: handler.to_owned(),
        payload: format!("payload {call_id}").into(),
        ..proto::Call::default()
    }
}

fn ids(results: &[proto::Result]) -> Vec<u64> {
    let mut ids: Vec<u64> = results.iter().map(|result| result.call_id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn it_says_who_it_is_and_answers_calls() {
    let mut coordinator = Coordinator::start().await;
    let running = attach(&[&coordinator.url]);
    let mut stream = coordinator.attached("node-a").await;
    let hello = &stream.hello;
    assert_eq!(
        (hello.participant.as_str(), hello.instance.as_str()),
        ("shop", "shop-1")
    );
    assert_eq!((hello.concurrency, hello.answers_check_back), (100, true));
    let handlers: Vec<_> = hello
        .handlers
        .iter()
        .map(|h| (h.name.as_str(), h.mode()))
        .collect();
    let tcc = proto::Mode::Tcc;
    assert_eq!(handlers, [("echo", tcc), ("panic", tcc), ("wait", tcc)]);

    stream
        .calls(vec![call(1, "echo"), call(2, "panic"), call(3, "nobody")])
        .await;
    let mut results = stream.results(3).await;
    results.sort_by_key(|result| result.call_id);
    let expected = call(1, "echo");
    let echo = &results[0];
    assert_eq!(
        (echo.epoch, &echo.tx_id, &echo.action),
        (7, &expected.tx_id, &expected.action)
    );
    let Some(proto::result::Outcome::Done(done)) = &echo.outcome else {
        panic!("{echo:?}")
    };
    assert_eq!(done.result, expected.payload);
    for (result, words) in results[1..]
        .iter()
        .zip(["as told", "no handler \"nobody\""])
    {
        let Some(proto::result::Outcome::Unknown(unknown)) = &result.outcome else {
            panic!("{result:?}")
        };
        assert!(unknown.error.contains(words), "{}", unknown.error);
    }
    running.stop.send(()).unwrap();
}

#[tokio::test]
async fn a_slow_call_holds_back_no_other() {
    let mut coordinator = Coordinator::start().await;
    let running = attach(&[&coordinator.url]);
    let mut stream = coordinator.attached("node-a").await;
    let mut calls = vec![call(0, "wait")];
    calls.extend((1..50).map(|id| call(id, "echo")));
    stream.calls(calls).await;
    assert_eq!(ids(&stream.results(49).await), (1..50).collect::<Vec<_>>());
    running.let_go.notify_one();
    assert_eq!(ids(&stream.results(1).await), [0]);
}

#[tokio::test]
async fn check_backs_are_answered() {
    let mut coordinator = Coordinator::start().await;
    let _running = attach(&[&coordinator.url]);
    let mut stream = coordinator.attached("node-a").await;
    let mut outcomes = Vec::new();
    for attempt in [1, 2] {
        let check_back = proto::CheckBackCall {
            attempt,
            call_id: 5,
            ..Default::default()
        };
        let calls = proto::Calls {
            calls: Vec::new(),
            check_backs: vec![check_back],
        };
        stream.say(attach_reply::Message::Calls(calls)).await;
        match stream.heard().await {
            Some(attach_request::Message::Results(batch)) => {
                assert_eq!(batch.check_backs[0].call_id, 5);
                outcomes.push(batch.check_backs[0].outcome());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        outcomes,
        [proto::Outcome::Unspecified, proto::Outcome::Success]
    );
}

#[tokio::test]
async fn a_result_leaves_on_its_own_stream_or_not_at_all() {
    let mut coordinator = Coordinator::start().await;
    let running = attach(&[&coordinator.url]);
    let stream = coordinator.attached("node-a").await;
    stream.calls(vec![call(1, "wait")]).await;
    drop(stream);
    let mut again = coordinator.attached("node-a").await;
    // The call that waits first is let go first: the lost one, if it still ran.
    running.let_go.notify_one();
    again.calls(vec![call(2, "echo")]).await;
    assert_eq!(ids(&again.results(1).await), [2]);
    again.calls(vec![call(3, "echo")]).await;
    assert_eq!(
        ids(&again.results(1).await),
        [3],
        "nothing of the first stream comes after it"
    );
}

#[tokio::test]
async fn it_drains_before_it_ends() {
    let mut coordinator = Coordinator::start().await;
    let running = attach(&[&coordinator.url]);
    let mut stream = coordinator.attached("node-a").await;
    stream.calls(vec![call(1, "wait"), call(2, "echo")]).await;
    assert_eq!(ids(&stream.results(1).await), [2]);
    running.stop.send(()).unwrap();
    assert_eq!(
        stream.heard().await,
        Some(attach_request::Message::Drain(proto::Drain {}))
    );
    assert!(!running.task.is_finished(), "a call is open");
    running.let_go.notify_one();
    assert_eq!(ids(&stream.results(1).await), [1]);
    assert_eq!(stream.heard().await, None, "then it closes the stream");
    drop(stream);
    tokio::time::timeout(SOON, running.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn it_does_not_drain_for_ever() {
    let mut coordinator = Coordinator::start().await;
    let participant = participant(&Arc::default());
    let options = AttachOptions {
        drain_timeout: Duration::from_millis(50),
        ..AttachOptions::new([&coordinator.url], "shop-1")
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        participant
            .attach(options, async move { stopped.await.unwrap_or(()) })
            .await
    });
    let mut stream = coordinator.attached("node-a").await;
    stream.calls(vec![call(1, "wait"), call(2, "echo")]).await;
    stream.results(1).await;
    stop.send(()).unwrap();
    ended(task).await;
}

#[tokio::test]
async fn it_ends_while_nobody_answers() {
    let port = tercet_harness::free_port().unwrap();
    let running = attach(&[&format!("http://127.0.0.1:{port}")]);
    running.stop.send(()).unwrap();
    ended(running.task).await;
}

#[tokio::test]
async fn it_follows_the_list_of_replicas() {
    let mut first = Coordinator::start().await;
    let mut second = Coordinator::start().await;
    let mut third = Coordinator::start().await;
    let _running = attach(&[&first.url]);
    let mut one = first.opened().await;
    one.welcome("node-a", &[&first.url, &second.url]).await;
    let mut two = second.attached("node-b").await;
    two.calls(vec![call(1, "echo")]).await;
    two.results(1).await;
    // The second replica leaves the list, and a third joins it.
    for stream in [&one, &two] {
        stream
            .say(attach_reply::Message::Replicas(addresses(&[
                &first.url, &third.url,
            ])))
            .await;
    }
    let mut three = third.attached("node-c").await;
    assert_eq!(
        two.heard().await,
        Some(attach_request::Message::Drain(proto::Drain {}))
    );
    assert_eq!(two.heard().await, None);
    for stream in [&mut one, &mut three] {
        stream.calls(vec![call(1, "echo")]).await;
        assert_eq!(ids(&stream.results(1).await), [1]);
    }
}

#[tokio::test]
async fn a_node_with_two_addresses_gets_one_stream() {
    let mut first = Coordinator::start().await;
    let mut alias = Coordinator::start().await;
    let _running = attach(&[&first.url, &alias.url]);
    let mut one = first.opened().await;
    one.welcome("node-a", &[]).await;
    one.calls(vec![call(1, "echo")]).await;
    one.results(1).await;
    let mut two = alias.opened().await;
    two.welcome("node-a", &[]).await;
    assert_eq!(two.heard().await, None, "the second is closed");
    one.calls(vec![call(2, "echo")]).await;
    assert_eq!(ids(&one.results(1).await), [2]);
}

#[tokio::test]
async fn it_goes_on_when_the_coordinator_drains() {
    let mut coordinator = Coordinator::start().await;
    let running = attach(&[&coordinator.url]);
    let mut stream = coordinator.attached("node-a").await;
    stream.calls(vec![call(1, "wait")]).await;
    stream
        .say(attach_reply::Message::Drain(proto::Drain {}))
        .await;
    running.let_go.notify_one();
    assert_eq!(
        ids(&stream.results(1).await),
        [1],
        "results of open calls are still sent"
    );
    assert_eq!(stream.heard().await, None);
    drop(stream);
    let ended = Instant::now();
    coordinator.attached("node-a").await;
    let pause = ended.elapsed();
    assert!(
        pause > Duration::from_millis(900),
        "it is back after {pause:?}, and would be again and again"
    );
}
