//! Where a run takes place: the machine, the file system, and how the run is scheduled.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs, thread};

use anyhow::Result;

const TRIED: &str = "PEERS_SCHEDULED";

/// Becomes a real-time process of priority 10, so that others on the machine do not come between; where that is not allowed, goes on
/// as it is. Says which.
pub fn schedule() -> &'static str {
    if env::var_os(TRIED).is_some() {
        return "SCHED_FIFO 10";
    }
    let allowed = Command::new("chrt").args(["-f", "10", "true"]).output().is_ok_and(|output| output.status.success());
    if let (true, Ok(me)) = (allowed, env::current_exe()) {
        let error = Command::new("chrt").args(["-f", "10"]).arg(me).args(env::args_os().skip(1)).env(TRIED, "1").exec();
        eprintln!("peers: chrt: {error}");
    }
    "scheduled as any other process, for chrt -f 10 is not allowed"
}

/// The file system of a directory, the kernel and the processors.
pub fn describe(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let (device, system, options) = mounted(&mounts, &folder).unwrap_or(("?", "?", "?"));
    let uname = rustix::system::uname();
    let processors = thread::available_parallelism().map_or(0, usize::from);
    Ok(format!(
        "{} on {system} ({device}, {options}), {} {}, {processors} processors",
        folder.display(),
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
    ))
}

/// The device, the type and the options of what is mounted at or above a path; of several at one place the last.
fn mounted<'a>(mounts: &'a str, path: &Path) -> Option<(&'a str, &'a str, &'a str)> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|fields| fields.len() >= 4 && path.starts_with(fields[1]));
    above.max_by_key(|fields| fields[1].len()).map(|fields| (fields[0], fields[2], fields[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_on_the_last_of_the_longest_mounts_above_it() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmp /tm tmpfs rw 0 0\n/dev/b /tmp xfs ro 0 0\n/dev/c /tmp btrfs rw 0 0\n";
        assert_eq!(mounted(mounts, Path::new("/tmp/x")), Some(("/dev/c", "btrfs", "rw")));
        assert_eq!(mounted(mounts, Path::new("/home")), Some(("/dev/a", "ext4", "rw")));
    }
}
