//! The table of fail points agrees with the code.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use tercet_crash::points::POINTS;

/// The folders whose code may have fail points.
const SOURCES: [&str; 3] = [
    "coordinator/server/src",
    "coordinator/store/src",
    "participant-sdk/rust/src",
];

fn reached(folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            reached(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("reach(\"").skip(1) {
                let name = part.split('"').next().unwrap().to_owned();
                *found.entry(name).or_default() += 1;
            }
        }
    }
}

#[test]
fn every_point_of_the_code_is_in_the_table_and_the_other_way_round() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut in_code = BTreeMap::new();
    for folder in SOURCES {
        reached(&root.join(folder), &mut in_code);
    }
    let in_code: Vec<&str> = in_code.keys().map(String::as_str).collect();
    let mut in_table: Vec<&str> = POINTS.iter().map(|point| point.name).collect();
    in_table.sort_unstable();
    assert_eq!(in_code, in_table);
}
