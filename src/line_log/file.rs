//! The file that a log is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::explain::explain;

/// Bytes that a pipe takes without waiting once it says that it is writable (`PIPE_BUF`, pipe(7)).
const PIECE_BYTES_MAX: usize = 4096;

/// How often a reader that has stopped is waited for before the circumstances are looked at.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Permission bits of a file that is made: requests are nobody else's business.
const MODE: u32 = 0o640;

/// A file, a pipe or standard output, that is appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    /// `None`: standard output.
    path: Option<PathBuf>,
    file: File,
    /// Writing to it never waits for a reader.
    is_regular: bool,
    /// The last write failed in the middle of a line.
    is_torn: bool,
}

impl LogFile {
    /// Opens or makes the file; `-` is standard output.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let path = (path.as_os_str() != "-").then(|| path.to_owned());
        let file = match &path {
            Some(path) => open(path)?,
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        let is_regular = file.metadata()?.is_file();
        Ok(Self { path, file, is_regular, is_torn: false })
    }

    /// Opens it once more under the same name.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            *self = Self::open(path)?;
        }
        Ok(())
    }

    /// Appends lines. How many bytes of them were written, and what kept the rest. `goes_on` is asked
    /// from time to time while a reader is waited for.
    pub(super) fn append(
        &mut self,
        lines: &[u8],
        goes_on: impl Fn() -> bool,
    ) -> (usize, io::Result<()>) {
        if self.is_torn {
            // What came of a line ends here, so that the next one is whole.
            if let (_, Err(error)) = self.write(b"\n", &goes_on) {
                return (0, Err(error));
            }
            self.is_torn = false;
        }
        let (written, result) = self.write(lines, goes_on);
        self.is_torn = written > 0 && lines[written - 1] != b'\n';
        (written, result)
    }

    fn write(&mut self, bytes: &[u8], goes_on: impl Fn() -> bool) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let piece = if self.is_regular { rest } else { piece(rest) };
            let result = self.wait(&goes_on).and_then(|()| self.file.write(piece));
            match result {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Waits until a piece can be written without waiting.
    fn wait(&self, goes_on: impl Fn() -> bool) -> io::Result<()> {
        if self.is_regular {
            return Ok(());
        }
        loop {
            let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
            match poll(&mut fds, Some(&WAIT)) {
                Ok(0) if goes_on() => {}
                Ok(0) => return Err(io::Error::other("its reader has stopped")),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    if path.metadata().is_ok_and(|known| known.file_type().is_fifo()) {
        // For reading, too: so it can be opened before somebody reads, and no reader that goes ends it.
        options.read(true).write(true);
    } else {
        options.append(true).create(true).mode(MODE);
    }
    let opened = options.open(path);
    opened.map_err(explain(format!("can't open the access log {}", path.display())))
}

/// The lines at the start that a pipe takes as a whole, or the start of one that is longer.
fn piece(bytes: &[u8]) -> &[u8] {
    let piece = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
    memchr::memrchr(b'\n', piece).map_or(piece, |end| &piece[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_if_they_fit() {
        let line = [&[b'x'; 2999][..], b"\n"].concat();
        let lines = line.repeat(3);
        assert_eq!(piece(&lines), &line);
        assert_eq!(piece(&line[..100]), &line[..100]);
        assert_eq!(piece(b"a\nb\n"), b"a\nb\n");
        assert_eq!(piece(&[b'x'; 9000]).len(), PIECE_BYTES_MAX);
    }

    #[test]
    fn a_line_that_was_torn_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(&folder.path().join("log")).unwrap();
        assert_eq!(log.append(b"one\ntw", || true).0, 6);
        log.append(b"three\n", || true).1.unwrap();
        let written = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(written, "one\ntw\nthree\n");
    }

    #[test]
    fn a_reader_that_has_stopped_is_waited_for_as_long_as_that_is_of_use() {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut log = LogFile { path: None, file, is_regular: false, is_torn: false };
        let (written, result) = log.append(&b"line\n".repeat(1 << 20), || false);
        assert!(result.is_err() && written > 0 && written < 5 << 20);
        drop(reader);
        assert_eq!(log.append(b"line\n", || true).1.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
