//! Writing a file so that it is either the old one or the new one, whole, whatever happens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Makes `path` what `write` writes: into a new file beside it, brought to the disk, then
/// renamed. A failure leaves `path` as it was and nothing beside it.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    replace(path, write).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let (temporary, file) = create_beside(&target)?;
    let mut guard = Temporary { path: Some(&temporary) };
    let mut buffered = BufWriter::with_capacity(1 << 16, &file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    if let Ok(old) = fs::metadata(&target) {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, &target)?;
    guard.path = None;
    sync_directory(&target);
    Ok(())
}

/// Removes the temporary file unless it was renamed.
struct Temporary<'a> {
    path: Option<&'a Path>,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.path {
            // There is nobody left to tell: the error that led here is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

fn create_beside(target: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    // Short enough for file systems that end names at 255 bytes.
    let name: String = name.chars().take(40).collect();
    loop {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!(".{name}.{}-{n}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Brings the rename to the disk where the system can; the file itself is there already.
fn sync_directory(target: &Path) {
    if cfg!(unix) {
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty());
        let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|d| d.sync_all());
    }
}
