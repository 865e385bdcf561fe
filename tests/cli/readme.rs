//! README's examples are run, in its order and in one folder, and must print what README shows. `BLESS=1` writes what they
//! print into README.

use std::fs;
use std::path::Path;
use std::process::Command;

/// README, cut at the fences of its examples: text, example, text, …
fn parts(readme: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in readme.split_inclusive('\n') {
        let inside = parts.len().is_multiple_of(2);
        if (line == "```console\n" && !inside) || (line == "```\n" && inside) {
            parts.push(String::new());
        } else {
            let last = parts.last_mut().expect("there is always one");
            last.push_str(line);
        }
    }
    parts
}

/// An example as it should read: each command, then what it prints.
fn run(example: &str, folder: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_waltool")).parent().expect("a binary lies in a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut shown = String::new();
    for command in example.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(folder)
            .env("PATH", &path)
            .output();
        let output = output.expect("a shell");
        shown += &format!("$ {command}\n{}", String::from_utf8(output.stdout).expect("README is text"));
    }
    shown
}

#[test]
fn every_example_prints_what_readme_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink(root.join("fixtures"), folder.path().join("fixtures")).expect("a link");
    let mut written = String::new();
    let mut examples = 0;
    for (index, part) in parts(&readme).into_iter().enumerate() {
        let example = index % 2 == 1;
        // The set-up is run by whoever sets up: this test is a part of its second command.
        if example && !part.contains("$ cargo") {
            examples += 1;
            written += &format!("```console\n{}```\n", run(&part, folder.path()));
        } else if example {
            written += &format!("```console\n{part}```\n");
        } else {
            written += &part;
        }
    }
    assert!(examples >= 8, "{examples} examples");
    if std::env::var_os("BLESS").is_some() {
        fs::write(root.join("README.md"), &written).expect("README.md");
    } else {
        assert_eq!(written, readme, "README.md is not what the program prints; BLESS=1 mends it");
    }
}
