//! The layers of the crate: a module uses only what lies below it, rooms do not see each other, the crates of the command line
//! stay in the command line, and only the vfs touches the system's files.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up, as in `src/lib.rs`. A module may use its own layer and those before it.
const LAYERS: [&[&str]; 7] = [
    &["bytes", "checksum", "bitflip", "error", "shown", "vfs"],
    &["span", "tally", "decode", "format"],
    &["formats"],
    &["window", "log", "scan", "parallel"],
    &["verdict", "report", "ranges"],
    &["durable", "rights", "sparse", "locks"],
    &["plan", "repair", "quarantine", "salvage", "replay", "load", "copy", "wal"],
];
/// Files of the binary; they use the library by its name.
const COMMAND: [&str; 3] = ["main", "cli", "print"];
/// Crates that only the command may use.
const COMMAND_CRATES: [&str; 12] = [
    "anstream",
    "anstyle",
    "anyhow",
    "clap",
    "clap_complete",
    "clap_mangen",
    "comfy_table",
    "hex",
    "indicatif",
    "jiff",
    "serde",
    "serde_json",
];
/// Names by which code asks the system for its files, its clock or its random numbers: modules of `std` and `rustix`.
const SYSTEM: [&str; 4] = ["fs", "rand", "getrandom", "SystemTime"];
/// The same, as methods of a path.
const OF_A_PATH: [&str; 9] = [
    ".is_dir()",
    ".is_file()",
    ".is_symlink()",
    ".exists()",
    ".try_exists()",
    ".metadata()",
    ".symlink_metadata()",
    ".canonicalize()",
    ".read_dir()",
];
/// What the crate's root gives its modules beside the modules.
const ROOT: [&str; 2] = ["Shown", "quoted"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file, with its path in `src` and its lines of code without comments.
fn files() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths.sort();
    assert!(paths.len() >= 40, "{} files in {}", paths.len(), root.display());
    let code = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned());
        (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), lines.collect())
    };
    paths.iter().map(code).collect()
}

fn module(file: &str) -> &str {
    file.trim_end_matches(".rs").split('/').next().unwrap()
}

fn layer(module: &str) -> usize {
    let layer = LAYERS.iter().position(|layer| layer.contains(&module));
    layer.unwrap_or_else(|| panic!("module {module} has no place in the layers: give it one here and in src/lib.rs"))
}

/// The names that follow `prefix` in a line: one, or those of a group in braces.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group.split('}').next().unwrap_or_default().split(", ").map(word)),
            None => names.push(word(rest)),
        }
    }
    names
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut uses = 0;
    for (file, lines) in files() {
        let user = module(&file);
        if user == "lib" || COMMAND.contains(&user) {
            continue;
        }
        for used in lines.iter().flat_map(|line| names_after(line, "crate::")) {
            if !ROOT.contains(&used) {
                assert!(layer(used) <= layer(user), "src/{file} uses {used}, which lies above it");
            }
            uses += 1;
        }
    }
    assert!(uses >= 60, "{uses} uses");
}

#[test]
fn rooms_do_not_see_each_other() {
    let files = files();
    let room = |file: &str| file.strip_prefix("formats/").map(|rest| module(rest).to_owned());
    let rooms: Vec<_> = files.iter().filter_map(|(file, _)| room(file)).filter(|room| room != "mod").collect();
    assert!(rooms.iter().any(|room| room == "native"));
    let mut uses = 0;
    for (file, lines) in &files {
        let Some(own) = room(file).filter(|room| room != "mod") else { continue };
        for used in lines.iter().flat_map(|line| names_after(line, "formats::")) {
            // blocks.rs is a tool of several rooms, not a room.
            assert!(used == own || used == "blocks", "src/{file} uses the room {used}");
            uses += 1;
        }
        for line in lines {
            let other = rooms.iter().find(|other| **other != own && line.contains(&format!("super::super::{other}")));
            assert!(other.is_none(), "src/{file} uses the room {other:?}");
        }
    }
    assert!(uses >= 3, "{uses} uses");
}

#[test]
fn the_crates_of_the_command_line_stay_in_it() {
    let mut uses = 0;
    for (file, lines) in files() {
        let command = COMMAND.contains(&module(&file));
        for line in &lines {
            for name in COMMAND_CRATES {
                let starts = |form: &str| line.trim_start().starts_with(form);
                let path = format!("{name}::");
                let used = starts(&format!("use {path}"))
                    || starts(&format!("use {name};"))
                    || line.match_indices(&path).any(|(at, _)| {
                        let before = line[..at].chars().next_back();
                        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
                    });
                // A module of the crate may have the name of one: `format::hex` is not the crate.
                assert!(!used || command, "src/{file} uses {name}: {line}");
                uses += usize::from(used);
            }
        }
    }
    assert!(uses >= 10, "{uses} uses");
}

#[test]
fn only_the_vfs_touches_the_systems_files() {
    let mut uses = 0;
    for (file, lines) in files() {
        if COMMAND.contains(&module(&file)) {
            continue;
        }
        // Unit tests stand at the end of a file.
        for line in lines.iter().take_while(|line| line.trim() != "#[cfg(test)]") {
            // POSIX record locks are taken on the file that a `VfsFile` says is real.
            let line = if file == "locks.rs" { line.replace("rustix::fs::", "") } else { line.clone() };
            let mut names = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let asks = names.any(|name| SYSTEM.contains(&name)) || OF_A_PATH.iter().any(|call| line.contains(call));
            assert!(!asks || module(&file) == "vfs", "src/{file} goes past the vfs: {line}");
            uses += usize::from(asks);
        }
    }
    assert!(uses >= 20, "{uses} uses");
}
