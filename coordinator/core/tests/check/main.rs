//! The rules for requests: tables of requests with the violations of each, and valid requests by the thousand.
//!
//! A line of a table is a request and, behind `|`, a violation; a line without a request adds one more to the
//! request above it. A mark before a violation: nothing is wrong but that the participant is not known (`?`), that its row
//! cannot be read (`~`), or that it does not serve what it is named for (`!`).
//!
//! A request is its kind and the fields in which it differs from a valid request of that kind. `begin` and `execute`
//! have the fields of a transaction and, each between braces, the actions: `{ a after=b }`. `add` has one
//! action. `decide` (by the initiator), `operator` (decides), `retry` and `resolve` have their own fields.
//!
//! | value | meaning |
//! |---|---|
//! | `x*129` | 129 times `x` |
//! | `''` | the empty text |
//! | `\0` | NUL |
//! | `a,b` | a list |
//! | `a%65` | the list `a0,a1,…` of 65 |
//! | no value | a flag that is set |
//!
//! The participants `p` and `initiator` are known, and others by what they serve: see [`Directory`].

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod text;
mod valid;

use std::{collections::BTreeMap, time::Duration};

use common::{START, new_transaction, owner, tcc, tx_id};
use proptest::prelude::*;
use tercet_core::{
    check::{self, Answers, Listed, Served},
    model::{ActionSpec, ActionStatus, Decider, Mode, Operation, Transaction},
    port::{Order, Request, Wait},
    refusal::Refusal,
    violation::{At, Invalid, Violation, Violations},
};
use text::{actions, request};

const TRANSACTION: &str = r"
begin                                 |
begin business_type=''                | business_type: is empty; give 1 to 128 bytes
begin business_type=x*128             |
begin business_type=x*129             | business_type: has 129 bytes; at most 128 are accepted
begin business_id=''                  | business_id: is empty; give 1 to 128 bytes
begin business_id=x*129               | business_id: has 129 bytes; at most 128 are accepted
begin business_id=\0                  | business_id: contains NUL; give text without it
begin timeout_ms=604800000            |
begin timeout_ms=604800001            | timeout_ms: is 604800001; at most 604800000 ms are accepted
begin ext=k%16:v                      |
begin ext=k%17:v                      | ext_properties: has 17 keys; at most 16 are accepted
begin ext=k:x*1023                    |
begin ext=k:x*1024                    | ext_properties: has 1025 bytes of keys and values; at most 1024 are accepted
begin ext='':v                        | ext_properties: has an empty key; name it
begin ext=\0:v                        | ext_properties: contains NUL; give text without it
begin ext=k:\0                        | ext_properties: contains NUL; give text without it
begin { a%64 }                        |
begin { a%65 }                        | actions: has more than the 64 actions that are accepted
begin business_type='' business_id='' | business_type: is empty; give 1 to 128 bytes
                                      | business_id: is empty; give 1 to 128 bytes
";

const EXECUTE: &str = r"
execute { a }                               |
execute                                     | actions: is empty; an Execute has at least one action
execute { a already_tried }                 | actions: has only actions that are already tried; an Execute has at least one that is not
execute { a already_tried } { b }           |
execute { a already_tried } { d mode=DELIVER } |
execute { a } check_back                    | check_back: is not accepted in an Execute: the coordinator decides; use Begin
begin { a already_tried }                   |
";

const CHECK_BACK: &str = r"
begin check_back                                  |
begin check_back.participant=''                   | check_back.participant: is empty; give 1 to 128 bytes
begin check_back.participant=x*129                | check_back.participant: has 129 bytes; at most 128 are accepted
begin check_back.participant=q                    | ? check_back.participant: participant q is not known; let it attach once, or register it
begin check_back.first_delay_ms=86400000          |
begin check_back.first_delay_ms=86400001          | check_back.first_delay_ms: is 86400001; at most 86400000 ms are accepted
begin check_back.interval_ms=3600000 check_back.max_interval_ms=86400000 |
begin check_back.interval_ms=3600001 check_back.max_interval_ms=86400000 | check_back.interval_ms: is 3600001; at most 3600000 ms are accepted
begin check_back.max_interval_ms=86400001         | check_back.max_interval_ms: is 86400001; at most 86400000 ms are accepted
begin check_back.interval_ms=8 check_back.max_interval_ms=8 |
begin check_back.interval_ms=8 check_back.max_interval_ms=7 | check_back.max_interval_ms: is 7, below interval_ms; give at least 8
begin check_back.max_attempts=10000               |
begin check_back.max_attempts=10001               | check_back.max_attempts: is 10001; at most 10000 are accepted
";

const ACTION: &str = r"
add { a }                             |
add { '' }                            | action.name: is empty; give 1 to 128 bytes
add { x*129 }                         | action.name: has 129 bytes; at most 128 are accepted
add { a handler='' }                  | action.handler: is empty; give 1 to 128 bytes
add { a handler=\0 }                  | action.handler: contains NUL; give text without it
add { a participant='' }              | action.participant: is empty; give 1 to 128 bytes
add { a participant=q }               | ? action.participant: participant q is not known; let it attach once, or register it
add { a payload=x*65536 }             |
add { a payload=x*65537 }             | action.payload: has 65537 bytes; at most 65536 are accepted
add { a mode=DELIVER }                |
add { a mode=DELIVER already_tried }  | action.already_tried: is not accepted with MODE_DELIVER, which has no TRY
add { a mode=COMPENSATE already_tried } |
add { a wants_results }               | action.wants_results: is not accepted without `after`: there are no results to give
add { a wants_results after=b }       |
add { a ext='':v }                    | action.ext_properties: has an empty key; name it
add { a ext=k%17:v }                  | action.ext_properties: has 17 keys; at most 16 are accepted
add { a after=a }                     | action.after[0]: names the action itself; name others
add { a after=b,c,b }                 | action.after[2]: names b again; name each action once
add { a after=b,'' }                  | action.after[1]: is empty; give 1 to 128 bytes
add { a after=b%64 }                  |
add { a after=b%65 }                  | action.after: has 65 names; at most 64 are accepted
begin { a } { b participant='' }      | actions[1].participant: is empty; give 1 to 128 bytes
begin ext=k%8:v { a ext=j%8:v }       |
begin ext=k%8:v { a ext=j%9:v }       | actions[0].ext_properties: makes 17 keys and 51 bytes with the transaction's own; at most 16 and 1024 are accepted
begin ext=k:x*511 { a ext=j:x*511 }   |
begin ext=k:x*511 { a } { b ext=j:x*512 } | actions[1].ext_properties: makes 2 keys and 1025 bytes with the transaction's own; at most 16 and 1024 are accepted
begin ext=k:x*1023 { a ext=k:x*1023 } |
begin { a } { b ext=\0:v }            | actions[1].ext_properties: contains NUL; give text without it
";

const SERVED: &str = r"
add { freeze participant=attaches }   |
add { freeze participant=attaches mode=DELIVER } | ! action.mode: is DELIVER; handler freeze of participant attaches answers TCC, COMPENSATE
add { a participant=attaches handler=freeze } |
add { a participant=attaches }        | ! action.handler: participant attaches has no handler a; it has any (any mode), freeze (TCC, COMPENSATE)
add { any participant=attaches mode=DELIVER } |
add { a participant=many }            | ! action.handler: participant many has no handler a; it has h1 (any mode), h2 (any mode), h3 (any mode), h4 (any mode), h5 (any mode), h6 (any mode), h7 (any mode), h8 (any mode) and 1 more
add { a participant=none }            | ! action.handler: participant none has no handler a; it has none
add { a participant=unreadable }      | ~ action.participant: the row of participant unreadable in participant_info cannot be read: protocol is X; repair it, or register the participant again
add { a mode=DELIVER participant=registered } | ! action.handler: participant registered has no handler a; it has credit (CONFIRM), own (CONFIRM, CANCEL), pay (TRY, CONFIRM, CANCEL)
add { pay participant=registered }    |
add { own participant=registered }    |
add { own participant=registered mode=COMPENSATE } |
add { own participant=registered mode=DELIVER } |
add { credit participant=registered mode=DELIVER } |
add { credit participant=registered } | ! action.mode: is TCC, which needs a method for CANCEL; handler credit of participant registered is registered with CONFIRM
add { credit participant=registered mode=COMPENSATE } | ! action.mode: is COMPENSATE, which needs a method for CANCEL; handler credit of participant registered is registered with CONFIRM
begin { own participant=registered }  |
execute { pay participant=registered } |
execute { own participant=registered } | ! actions[0].mode: is TCC, which needs a method for TRY; handler own of participant registered is registered with CONFIRM, CANCEL
execute { own participant=registered mode=COMPENSATE } | ! actions[0].mode: is COMPENSATE, which needs a method for TRY; handler own of participant registered is registered with CONFIRM, CANCEL
execute { own participant=registered already_tried } { a } |
execute { credit participant=registered mode=DELIVER } |
begin { a } { b participant=none } { c participant=q } | ? actions[2].participant: participant q is not known; let it attach once, or register it
                                      | ? actions[1].handler: participant none has no handler b; it has none
begin { b participant=none } { c participant=unreadable } | ~ actions[1].participant: the row of participant unreadable in participant_info cannot be read: protocol is X; repair it, or register the participant again
                                      | ~ actions[0].handler: participant none has no handler b; it has none
add { b participant=none payload=x*65537 } | action.payload: has 65537 bytes; at most 65536 are accepted
begin check_back.participant=many     |
begin check_back.participant=none     | ! check_back.participant: participant none answers no check-backs: none of its instances said so, or it is registered without a method for them
begin check_back.participant=unreadable | ~ check_back.participant: the row of participant unreadable in participant_info cannot be read: protocol is X; repair it, or register the participant again
";

const RETRY: &str = r"
add { a retry.first_delay_ms=3600000 retry.max_delay_ms=86400000 } |
add { a retry.first_delay_ms=3600001 retry.max_delay_ms=86400000 } | action.retry.first_delay_ms: is 3600001; at most 3600000 ms are accepted
add { a retry.max_delay_ms=86400001 }       | action.retry.max_delay_ms: is 86400001; at most 86400000 ms are accepted
add { a retry.first_delay_ms=8 retry.max_delay_ms=7 } | action.retry.max_delay_ms: is 7, below first_delay_ms; give at least 8
add { a retry.max_attempts=10000 }          |
add { a retry.max_attempts=10001 }          | action.retry.max_attempts: is 10001; at most 10000 are accepted
add { a retry.max_age_ms=31536000000 }      |
add { a retry.max_age_ms=31536000001 }      | action.retry.max_age_ms: is 31536000001; at most 31536000000 ms are accepted
add { a retry.call_timeout_ms=600000 }      |
add { a retry.call_timeout_ms=600001 }      | action.retry.call_timeout_ms: is 600001; at most 600000 ms are accepted
begin { a } { b retry.max_attempts=10001 }  | actions[1].retry.max_attempts: is 10001; at most 10000 are accepted
";

const ORDER: &str = r"
begin { a } { b after=a } { c after=a,b }   |
begin { c after=a,b } { b after=a } { a }   |
begin { a } { a }                           | actions[1].name: is that of actions[0] too; names are unique in a transaction
begin { a } { b } { a after=b }             | actions[2].name: is that of actions[0] too; names are unique in a transaction
begin { a after=z } { b }                   | actions[0].after[0]: names z, which is no action of this transaction
begin { a } { b after=a,z,y }               | actions[1].after[1]: names z, which is no action of this transaction
                                            | actions[1].after[2]: names y, which is no action of this transaction
begin { a after=a }                         | actions[0].after[0]: names the action itself; name others
begin { a } { b after=a,a }                 | actions[1].after[1]: names a again; name each action once
begin { a after=b } { b after=a }           | actions[0].after: closes a cycle: the action would have to come before itself
begin { a } { b after=a,d } { c after=b } { d after=c } { e after=d } | actions[1].after: closes a cycle: the action would have to come before itself
";

const DECISIONS: &str = r"
decide                                |
decide reason=''                      |
decide reason=x*1024                  |
decide reason=x*1025                  | reason: has 1025 bytes; at most 1024 are accepted
decide reason=\0                      | reason: contains NUL; give text without it
decide wait=COMPLETED                 |
decide wait=ACCEPTED                  | wait: is not accepted here; give DECIDED or COMPLETED
operator                              |
operator reason=''                    | reason: is empty; give the reason in 1 to 1024 bytes
operator reason=x*1024                |
operator reason=x*1025                | reason: has 1025 bytes; at most 1024 are accepted
retry                                 |
retry reason=''                       | reason: is empty; give the reason in 1 to 1024 bytes
retry reason=\0                       | reason: contains NUL; give text without it
resolve actions=a                     |
resolve actions=a as=CANCELLED        |
resolve actions=a reason=''           | reason: is empty; give the reason in 1 to 1024 bytes
resolve                               | actions: is empty; name the actions to resolve
resolve actions=a%64                  |
resolve actions=a%65                  | actions: has 65 names; at most 64 are accepted
resolve actions=a,b,a                 | actions[2]: names a again; name each action once
resolve actions=a,''                  | actions[1]: is empty; give 1 to 128 bytes
resolve actions=a,x*129               | actions[1]: has 129 bytes; at most 128 are accepted
resolve actions=a as=TRIED            | as: is neither CONFIRMED nor CANCELLED; give one of them
resolve reason='' as=FAILED           | reason: is empty; give the reason in 1 to 1024 bytes
                                      | actions: is empty; name the actions to resolve
                                      | as: is neither CONFIRMED nor CANCELLED; give one of them
";

const TOGETHER: &str = r"
begin { a participant=q } { b participant=r } | ? actions[0].participant: participant q is not known; let it attach once, or register it
                                            | ? actions[1].participant: participant r is not known; let it attach once, or register it
begin { a participant=q } { b payload=x*65537 } | actions[1].payload: has 65537 bytes; at most 65536 are accepted
                                            | actions[0].participant: participant q is not known; let it attach once, or register it
execute check_back.participant=q { a after=z already_tried } timeout_ms=604800001 | timeout_ms: is 604800001; at most 604800000 ms are accepted
                                            | check_back: is not accepted in an Execute: the coordinator decides; use Begin
                                            | actions: has only actions that are already tried; an Execute has at least one that is not
                                            | actions[0].after[0]: names z, which is no action of this transaction
                                            | check_back.participant: participant q is not known; let it attach once, or register it
";

#[test]
fn fields_of_a_transaction() {
    check_table(TRANSACTION);
}

#[test]
fn an_execute_has_rules_of_its_own() {
    check_table(EXECUTE);
}

#[test]
fn check_back_policies() {
    check_table(CHECK_BACK);
}

#[test]
fn fields_of_an_action() {
    check_table(ACTION);
}

#[test]
fn participants_serve_handlers_in_modes() {
    check_table(SERVED);
}

#[test]
fn retry_policies() {
    check_table(RETRY);
}

#[test]
fn the_order_of_actions() {
    check_table(ORDER);
}

#[test]
fn decisions_and_commands() {
    check_table(DECISIONS);
}

/// Every violation is reported at once; unknown participants come last, and alone have a reason of their own.
#[test]
fn several_violations_at_once() {
    check_table(TOGETHER);
}

#[test]
fn paths_begin_with_the_field_that_holds_the_transaction() {
    let request = request("begin business_type='' { a after=b retry.max_attempts=10001 }");
    let found = found(&request, "transaction");
    let paths: Vec<&str> = found
        .iter()
        .map(|v| v.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "transaction.business_type",
            "transaction.actions[0].after[0]",
            "transaction.actions[0].retry.max_attempts",
        ]
    );
}

/// Ids and durations, as front ends read them from text and numbers.
#[test]
fn fields_that_front_ends_read() {
    let field = At::field("f");
    let read = |read: &dyn Fn(&mut Violations)| {
        let mut v = Violations::default();
        read(&mut v);
        words(v.give(()))
    };
    let id = tx_id(1).to_string();
    let v4 = "2f1c0f3e-6f58-4d0e-9d6b-8a3f5f9f8c11";
    let no_id = "f: is no UUIDv7; give a UUIDv7 in its hyphenated form, 36 characters";
    let empty = "f: is empty; give a UUIDv7 in its hyphenated form, 36 characters";
    let cases: [(&str, &[&str]); 5] = [
        (&id, &[]),
        ("", &[empty]),
        ("order-17", &[no_id]),
        (&id.replace('-', ""), &[no_id]),
        (v4, &[no_id]),
    ];
    for (text, expected) in cases {
        let found = read(&|v| {
            let id = v.tx_id(&field, text);
            assert_eq!(id == tx_id(1), expected.is_empty(), "{text}");
        });
        assert_eq!(found, expected, "{text}");
    }
    let negative = "f: is -1; a negative duration is not accepted";
    let cases: [(i64, Option<u64>, &[&str]); 4] = [
        (0, None, &[]),
        (1, Some(1), &[]),
        (i64::MAX, Some(i64::MAX.unsigned_abs()), &[]),
        (-1, None, &[negative]),
    ];
    for (value, expected, violations) in cases {
        let found = read(&|v| {
            let duration = v.millis(&field, value);
            assert_eq!(duration, expected.map(Duration::from_millis), "{value}");
        });
        assert_eq!(found, violations, "{value}");
    }
    let required = read(&|v| {
        assert_eq!(v.require(&field, Some(7), 0, "is missing; give it"), 7);
        assert_eq!(v.require(&field, None, 0, "is missing; give it"), 0);
    });
    assert_eq!(required, ["f: is missing; give it"]);
}

/// What is not served now is refused by name, unless it was served before: that only the rows can tell.
#[test]
fn an_action_that_is_not_served_may_be_a_repetition() {
    let checked = |text: &str| {
        let root = if text.starts_with("add") {
            "action"
        } else {
            ""
        };
        let (asked, root) = (request(text), At::field(root));
        check::checked(asked, &root, &Directory::new(), Violations::default())
    };
    let served = checked("begin { freeze participant=attaches }").unwrap();
    assert!(matches!(served, Request::Begin(..)), "{served:?}");
    for (text, unreadable) in [
        ("begin { freeze participant=none }", false),
        ("add { freeze participant=none }", false),
        ("begin check_back.participant=none", false),
        (
            "begin { a participant=none } { b participant=unreadable }",
            true,
        ),
    ] {
        let Ok(Request::OnlyRepeated(asked, refusal)) = checked(text) else {
            panic!("{text}: perhaps a repetition");
        };
        assert_eq!(*asked, request(text));
        let is_unreadable = matches!(refusal, Refusal::ParticipantUnreadable { .. });
        assert_eq!(is_unreadable, unreadable, "{text}");
    }
    let unknown = checked("begin { a participant=none } { b participant=q }").unwrap_err();
    assert!(
        matches!(unknown, Invalid::UnknownParticipants(_)),
        "{unknown:?}"
    );
}

#[test]
fn a_violation_that_ends_a_request_comes_last() {
    let Request::Begin(new, _) = request("begin { a participant=q } { b payload=x*65537 }") else {
        unreachable!("it begins");
    };
    let mut v = Violations::default();
    let request = Request::Begin(new, Wait::Accepted);
    check::request(&request, &At::field(""), &Directory::new(), &mut v);
    let invalid = v.and(Violation::new("wait", "is unknown"));
    assert!(matches!(invalid, Invalid::Fields(_)));
    let fields: Vec<&str> = invalid.violations().iter().map(|v| &*v.field).collect();
    assert_eq!(
        fields,
        ["actions[1].payload", "actions[0].participant", "wait"]
    );
}

#[test]
fn a_text_that_is_no_name_is_not_repeated() {
    let long = "x".repeat(10_000);
    let spec = ActionSpec {
        after: vec![long.as_str().into(), long.as_str().into()],
        ..tcc("a")
    };
    let add = Request::AddAction(tx_id(1), spec.clone().into());
    let begin = new_transaction(1, Decider::Initiator, vec![spec]);
    let order = Order::Resolve {
        actions: vec![long.as_str().into(), long.into()],
        status: ActionStatus::Confirmed,
    };
    for request in [
        add,
        Request::Begin(begin.into(), Wait::Accepted),
        Request::Operator(tx_id(1), common::command(order)),
    ] {
        let mut v = Violations::default();
        check::request(&request, &At::field(""), &Directory::new(), &mut v);
        let invalid = v.give(()).unwrap_err();
        let violations = invalid.violations();
        assert_eq!(violations.len(), 2, "{violations:?}");
        for violation in violations {
            let expected = "has 10000 bytes; at most 128 are accepted";
            assert_eq!(violation.description, expected);
        }
    }
}

#[test]
fn an_added_action_fits_the_transaction() {
    let transaction = |actions: Vec<ActionSpec>| {
        let new = new_transaction(1, Decider::Initiator, actions);
        Transaction::begin(&new, owner(1), START)
    };
    let two = transaction(vec![tcc("a"), tcc("b")]);
    let fits = |tx: &Transaction, text: &str| {
        check::fits(tx, &actions(text).remove(0)).map_err(|violation| word(&violation))
    };
    assert_eq!(fits(&two, "c"), Ok(()));
    assert_eq!(fits(&two, "c after=b,a"), Ok(()));
    let unknown = "action.after[1]: names y, which is no action of this transaction";
    assert_eq!(fits(&two, "c after=a,y,z"), Err(unknown.into()));
    let full = transaction((0..64).map(|number| tcc(&format!("a{number}"))).collect());
    let one_more = "action: is one more than the 64 of a transaction";
    assert_eq!(fits(&full, "c after=z"), Err(one_more.into()));
    let almost = transaction((0..63).map(|number| tcc(&format!("a{number}"))).collect());
    assert_eq!(fits(&almost, "c after=a62"), Ok(()));
    let mut new = new_transaction(1, Decider::Initiator, []);
    new.ext = [("k".to_owned(), "v".repeat(511))].into();
    let with_properties = Transaction::begin(&new, owner(1), START);
    assert_eq!(fits(&with_properties, "c ext=j:x*511"), Ok(()));
    let too_many = "action.ext_properties: makes 2 keys and 1025 bytes with the transaction's own; at \
                    most 16 and 1024 are accepted";
    assert_eq!(
        fits(&with_properties, "c ext=j:x*512"),
        Err(too_many.into())
    );
}

/// The participants that are known.
#[derive(Default)]
struct Directory(BTreeMap<&'static str, Served>);

impl Directory {
    fn new() -> Self {
        let only = |handlers: Vec<(String, Answers)>, check_backs| Served::Only {
            handlers: handlers
                .into_iter()
                .map(|(name, it)| (name.into(), it))
                .collect(),
            check_backs,
        };
        let modes = Answers::Modes([Mode::Tcc, Mode::Compensate].into());
        let operations = |list: &[Operation]| Answers::Operations(list.iter().copied().collect());
        let methods = [
            ("pay", operations(Operation::ALL)),
            ("own", operations(&[Operation::Confirm, Operation::Cancel])),
            ("credit", operations(&[Operation::Confirm])),
        ];
        let attaches = vec![("freeze".into(), modes), ("any".into(), Answers::All)];
        let many = (1..=9).map(|number| (format!("h{number}"), Answers::All));
        let registered = methods.map(|(name, answers)| (name.into(), answers));
        Self(BTreeMap::from([
            ("p", Served::Any),
            ("initiator", Served::Any),
            ("attaches", only(attaches, false)),
            ("many", only(many.collect(), true)),
            ("none", only(Vec::new(), false)),
            ("registered", only(registered.into(), true)),
        ]))
    }
}

impl check::Directory for Directory {
    fn listed(&self, name: &str) -> Listed<'_> {
        match self.0.get(name) {
            Some(served) => Listed::Serves(served),
            None if name == "unreadable" => Listed::Unreadable("protocol is X"),
            None => Listed::Unknown,
        }
    }
}

fn check_table(text: &str) {
    let mut cases: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in common::table(text) {
        match line[..] {
            ["", violation] => cases.last_mut().unwrap().1.push(violation),
            [request, ""] => cases.push((request, Vec::new())),
            [request, violation] => cases.push((request, vec![violation])),
            _ => panic!("a line has a request and a violation: {line:?}"),
        }
    }
    for (text, expected) in cases {
        let root = if text.starts_with("add") {
            "action"
        } else {
            ""
        };
        assert_eq!(found(&request(text), root), expected, "{text}");
    }
}

fn found(request: &Request, root: &str) -> Vec<String> {
    let mut v = Violations::default();
    check::request(request, &At::field(root), &Directory::new(), &mut v);
    words(v.give(()))
}

fn words(result: Result<(), Invalid>) -> Vec<String> {
    let Err(invalid) = result else {
        return Vec::new();
    };
    let mark = match invalid {
        Invalid::Fields(_) => "",
        Invalid::UnknownParticipants(_) => "? ",
        Invalid::UnreadableParticipants(_) => "~ ",
        Invalid::Unserved(_) => "! ",
    };
    let words = invalid.violations().iter();
    words.map(|v| format!("{mark}{}", word(v))).collect()
}

fn word(violation: &Violation) -> String {
    format!("{}: {}", violation.field, violation.description)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_valid_request_has_no_violation(request in valid::a_request()) {
        let root = if matches!(request, Request::AddAction(..)) { "action" } else { "" };
        prop_assert_eq!(found(&request, root), Vec::<String>::new());
    }
}
