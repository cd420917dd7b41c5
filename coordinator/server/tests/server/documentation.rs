//! The documentation is whole: every key, every limit, every reason.

use std::{fs, path::PathBuf};

use tercet_core::{
    limits::{self, LimitValue},
    model::{ActionStatus, AttemptOutcome, BizStatus, Decider, Mode, Operation, Outcome, TxStatus},
    reason::Reason,
};
use tercet_server::{bounds, config::KEYS};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    for reason in Reason::ALL {
        let page = read(&format!("docs/errors/{reason}.md"));
        assert!(page.contains(reason.word()), "{reason}");
    }
    let folder = root().join("docs/errors");
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        assert!(
            name == "README" || Reason::from_word(&name).is_some(),
            "docs/errors/{name}.md: there is no such code"
        );
    }
}

#[test]
fn the_list_of_errors_names_every_reason() {
    let list = read("docs/errors/README.md");
    for reason in Reason::ALL {
        assert!(list.contains(&format!("{reason}.md")), "{reason}");
    }
}

#[test]
fn every_key_is_explained_with_its_default() {
    let page = read("docs/configuration.md");
    let defaults = tercet_server::Config::default();
    for key in KEYS {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", key.name)))
            .unwrap_or_else(|| panic!("{} is not explained", key.name));
        let default = (key.show)(&defaults);
        assert!(
            row.contains(&default),
            "{}: its default is {default}",
            key.name
        );
    }
}

#[test]
fn every_limit_is_explained_with_its_value() {
    let page = read("docs/configuration.md");
    let all = [limits::all(), bounds::all()].concat();
    assert!(all.len() > 20, "{all:?}");
    for limit in all {
        let name = format!("`{}`", limit.name);
        let is_named = |line: &&str| {
            line.split('|')
                .nth(1)
                .is_some_and(|cell| cell.contains(&name))
        };
        let row = page.lines().find(is_named);
        let row = row.unwrap_or_else(|| panic!("{name} is not explained"));
        let value = in_words(&limit.value);
        assert!(
            row.contains(&value),
            "{name}: its value is {value}, but\n{row}"
        );
    }
}

#[test]
fn every_word_is_in_the_glossary() {
    fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|value| word(*value)).collect()
    }
    let page = read("docs/glossary.md");
    let all = [
        words(Mode::ALL, Mode::word),
        words(Operation::ALL, |operation| match operation {
            Operation::Try => "Try",
            Operation::Confirm => "Confirm",
            Operation::Cancel => "Cancel",
        }),
        words(Outcome::ALL, Outcome::word),
        words(TxStatus::ALL, TxStatus::word),
        words(BizStatus::ALL, BizStatus::word),
        words(ActionStatus::ALL, ActionStatus::word),
        words(AttemptOutcome::ALL, AttemptOutcome::word),
        words(Decider::ALL, Decider::word),
    ];
    for word in all.concat() {
        assert!(page.contains(word), "{word}");
    }
}

/// Returns the value of a bound in the form of the page: a duration in the largest unit that leaves no rest.
fn in_words(value: &LimitValue) -> String {
    let duration = match value {
        LimitValue::Number(number) => return grouped(*number),
        LimitValue::Duration(duration) => duration,
    };
    let millis = u64::try_from(duration.as_millis()).unwrap();
    let units = [(3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let (length, unit) = units
        .into_iter()
        .find(|(length, _)| millis % length == 0)
        .unwrap();
    format!("{} {unit}", grouped(millis / length))
}

/// Returns a number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
