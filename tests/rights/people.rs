//! Users with nothing but a number, and what the system lets them do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::fs::XattrFlags;
use tempfile::TempDir;

/// A user and the one group that he is in.
#[derive(Clone, Copy, Debug)]
pub struct Person(pub u32, pub u32);

/// Owns what is dressed in rights.
pub const OWNER: Person = Person(1001, 1001);
/// The same user with the group of it.
pub const OWNER_AND_MEMBER: Person = Person(1001, 1002);
/// Is in the group of it.
pub const MEMBER: Person = Person(1005, 1002);
/// Is named in the ACL of it.
pub const NAMED: Person = Person(1003, 1234);
/// Is named in the default ACL of the folder.
pub const NEIGHBOUR: Person = Person(1004, 1234);
pub const STRANGER: Person = Person(1234, 1234);
pub const ALL: [Person; 5] = [OWNER, MEMBER, NAMED, NEIGHBOUR, STRANGER];

pub const ACL: &str = "system.posix_acl_access";
pub const DEFAULT_ACL: &str = "system.posix_acl_default";

/// Whether this test can be what it wants to be; says so if not.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        figure!("skipped: only root can give files away and be other users");
    }
    root
}

/// A folder that everybody may enter.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

/// The command where everybody may start it.
fn waltool() -> &'static Path {
    static COPY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let copy = || {
        let folder = folder();
        let path = folder.path().join("waltool");
        copy_program(Path::new(env!("CARGO_BIN_EXE_waltool")), &path);
        (folder, path)
    };
    &COPY.get_or_init(copy).1
}

/// By another process: a program that is started meanwhile would have the copy open for writing, and it could not be run.
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().expect("a run").success());
}

/// Runs the command in a folder as root.
pub fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(waltool()).args(arguments.split(' ')).current_dir(folder).output().expect("a run")
}

/// The same, which succeeds.
pub fn done(folder: &Path, arguments: &str) {
    succeeded(&run(folder, arguments), arguments);
}

pub fn succeeded(output: &Output, what: &str) {
    assert!(output.status.success(), "{what}: {}", complaint(output));
}

pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Person {
    /// Runs the command in a folder as this person.
    pub fn run(self, folder: &Path, arguments: &str) -> Output {
        let mut command = Command::new(waltool());
        command.uid(self.0).gid(self.1).args(arguments.split(' ')).current_dir(folder).output().expect("a run")
    }

    /// What the system lets this person do: some of "rw".
    pub fn may(self, path: &Path) -> String {
        let ask = "if test -r \"$0\"; then printf r; fi; if test -w \"$0\"; then printf w; fi";
        let output = Command::new("sh").args(["-c", ask]).arg(path).uid(self.0).gid(self.1).output().expect("a run");
        String::from_utf8(output.stdout).expect("letters")
    }
}

/// What all of these people may do, in their order.
pub fn may(path: &Path) -> Vec<String> {
    ALL.iter().map(|person| person.may(path)).collect()
}

/// Everything that is granted, and attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rights {
    pub mode: u32,
    pub owner: (u32, u32),
    pub attributes: BTreeMap<String, Vec<u8>>,
}

pub fn rights(path: &Path) -> Rights {
    let file = fs::metadata(path).expect("a file");
    let (mut names, mut value) = (vec![0; 4096], vec![0; 4096]);
    let len = rustix::fs::llistxattr(path, &mut names[..]).expect("names");
    let names = String::from_utf8(names[..len].to_vec()).expect("text");
    let mut attributes = BTreeMap::new();
    for name in names.split_terminator('\0') {
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("a value");
        attributes.insert(name.to_owned(), value[..len].to_vec());
    }
    Rights { mode: file.mode() & 0o7777, owner: (file.uid(), file.gid()), attributes }
}

pub fn mode(path: &Path) -> u32 {
    rights(path).mode
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

pub fn give(path: &Path, person: Person) {
    chown(path, Some(person.0), Some(person.1)).expect("a new owner");
}

pub fn attach(path: &Path, name: &str, value: &[u8]) {
    let set = rustix::fs::setxattr(path, name, value, XattrFlags::empty());
    set.unwrap_or_else(|error| panic!("{}: {name}: {error}; these tests need extended attributes", path.display()));
}

/// An ACL: of the owner, a named user, the group, the mask, all others.
pub fn acl(owner: u16, (user, named): (u32, u16), group: u16, mask: u16, others: u16) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [(1, owner, none), (2, named, user), (4, group, none), (16, mask, none), (32, others, none)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// All kinds of rights: its group may nothing, although the mode, which shows the mask, seems to say so.
pub fn dress(path: &Path) {
    chown(path, Some(OWNER.0), Some(MEMBER.1)).expect("a new owner");
    for name in ["user.note", "trusted.note", "security.note"] {
        attach(path, name, b"of the night");
    }
    let folder = path.is_dir();
    attach(path, ACL, &acl(6 | u16::from(folder), (NAMED.0, 4 | u16::from(folder)), 0, 7, 0));
}

/// Makes a folder give new files more than they should have: to a neighbour, to its group, to all.
pub fn open_by_default(folder: &Path) {
    attach(folder, DEFAULT_ACL, &acl(7, (NEIGHBOUR.0, 7), 7, 7, 7));
}
