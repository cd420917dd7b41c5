//! The documentation is whole: every key, every limit, every reason.

use std::{fs, path::PathBuf};

use tercet_server::{api::error::REASONS, config::KEYS};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_reason_has_a_page() {
    for reason in REASONS {
        assert!(read(&format!("docs/errors/{reason}.md")).contains(reason));
    }
}

#[test]
fn every_reason_of_the_core_is_in_the_list() {
    let source = read("coordinator/core/src/refusal.rs");
    let reasons = source.split("pub fn reason").nth(1).unwrap();
    let mut found = 0;
    for word in reasons.split('"').skip(1).step_by(2) {
        assert!(REASONS.contains(&word), "{word}");
        found += 1;
    }
    assert!(found > 10);
}

#[test]
fn every_key_is_explained_with_what_it_accepts() {
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
    for source in [
        "coordinator/core/src/limits.rs",
        "coordinator/server/src/limits.rs",
    ] {
        let source = read(source);
        let constants = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub const "));
        let mut found = 0;
        for constant in constants {
            let name = constant.split(':').next().unwrap();
            let row = page
                .lines()
                .find(|line| line.contains(&format!("`{name}`")));
            let row = row.unwrap_or_else(|| panic!("{name} is not explained"));
            let value = constant.split(" = ").nth(1).unwrap().trim_end_matches(';');
            let value = in_words(value);
            assert!(
                row.contains(&value),
                "{name}: its value is {value}, but\n{row}"
            );
            found += 1;
        }
        assert!(found > 10, "constants are not found any more");
    }
}

/// The value of a constant as the page has it.
fn in_words(value: &str) -> String {
    let number = |text: &str| {
        let factors = text
            .split('*')
            .map(|f| f.trim().replace('_', "").parse::<u64>().unwrap());
        let digits = factors.product::<u64>().to_string();
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    };
    let Some(duration) = value.strip_prefix("Duration::from_") else {
        return number(value);
    };
    let (unit, amount) = duration.trim_end_matches(')').split_once('(').unwrap();
    let unit = match unit {
        "millis" => "ms",
        "secs" => "s",
        "mins" => "min",
        "hours" => "h",
        other => panic!("{other}"),
    };
    format!("{} {unit}", number(amount))
}
