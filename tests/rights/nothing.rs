//! What is made from nothing: the umask decides.

use std::fs;
use std::path::Path;
use std::process::Command;

use waltool::wal::{DurableFile, Wal};

use super::people::{STRANGER, folder, is_root, mode, open_by_default, set_mode, succeeded};

const CHILD: &str = "WALTOOL_RIGHTS_FOLDER";

/// The child: makes a new file through a log, and new logs, under the umask that it was given.
fn make(folder: &Path) {
    let file = DurableFile::open(folder.join("totals")).expect("a file");
    let mut transaction = file.begin();
    transaction.write(0, b"orders 4711");
    transaction.commit().expect("committed");
    file.close().expect("closed");
    for name in ["log", "made-before"] {
        let log = Wal::open(folder.join(name)).expect("a log");
        let mut transaction = log.begin();
        transaction.data(b"order");
        transaction.commit().expect("committed");
        log.close().expect("closed");
    }
}

fn under(umask: &str, folder: &Path) {
    let test = "nothing::new_files_and_logs_follow_the_umask";
    let mut child = Command::new("sh");
    child.args(["-c", "umask $0 && exec \"$@\"", umask]).arg(std::env::current_exe().expect("this test"));
    let output = child.args(["--exact", test]).env(CHILD, folder).output().expect("a run");
    succeeded(&output, &String::from_utf8_lossy(&output.stdout));
    let lines = folder.join("lines");
    fs::write(&lines, "{\"kind\":\"data\",\"text\":\"x\"}\n{\"kind\":\"commit\"}\n").expect("lines");
    let mut load = Command::new("sh");
    load.args(["-c", "umask $0 && exec \"$@\"", umask]).arg(env!("CARGO_BIN_EXE_waltool"));
    let output = load.arg("load").arg(&lines).arg("--output").arg(folder.join("loaded")).output().expect("a run");
    succeeded(&output, "load");
}

#[test]
fn new_files_and_logs_follow_the_umask() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return make(Path::new(&folder));
    }
    for (umask, of_file, of_folder) in
        [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("077", 0o600, 0o700), ("002", 0o664, 0o775)]
    {
        let folder = folder();
        let mode = |name: &str| mode(&folder.path().join(name));
        fs::create_dir(folder.path().join("made-before")).expect("a folder");
        set_mode(&folder.path().join("made-before"), 0o750);
        under(umask, folder.path());
        assert_eq!(mode("totals"), of_file, "{umask}: the file, for whoever reads it");
        assert_eq!((mode("totals.wal"), mode("totals.wal/00000002.wal")), (0o700, 0o600), "{umask}: its log");
        for log in ["log", "loaded"] {
            assert_eq!(mode(log), of_folder, "{umask}: {log}");
            assert_eq!(mode(&format!("{log}/00000001.wal")), of_file, "{umask}: {log}");
        }
        assert_eq!(mode("log/LOCK"), of_file, "{umask}");
        assert_eq!((mode("made-before"), mode("made-before/00000001.wal")), (0o750, of_file & 0o640), "{umask}");
    }
}

#[test]
fn the_log_of_a_file_is_its_owners_in_any_folder() {
    if !is_root() {
        return;
    }
    let folder = folder();
    open_by_default(folder.path());
    fs::create_dir(folder.path().join("made-before")).expect("a folder");
    under("000", folder.path());
    assert_eq!(STRANGER.may(&folder.path().join("totals")), "rw", "the folder's default ACL decides of the file");
    for name in ["totals.wal", "totals.wal/LOCK"] {
        assert_eq!(super::people::may(&folder.path().join(name)), [""; 5], "{name}");
    }
}
