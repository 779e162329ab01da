//! Logs that go while others come to their places.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use millstream_transport::world::{DirectoryLock, Disk, DiskFile, OpenMode};

use super::*;

/// Hears what is about to be renamed.
type Before = Box<dyn FnMut(&Path) + Send>;

/// The machine's disk, which does something before each renaming.
struct Renaming {
    disk: RealDisk,
    before: Mutex<Before>,
}

impl std::fmt::Debug for Renaming {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Renaming")
    }
}

impl Disk for Renaming {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, mode)
    }
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directories(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Not for renamings that it does itself.
        if let Ok(mut before) = self.before.try_lock() {
            before(from);
        }
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_directory(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_directory(path)
    }
    fn lock_directory(&self, path: &Path) -> io::Result<DirectoryLock> {
        self.disk.lock_directory(path)
    }
    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        self.disk.space(path)
    }
    fn boot_id(&self) -> String {
        self.disk.boot_id()
    }
}

#[test]
fn the_files_of_a_log_that_goes_are_never_opened_for_one_that_comes() {
    let root = tempfile::tempdir().unwrap();
    let disk = Arc::new(Renaming { disk: RealDisk::new(), before: Mutex::new(Box::new(|_| {})) });
    let world = World { disk: disk.clone(), ..machine() };
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    append(&mut log, 1, 0, 10);
    sync(&log).unwrap();
    drop(log);
    let (tell, hear) = mpsc::channel();
    let comes = Arc::clone(&directory);
    *disk.before.lock().unwrap() = Box::new(move |path| {
        if path.ends_with(name()) {
            tell.send(comes.open_log(partition(0), &config()).err()).unwrap();
        }
    });
    directory.delete_log(partition(0)).unwrap();
    *disk.before.lock().unwrap() = Box::new(|_| {});
    let during = hear.try_recv().unwrap();
    assert!(matches!(during, Some(LogError::AlreadyOpen { .. })), "{during:?}");
    let (log, recovery) = open_log(&directory);
    assert!(recovery.created && log.end() == Offset(0));
}
