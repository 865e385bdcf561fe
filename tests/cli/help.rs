//! Help, and the answers to a slip of the hand.

use crate::bench::{Bench, run, waltool};

#[test]
fn the_help_of_each_command_names_its_options() {
    let commands: [(&str, &[&str]); 7] = [
        (
            "dump",
            &[
                "--json",
                "--hex",
                "--raw",
                "--no-payload",
                "--from",
                "--to",
                "--since",
                "--until",
                "--kind",
                "--limit",
                "--tail",
                "--spans",
                "--strict",
                "--format",
                "--color",
                "Examples:",
            ],
        ),
        ("verify", &["--json", "--quiet", "--jobs", "--format", "--color", "Examples:"]),
        ("load", &["FILE", "--output", "--json", "target_offset", "Exit codes:", "Examples:"]),
        ("copy", &["LOG", "NEW", "--json", "--format", "Examples:"]),
        ("formats", &["--json"]),
        ("completions", &["bash", "zsh", "fish", "powershell", "elvish"]),
        ("man", &["Examples:"]),
    ];
    for (command, options) in commands {
        let help = run(waltool().args([command, "--help"]));
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
        for option in options {
            assert!(help.out.contains(option), "{command} --help lacks {option}");
        }
    }
}

#[test]
fn help_and_version_are_success_and_go_to_stdout() {
    for argument in ["--help", "-h", "--version", "-V", "help"] {
        let help = run(waltool().arg(argument));
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{argument}");
        assert!(help.out.contains("waltool"), "{argument}");
    }
    assert!(run(waltool().arg("--help")).out.contains("Exit codes:"));
}

#[test]
fn no_arguments_at_all_is_a_usage_error_that_shows_the_help() {
    let bare = run(&mut waltool());
    assert_eq!((bare.code, bare.out.as_str()), (2, ""));
    assert!(bare.err.contains("Usage:"));
}

#[test]
fn a_typo_is_answered_with_what_was_meant() {
    let cases: [(&[&str], &str); 4] = [
        (&["verfy", "x"], "verify"),
        (&["dump", "--jsn", "x"], "--json"),
        (&["dump", "--format", "sqlit", "x"], "sqlite"),
        (&["completions", "bsh"], "bash"),
    ];
    for (arguments, meant) in cases {
        let typo = run(waltool().args(arguments));
        assert_eq!((typo.code, typo.out.as_str()), (2, ""), "{arguments:?}");
        assert!(typo.err.contains(meant), "{arguments:?}: {}", typo.err);
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let bench = Bench::new();
    let log = bench.native("log", 1);
    for options in [
        ["--json", "--hex"],
        ["--json", "--raw"],
        ["--hex", "--raw"],
        ["--limit=1", "--tail=1"],
        ["--no-payload", "--hex"],
    ] {
        assert_eq!(run(waltool().arg("dump").args(options).arg(&log)).code, 2, "{options:?}");
    }
}

#[test]
fn formats_lists_every_format_as_text_and_as_json() {
    let text = run(waltool().arg("formats"));
    let lines = run(waltool().args(["formats", "--json"]));
    let names: Vec<_> = lines.json().iter().map(|line| line["name"].as_str().expect("a name").to_string()).collect();
    assert_eq!(names, ["native", "sqlite"]);
    for (name, line) in names.iter().zip(lines.json()) {
        assert!(text.out.contains(name.as_str()));
        for key in ["about", "verbs", "checksum", "recognised_by", "kinds"] {
            assert!(!line[key].is_null(), "{name} has no {key}");
        }
    }
}
