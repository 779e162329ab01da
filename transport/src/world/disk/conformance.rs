//! What both disks must do, asked of both.

use super::*;

fn write(file: &dyn DiskFile, bytes: &[u8], position: u64) {
    file.write_at(&[IoSlice::new(bytes)], position).unwrap();
}

fn read(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn kind<T: Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

fn check_files(disk: &dyn Disk, root: &Path) {
    let path = root.join("file");
    assert_eq!(kind(disk.open(&path, OpenMode::Write)), io::ErrorKind::NotFound);
    let file = disk.open(&path, OpenMode::CreateNew).unwrap();
    assert_eq!(kind(disk.open(&path, OpenMode::CreateNew)), io::ErrorKind::AlreadyExists);
    file.preallocate(0, 1 << 16).unwrap();
    assert_eq!(file.length().unwrap(), 0);
    let parts: Vec<Vec<u8>> =
        (0..3000_u32).map(|part| part.to_le_bytes().repeat(2)[..part as usize % 7].to_vec()).collect();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_at(&slices, 5).unwrap();
    file.start_writeback().unwrap();
    file.sync_data().unwrap();
    let written = read(&*file);
    assert_eq!(written[..5], [0; 5]);
    assert_eq!(written[5..], parts.concat());
    let mut past = [9; 8];
    assert_eq!(file.read_at(&mut past, file.length().unwrap() - 3).unwrap(), 3);
    assert_eq!(file.read_at(&mut past, file.length().unwrap() + 3).unwrap(), 0);
    let end = file.length().unwrap();
    assert_eq!(file.read_long(9, 5).unwrap(), written[5..14]);
    assert_eq!(file.read_long(1 << 20, 2).unwrap(), written[2..]);
    assert_eq!(file.read_long(9, end + 3).unwrap(), [0; 0]);
    file.set_length(7).unwrap();
    file.set_length(9).unwrap();
    assert_eq!(read(&*disk.open(&path, OpenMode::Read).unwrap())[7..], [0; 2]);
    let reader = disk.open(&path, OpenMode::Read).unwrap();
    reader.write_at(&[IoSlice::new(b"x")], 0).unwrap_err();
    file.write_at(&[], 100).unwrap();
    assert_eq!(file.length().unwrap(), 9);
    assert_eq!(disk.open(&path, OpenMode::Truncate).unwrap().length().unwrap(), 0);
}

fn check_names(disk: &dyn Disk, root: &Path) {
    let deep = root.join("a/b");
    disk.create_directories(&deep).unwrap();
    disk.create_directories(&deep).unwrap();
    for name in ["2", "10", "1"] {
        disk.open(&deep.join(name), OpenMode::CreateNew).unwrap();
    }
    assert_eq!(disk.list(&deep).unwrap(), [deep.join("1"), deep.join("10"), deep.join("2")]);
    assert_eq!(kind(disk.list(&root.join("nothing"))), io::ErrorKind::NotFound);
    let old = disk.open(&deep.join("2"), OpenMode::Write).unwrap();
    write(&*old, b"old", 0);
    let new = disk.open(&root.join("new"), OpenMode::CreateNew).unwrap();
    write(&*new, b"new", 0);
    disk.rename(&root.join("new"), &deep.join("2")).unwrap();
    assert_eq!(read(&*disk.open(&deep.join("2"), OpenMode::Read).unwrap()), b"new");
    assert_eq!(read(&*old), b"old");
    assert!(!disk.exists(&root.join("new")).unwrap());
    assert_eq!(kind(disk.rename(&root.join("new"), &root.join("x"))), io::ErrorKind::NotFound);
    disk.remove_file(&deep.join("10")).unwrap();
    assert_eq!(kind(disk.remove_file(&deep.join("10"))), io::ErrorKind::NotFound);
    disk.sync_directory(&deep).unwrap();
    disk.sync_directory(root).unwrap();
    disk.rename(&root.join("a"), &root.join("c")).unwrap();
    assert!(disk.exists(&root.join("c/b/1")).unwrap() && !disk.exists(&deep).unwrap());
    disk.remove_directory(&root.join("c")).unwrap();
    assert!(!disk.exists(&root.join("c")).unwrap());
    assert_eq!(kind(disk.open(&root.join("c/b/1"), OpenMode::CreateNew)), io::ErrorKind::NotFound);
    let (free, total) = disk.space(root).unwrap();
    assert!(free <= total);
}

fn check_locks(disk: &dyn Disk, root: &Path) {
    let held = disk.lock_directory(root).unwrap();
    assert_eq!(kind(disk.lock_directory(root)), io::ErrorKind::WouldBlock);
    drop(held);
    drop(disk.lock_directory(root).unwrap());
    assert!(disk.exists(&root.join("lock")).unwrap());
}

#[test]
fn the_real_disk_does_what_a_disk_does() {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk::new();
    check_files(&disk, directory.path());
    check_names(&disk, directory.path());
    check_locks(&disk, directory.path());
}

#[test]
fn the_simulated_disk_does_what_a_disk_does() {
    let simulated = SimulatedDisk::new(1);
    let (disk, root) = (simulated.disk(), Path::new("/data"));
    disk.create_directories(root).unwrap();
    check_files(&*disk, root);
    check_names(&*disk, root);
    check_locks(&*disk, root);
}
