//! Where a new file or directory has its rights from: its owner, its mode, its ACL and its other extended attributes.
//!
//! There are three ways to make one:
//!
//! - [`Origin::Nothing`]: the umask decides, or the default ACL of the directory.
//! - [`Origin::InPlaceOf`]: it replaces a file and keeps all the rights of that, or it does not replace it.
//! - [`Origin::Another`]: it is made from another file and grants nobody more than that does. Where this process may not give it to
//!   the same owner, it belongs to the user who runs this process.
//!
//! **At no moment is more granted.** What is made in the last two ways is created for its owner only. An ACL that it got from the
//! default ACL of its directory is removed while the mode keeps it without effect, for the bits of the group are the mask of an ACL.
//! Then come the owner, the attributes that grant nothing, the ACL, and at last the mode.
//!
//! | attribute | in place of a file | from another |
//! |---|---|---|
//! | `system.*`: POSIX ACLs, and those of other systems | kept | kept with owner and group; without one of them, only the owner has rights |
//! | `user.*` | kept | kept where that is possible |
//! | `security.*`: labels | kept | kept where that is possible |
//! | `trusted.*`, which only root sees | kept | left out: they say what this very file is to the program that set them |
//! | `security.capability`, `.ima`, `.evm` | left out | left out: a write takes the first away, the others speak of the content |

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::vfs::{Access, Kind, OPEN, OPEN_FOLDER, PRIVATE, PRIVATE_FOLDER, Rights, Vfs, VfsFile};

/// The permissions of the owner, of the group and of all others, without those bits that change how a file is run.
const PERMISSIONS: u32 = 0o777;
/// For a directory the other bits say whose its files will be and who may remove them; that grants nothing. All but setuid.
const FOLDER_PERMISSIONS: u32 = 0o3777;
/// What the owner has.
const OWNERS: u32 = 0o700;

/// Where a new file or directory has its rights from. See the [module](self).
#[derive(Clone, Debug)]
pub enum Origin {
    /// It is made from nothing.
    Nothing,
    /// It replaces this file.
    InPlaceOf(Source),
    /// It is made from this file or directory.
    Another(Source),
}

/// A file or directory as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    rights: Rights,
}

impl Source {
    /// The open `file`, whose name is `path`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn of(file: &dyn VfsFile, path: &Path) -> Result<Self> {
        let rights = file.rights().map_err(|source| Error::read(path, source))?;
        Ok(Self { path: path.into(), rights })
    }

    /// The file or directory of that name.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn at(disk: &dyn Vfs, path: &Path) -> Result<Self> {
        Self::of(&*disk.open(path, Access::Read).map_err(|source| Error::read(path, source))?, path)
    }

    /// With no more rights than the directory that it is in lets anybody use.
    #[must_use]
    pub fn within(mut self, folder: &Self) -> Self {
        let everybody = 0o011;
        let Rights { mode, owner, attributes } = &folder.rights;
        if mode & everybody == everybody && !attributes.keys().any(|name| is_acl(name)) {
            return self;
        }
        let group = if mode & 0o010 == 0 { 0 } else { 0o070 };
        let others = if mode & 0o001 == 0 { 0 } else { 0o007 };
        let known = *owner == self.rights.owner && ![folder, &self].iter().any(|of| of.has_acl());
        self.rights.mode &= if known { OWNERS | group | others } else { OWNERS };
        self.rights.attributes.retain(|name, _| !is_acl(name));
        self
    }

    fn has_acl(&self) -> bool {
        self.rights.attributes.keys().any(|name| is_acl(name))
    }
}

impl Origin {
    /// In the place of the open `file`, whose name is `path`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn in_place_of(file: &dyn VfsFile, path: &Path) -> Result<Self> {
        Source::of(file, path).map(Self::InPlaceOf)
    }

    /// From the open `file`, whose name is `path`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn another(file: &dyn VfsFile, path: &Path) -> Result<Self> {
        Source::of(file, path).map(Self::Another)
    }

    /// From the file or directory of that name.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn another_at(disk: &dyn Vfs, path: &Path) -> Result<Self> {
        Source::at(disk, path).map(Self::Another)
    }

    /// The mode with which a file is created.
    pub(crate) fn mode(&self) -> u32 {
        if matches!(self, Self::Nothing) { OPEN } else { PRIVATE }
    }

    /// The mode with which a directory is created.
    pub(crate) fn folder_mode(&self) -> u32 {
        if matches!(self, Self::Nothing) { OPEN_FOLDER } else { PRIVATE_FOLDER }
    }

    /// Gives `file` its rights, which was created with the mode for that. Not durable yet. To do it twice changes nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot have what it must have, or would have more than it may; [`Error::Write`].
    pub(crate) fn give(&self, file: &dyn VfsFile, path: &Path) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::InPlaceOf(source) => Giving { file, path, source }.all(),
            Self::Another(source) => Giving { file, path, source }.no_more(),
        }
    }
}

/// A file that is given the rights of another.
struct Giving<'a> {
    file: &'a dyn VfsFile,
    path: &'a Path,
    source: &'a Source,
}

impl Giving<'_> {
    /// All of them, or it fails.
    fn all(&self) -> Result<()> {
        let (have, want) = (self.rights()?, &self.source.rights);
        self.drop_acls(&have, |name| !want.attributes.contains_key(name))?;
        if have.owner != want.owner {
            self.file.set_owner(want.owner).map_err(|error| self.lost(&owner(want.owner), error))?;
        }
        let differs = |(name, value): &(&std::ffi::OsString, &Vec<u8>)| have.attributes.get(*name) != Some(*value);
        let (acls, plain): (Vec<_>, Vec<_>) = kept(want).filter(differs).partition(|(name, _)| is_acl(name));
        for (name, value) in plain.into_iter().chain(acls) {
            let what = || format!("its attribute {}", crate::Shown(name.as_bytes()));
            self.file.set_attribute(name, Some(value)).map_err(|error| self.lost(&what(), error))?;
        }
        if self.rights()?.mode != want.mode {
            self.file.set_mode(want.mode).map_err(|error| self.lost(&mode(want.mode), error))?;
        }
        let now = self.rights()?;
        let silent = || io::Error::other("the file system did not take it");
        if now.owner != want.owner {
            return Err(self.lost(&owner(want.owner), silent()));
        }
        if let Some((name, _)) = kept(want).find(|(name, value)| now.attributes.get(*name) != Some(*value)) {
            return Err(self.lost(&format!("its attribute {}", crate::Shown(name.as_bytes())), silent()));
        }
        if now.mode != want.mode { Err(self.lost(&mode(want.mode), silent())) } else { Ok(()) }
    }

    /// As many as can be, and no others.
    fn no_more(&self) -> Result<()> {
        let want = &self.source.rights;
        let have = self.rights()?;
        self.drop_acls(&have, |_| true)?;
        let owner = self.take_owner(have.owner)?;
        for (name, value) in kept(want).filter(|(name, _)| !is_acl(name) && !is_trusted(name)) {
            if have.attributes.get(name) != Some(value) {
                self.try_to(self.file.set_attribute(name, Some(value)))?;
            }
        }
        let mut mode = self.mode_for(owner)?;
        if self.source.has_acl() {
            let acls = || kept(want).filter(|(name, _)| is_acl(name));
            let mut whole = owner == want.owner;
            for (name, value) in acls().filter(|_| owner == want.owner) {
                whole &= self.try_to(self.file.set_attribute(name, Some(value)))?;
            }
            mode &= if whole { !0 } else { OWNERS };
        }
        if self.rights()?.mode != mode {
            self.try_to(self.file.set_mode(mode))?;
        }
        let now = self.rights()?.mode;
        if now & !mode & PERMISSIONS & !OWNERS == 0 {
            return Ok(());
        }
        let why = format!(
            "its file system gives it the mode {now:04o}, which grants more than {mode:04o} as {} does; write it elsewhere",
            crate::shown(&self.source.path)
        );
        Err(Error::refused(self.path, why))
    }

    /// Gives the file to the owner of the source, as far as that is permitted: else to its group, else to nobody. Says whose it is.
    fn take_owner(&self, own: (u32, u32)) -> Result<(u32, u32)> {
        let want = self.source.rights.owner;
        if own == want || self.try_to(self.file.set_owner(want))? {
            return Ok(self.rights()?.owner);
        }
        self.try_to(self.file.set_owner((own.0, want.1)))?;
        Ok(self.rights()?.owner)
    }

    /// The mode by which nobody has more rights than the source gives, if the file is this owner's. Who is of another class than
    /// before has what both classes have.
    fn mode_for(&self, owner: (u32, u32)) -> Result<u32> {
        let Rights { mode, owner: was, .. } = self.source.rights;
        let folder = self.file.stat().map_err(|error| self.failed(error))?.kind == Kind::Folder;
        if owner == was {
            return Ok(mode & if folder { FOLDER_PERMISSIONS } else { PERMISSIONS });
        }
        let (user, group, others) = (mode >> 6 & 7, mode >> 3 & 7, mode & 7);
        // Whoever owns the file can give himself what he needs to use it.
        let own = match (owner.0 == was.0, folder) {
            (true, _) => user,
            (false, true) => user | 7,
            (false, false) => user | 6,
        };
        let (group, others) = match owner.1 == was.1 {
            true => (group & user, others & user),
            false => (user & group & others, user & group & others),
        };
        Ok(own << 6 | group << 3 | others)
    }

    /// Removes ACLs that the directory's default ACL has brought.
    fn drop_acls(&self, have: &Rights, which: impl Fn(&OsStr) -> bool) -> Result<()> {
        for name in have.attributes.keys().filter(|name| is_posix_acl(name) && which(name)) {
            self.file.set_attribute(name, None).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Whether the system could do it; anything else that it says is an error.
    fn try_to(&self, done: io::Result<()>) -> Result<bool> {
        match done {
            Ok(()) => Ok(true),
            Err(error) if is_impossible(&error) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn rights(&self) -> Result<Rights> {
        self.file.rights().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::write(self.path, "set the owner and permissions of", error)
    }

    /// The file that was to be replaced would lose this.
    fn lost(&self, what: &str, error: io::Error) -> Error {
        if !is_impossible(&error) && error.raw_os_error().is_some() {
            return self.failed(error);
        }
        let why =
            format!("the file that is to replace it cannot keep {what}: {error}; run this as root or as its owner");
        Error::refused(&self.source.path, why)
    }
}

/// The attributes that a new file can have from another.
fn kept(rights: &Rights) -> impl Iterator<Item = (&std::ffi::OsString, &Vec<u8>)> {
    const OF_THE_CONTENT: [&str; 3] = ["security.capability", "security.ima", "security.evm"];
    rights.attributes.iter().filter(|(name, _)| !OF_THE_CONTENT.iter().any(|other| name.as_os_str() == *other))
}

fn is_acl(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"system.")
}

fn is_posix_acl(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"system.posix_acl_")
}

fn is_trusted(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"trusted.")
}

/// This process may not do it, or the file system cannot.
fn is_impossible(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

fn owner((user, group): (u32, u32)) -> String {
    format!("its owner, user {user} and group {group}")
}

fn mode(mode: u32) -> String {
    format!("its mode {mode:04o}")
}
