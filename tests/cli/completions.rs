//! `waltool completions` and the scripts in `completions/`, which it wrote. `BLESS=1` writes them again.

use std::fs;
use std::path::Path;

use crate::bench::{run, waltool};

const SCRIPTS: [(&str, &str); 5] = [
    ("bash", "waltool.bash"),
    ("zsh", "_waltool"),
    ("fish", "waltool.fish"),
    ("powershell", "_waltool.ps1"),
    ("elvish", "waltool.elv"),
];

#[test]
fn the_committed_scripts_are_those_of_the_arguments() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in SCRIPTS {
        let script = run(waltool().args(["completions", shell]));
        assert_eq!((script.code, script.err.as_str()), (0, ""), "{shell}");
        let path = folder.join(file);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &script.out).expect("a script");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(script.out == committed, "completions/{file} is not in step; run the tests with BLESS=1");
    }
    assert_eq!(fs::read_dir(&folder).expect("completions/").count(), SCRIPTS.len(), "a script without a shell");
}

#[test]
fn the_manual_has_every_command_and_its_options() {
    let page = run(waltool().arg("man")).out;
    assert!(page.contains(".TH waltool 1"));
    for part in ["WALTOOL DUMP", "WALTOOL VERIFY", "WALTOOL FORMATS", "\\-\\-no\\-payload", "Exit codes"] {
        assert!(page.contains(part), "{part}");
    }
}
