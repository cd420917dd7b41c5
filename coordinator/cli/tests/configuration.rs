//! Mistakes in the configuration end the program before it does anything, and `config show` is a file.

#![allow(clippy::unwrap_used)]

#[test]
fn mistakes_end_with_exit_code_2_and_origins_are_shown() {
    let tercet = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_tercet"))
            .args(arguments)
            .output()
            .unwrap()
    };
    for command in [&["serve"][..], &["config", "check"]] {
        let wrong = tercet(&[command, &["--lease", "0s", "--poll-rows=0"]].concat());
        let told = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{told}");
        assert!(
            told.contains("lease (flag)") && told.contains("poll_rows (flag)"),
            "{told}"
        );
        assert!(wrong.stdout.is_empty(), "nothing was bound");
    }
    let right = tercet(&["config", "show", "--lease", "20s"]);
    let shown = String::from_utf8(right.stdout).unwrap();
    let table: toml::Table = shown.parse().unwrap();
    assert_eq!(table["lease"].as_str(), Some("20s"));
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("lease") && line.ends_with("# flag"))
    );
}
