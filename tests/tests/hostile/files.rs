//! Configuration, orders, faults.

use std::path::PathBuf;

use proptest::prelude::*;
use tercet_server::config::{Effective, KEYS, Sources};

fn read(text: &str) -> Result<(), Vec<(String, String)>> {
    let sources = Sources {
        file: Some((PathBuf::from("tercet.toml"), text.to_owned())),
        ..Sources::default()
    };
    let mistakes = Effective::from_sources(&sources).map(drop);
    mistakes.map_err(|mistakes| mistakes.0.into_iter().map(|it| (it.key, it.what)).collect())
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..KEYS.len()).prop_map(|index| KEYS[index].name.to_owned()),
        "[a-z_]{1,12}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| format!("{:?}", toml_safe(&text))),
        "[0-9]{1,20}(ns|ms|s|m|h|d|y)".prop_map(|text| format!("\"{text}\"")),
        Just("true".to_owned()),
        Just("[1, 2]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("nan".to_owned()),
    ]
}

fn toml_safe(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).collect()
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_every_mistake_has_a_key_and_words(text in any::<String>()) {
        if let Err(mistakes) = read(&text) {
            prop_assert!(!mistakes.is_empty());
            for (key, what) in mistakes {
                prop_assert!(!key.is_empty() && !what.is_empty());
            }
        }
    }

    #[test]
    fn any_keys_with_any_values_too(lines in prop::collection::btree_map(key(), value(), 0..8)) {
        let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let text = lines.join("\n");
        if let Err(mistakes) = read(&text) {
            for (key, what) in mistakes {
                prop_assert!(!key.is_empty() && !what.is_empty(), "{}", text);
            }
        }
    }

    #[test]
    fn any_bytes_are_orders_or_the_lines_that_are_not_are_named(
        lines in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            any::<String>().prop_map(String::into_bytes),
            Just(b"o-1,ada,10,coffee".to_vec()),
            Just(b"o-1,ada,-10,coffee".to_vec()),
            Just(b"\"o-1,ada,10,coffee".to_vec()),
        ], 0..12),
        with_header in any::<bool>(),
    ) {
        let seed = "[[account]]\nuser = \"ada\"\npoints = 10\n[[coupon]]\nkind = \"coffee\"\nstock = 1\nper_user = 1\n";
        let mut bytes = if with_header { b"order_id,user,points,coupon\n".to_vec() } else { Vec::new() };
        bytes.extend(lines.join(&b'\n'));
        let count = bytes.split(|byte| *byte == b'\n').count();
        match demo_player::read_orders(&bytes, seed) {
            Err(what) => prop_assert!(!what.is_empty()),
            Ok((good, bad)) => {
                prop_assert!(good + bad.len() <= count);
                prop_assert!(bad.iter().all(|line| (1..=count).contains(line)));
            }
        }
    }

    #[test]
    fn any_text_is_a_seed_file_or_refused_with_words(text in any::<String>()) {
        if let Err(what) = demo_player::read_orders(b"", &text) {
            prop_assert!(!what.is_empty());
        }
    }

    #[test]
    fn any_text_is_a_fault_or_refused_with_what_is_accepted(
        text in prop_oneof![any::<String>(), "(try|confirm|x):(points|coupons|x)=[0-9.eE+-]{0,6}(:[a-z]{0,6})?"]
    ) {
        match text.parse::<demo_service::Fault>() {
            Ok(fault) => prop_assert_eq!(fault.to_string().parse::<demo_service::Fault>(), Ok(fault)),
            Err(what) => prop_assert!(what.contains("expected"), "{}", what),
        }
    }
}
