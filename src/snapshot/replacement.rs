//! A file that takes the place of another as a whole, or not at all.
//!
//! It is written under a name of its own in the same folder, and renamed when it is on the disk. Whenever
//! the process or the machine ends before that, the old one is still there.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, OFlags, access, flock};
use rustix::io::Errno;

use crate::explain::explain;

/// What the name of the file that is being written ends in.
const SUFFIX: &str = ".tmp";

/// Values are nobody else's business.
const MODE: u32 = 0o600;

/// Times that the file may have gone between its opening and its locking: each time another process has
/// just renamed its own.
const TRIES_MAX: u32 = 16;

/// A new file for a path. Dropped before [`commit`](Self::commit), it is removed.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    is_done: bool,
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Checks that a file could be written at a path: better at the start than at the end.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let what = || format!("can't write a snapshot at {}", path.display());
    if path.file_name().is_none() || fs::metadata(path).is_ok_and(|file| !file.is_file()) {
        return Err(explain(what())(io::Error::other("it is no regular file")));
    }
    access(folder_of(path), Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| explain(format!("{}: its folder", what()))(error))
}

impl Replacement {
    /// Begins a file, which no other process does for the same path at the same time.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut name = OsString::from(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(SUFFIX);
        let temporary = path.with_file_name(name);
        for _ in 0..TRIES_MAX {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(MODE)
                .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
                .open(&temporary)?;
            // Some file systems have no locks, which is another error.
            if let Err(error @ Errno::WOULDBLOCK) =
                flock(&file, FlockOperation::NonBlockingLockExclusive)
            {
                return Err(explain("another process is writing it")(error));
            }
            // Whoever had the lock before may have renamed the file, which is then a snapshot.
            let is_same = |at: Metadata, of: Metadata| (at.dev(), at.ino()) == (of.dev(), of.ino());
            if fs::symlink_metadata(&temporary)
                .is_ok_and(|at| file.metadata().is_ok_and(|of| is_same(at, of)))
            {
                file.set_len(0)?;
                return Ok(Self { path: path.to_owned(), temporary, file, is_done: false });
            }
        }
        Err(io::Error::other("other processes write it all the time"))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file, with all that was written to it, in the place of the old one.
    pub(super) fn commit(mut self) -> io::Result<()> {
        self.file.sync_all().map_err(explain("fsync"))?;
        fs::rename(&self.temporary, &self.path).map_err(explain("rename"))?;
        self.is_done = true;
        // The rename itself has to reach the disk.
        let folder = File::open(folder_of(&self.path));
        folder.and_then(|folder| folder.sync_all()).map_err(explain("fsync of the folder"))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
