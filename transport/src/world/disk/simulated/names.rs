//! The directories of a simulated disk: the names shown, the names that are durable, and the changes between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use super::content::survival;
use super::file::FileNode;

/// A directory, by a number that is never used again.
pub(super) type DirectoryNumber = u64;

const ROOT: DirectoryNumber = 0;

#[derive(Clone, Debug)]
pub(super) enum Entry {
    File(Arc<FileNode>),
    Directory(DirectoryNumber),
}

#[derive(Debug, Default)]
struct Directory {
    shown: BTreeMap<OsString, Entry>,
    durable: BTreeMap<OsString, Entry>,
}

/// A change of names that happens whole or not at all.
#[derive(Debug)]
struct Change {
    names: Vec<(DirectoryNumber, OsString, Option<Entry>)>,
    /// What it depends on besides: a directory is gone only after its content is.
    after: Option<DirectoryNumber>,
}

impl Change {
    fn touches(&self) -> impl Iterator<Item = DirectoryNumber> + '_ {
        self.names.iter().map(|(directory, ..)| *directory).chain(self.after)
    }
}

#[derive(Debug)]
pub(super) struct Names {
    directories: BTreeMap<DirectoryNumber, Directory>,
    /// Not durable yet, in the order in which they were made.
    pending: Vec<Change>,
    next: DirectoryNumber,
}

fn error(kind: io::ErrorKind, path: &Path) -> io::Error {
    io::Error::new(kind, format!("{}: {kind} (simulated disk)", path.display()))
}

impl Names {
    pub(super) fn new() -> Self {
        let directories = BTreeMap::from([(ROOT, Directory::default())]);
        Self { directories, pending: Vec::new(), next: ROOT + 1 }
    }

    fn child(&self, directory: DirectoryNumber, name: &OsStr) -> Option<&Entry> {
        self.directories.get(&directory)?.shown.get(name)
    }

    /// The names that lead from the root to a path.
    fn steps(path: &Path) -> io::Result<Vec<&OsStr>> {
        let mut steps = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => steps.push(name),
                Component::ParentDir => drop(steps.pop()),
                Component::RootDir | Component::CurDir => {}
                Component::Prefix(_) => return Err(error(io::ErrorKind::InvalidInput, path)),
            }
        }
        Ok(steps)
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Entry> {
        let mut entry = Entry::Directory(ROOT);
        for name in Self::steps(path)? {
            let Entry::Directory(directory) = entry else {
                return Err(error(io::ErrorKind::NotADirectory, path));
            };
            let child = self.child(directory, name).cloned();
            entry = child.ok_or_else(|| error(io::ErrorKind::NotFound, path))?;
        }
        Ok(entry)
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<DirectoryNumber> {
        match self.find(path)? {
            Entry::Directory(directory) => Ok(directory),
            Entry::File(_) => Err(error(io::ErrorKind::NotADirectory, path)),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<FileNode>> {
        match self.find(path)? {
            Entry::File(file) => Ok(file),
            Entry::Directory(_) => Err(error(io::ErrorKind::IsADirectory, path)),
        }
    }

    /// The directory a path lies in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(DirectoryNumber, OsString)> {
        let name = path.file_name().ok_or_else(|| error(io::ErrorKind::InvalidInput, path))?;
        Ok((self.directory(path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let directory = self.directory(path)?;
        Ok(self
            .directories
            .get(&directory)
            .map(|found| found.shown.keys().cloned().collect())
            .unwrap_or_default())
    }

    fn change(&mut self, change: Change) {
        for (directory, name, entry) in &change.names {
            if let Some(directory) = self.directories.get_mut(directory) {
                put(&mut directory.shown, name, entry.as_ref());
            }
        }
        self.pending.push(change);
    }

    pub(super) fn create_file(&mut self, path: &Path, file: &Arc<FileNode>) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        if self.child(directory, &name).is_some() {
            return Err(error(io::ErrorKind::AlreadyExists, path));
        }
        let entry = Some(Entry::File(Arc::clone(file)));
        self.change(Change { names: vec![(directory, name, entry)], after: None });
        Ok(())
    }

    pub(super) fn create_directories(&mut self, path: &Path) -> io::Result<()> {
        let mut directory = ROOT;
        for name in Self::steps(path)? {
            match self.child(directory, name) {
                Some(Entry::Directory(known)) => directory = *known,
                Some(Entry::File(_)) => return Err(error(io::ErrorKind::NotADirectory, path)),
                None => {
                    let made = self.next;
                    self.next += 1;
                    self.directories.insert(made, Directory::default());
                    let entry = Some(Entry::Directory(made));
                    self.change(Change { names: vec![(directory, name.to_owned(), entry)], after: None });
                    directory = made;
                }
            }
        }
        Ok(())
    }

    /// Returns the file that lost its name, if there was one.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<Option<Arc<FileNode>>> {
        let moved = self.find(from)?;
        let (from_directory, from_name) = self.place(from)?;
        let (to_directory, to_name) = self.place(to)?;
        let mut after = None;
        let replaced = match (self.child(to_directory, &to_name), &moved) {
            (None, _) => None,
            (Some(Entry::File(old)), Entry::File(new)) if Arc::ptr_eq(old, new) => return Ok(None),
            (Some(Entry::File(old)), Entry::File(_)) => Some(Arc::clone(old)),
            (Some(Entry::Directory(old)), Entry::Directory(new)) if old == new => return Ok(None),
            (Some(Entry::Directory(old)), Entry::Directory(_)) => {
                if self.directories.get(old).is_some_and(|old| !old.shown.is_empty()) {
                    return Err(error(io::ErrorKind::DirectoryNotEmpty, to));
                }
                after = Some(*old);
                None
            }
            (Some(Entry::File(_)), Entry::Directory(_)) => {
                return Err(error(io::ErrorKind::NotADirectory, to));
            }
            (Some(Entry::Directory(_)), Entry::File(_)) => {
                return Err(error(io::ErrorKind::IsADirectory, to));
            }
        };
        let names = vec![(from_directory, from_name, None), (to_directory, to_name, Some(moved))];
        self.change(Change { names, after });
        Ok(replaced)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<Arc<FileNode>> {
        let file = self.file(path)?;
        let (directory, name) = self.place(path)?;
        self.change(Change { names: vec![(directory, name, None)], after: None });
        Ok(file)
    }

    /// Returns the files that lost their names.
    pub(super) fn remove_directory(&mut self, path: &Path) -> io::Result<Vec<Arc<FileNode>>> {
        let directory = self.directory(path)?;
        let place = self.place(path)?;
        let mut files = Vec::new();
        self.remove_tree(directory, place, &mut files);
        Ok(files)
    }

    fn remove_tree(
        &mut self,
        directory: DirectoryNumber,
        (parent, name): (DirectoryNumber, OsString),
        files: &mut Vec<Arc<FileNode>>,
    ) {
        let children = self.directories.get(&directory).map(|found| found.shown.clone()).unwrap_or_default();
        for (child_name, child) in children {
            match child {
                Entry::Directory(child) => self.remove_tree(child, (directory, child_name), files),
                Entry::File(file) => {
                    files.push(file);
                    self.change(Change { names: vec![(directory, child_name, None)], after: None });
                }
            }
        }
        self.change(Change { names: vec![(parent, name, None)], after: Some(directory) });
    }

    /// Makes the names in one directory durable, and what they depend on.
    pub(super) fn sync(&mut self, directory: DirectoryNumber) {
        let mut needed = BTreeSet::from([directory]);
        let mut chosen = BTreeSet::new();
        for (index, change) in self.pending.iter().enumerate().rev() {
            if change.touches().any(|touched| needed.contains(&touched)) {
                needed.extend(change.touches());
                chosen.insert(index);
            }
        }
        let mut removed_directories = false;
        for (index, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if chosen.contains(&index) {
                removed_directories |= change.after.is_some();
                self.make_durable(change);
            } else {
                self.pending.push(change);
            }
        }
        if removed_directories {
            self.forget_unreachable();
        }
    }

    fn make_durable(&mut self, change: Change) {
        for (directory, name, entry) in change.names {
            if let Some(directory) = self.directories.get_mut(&directory) {
                put(&mut directory.durable, &name, entry.as_ref());
            }
        }
    }

    /// The power goes: in each directory the changes up to some point survive, a rename in both or in none.
    /// Returns all files that are left.
    pub(super) fn cut_power(&mut self, rng: &mut SmallRng) -> Vec<Arc<FileNode>> {
        let survival = survival(rng);
        let mut ended = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let survives = rng.random_bool(survival);
            if survives && !change.touches().any(|touched| ended.contains(&touched)) {
                self.make_durable(change);
            } else {
                ended.extend(change.touches());
            }
        }
        for directory in self.directories.values_mut() {
            directory.shown.clone_from(&directory.durable);
        }
        self.forget_unreachable();
        self.files()
    }

    /// Empties a directory as if somebody had given the node a new disk; returns the files that are gone.
    pub(super) fn empty(&mut self, path: &Path) -> io::Result<Vec<Arc<FileNode>>> {
        let directory = self.directory(path)?;
        let mut files = Vec::new();
        let mut emptied = BTreeSet::new();
        let mut left = vec![directory];
        while let Some(directory) = left.pop() {
            let Some(found) = self.directories.get_mut(&directory) else { continue };
            emptied.insert(directory);
            let shown = std::mem::take(&mut found.shown);
            let durable = std::mem::take(&mut found.durable);
            for entry in shown.into_values().chain(durable.into_values()) {
                match entry {
                    Entry::File(file) => files.push(file),
                    Entry::Directory(child) => left.push(child),
                }
            }
        }
        // Names that were to be moved from here to elsewhere are there already; they stay, and need a sync as before.
        for change in &mut self.pending {
            change.names.retain(|(directory, ..)| !emptied.contains(directory));
        }
        self.pending.retain(|change| !change.names.is_empty());
        self.forget_unreachable();
        Ok(files)
    }

    /// All files that have a name.
    pub(super) fn files(&self) -> Vec<Arc<FileNode>> {
        let shown = self.directories.values().flat_map(|directory| directory.shown.values());
        shown
            .filter_map(|entry| match entry {
                Entry::File(file) => Some(Arc::clone(file)),
                Entry::Directory(_) => None,
            })
            .collect()
    }

    fn forget_unreachable(&mut self) {
        let mut reachable = BTreeSet::new();
        let mut left = vec![ROOT];
        for change in &self.pending {
            left.extend(change.names.iter().filter_map(|(_, _, entry)| match entry {
                Some(Entry::Directory(directory)) => Some(*directory),
                _ => None,
            }));
        }
        while let Some(directory) = left.pop() {
            if !reachable.insert(directory) {
                continue;
            }
            let Some(found) = self.directories.get(&directory) else { continue };
            left.extend(found.shown.values().chain(found.durable.values()).filter_map(|entry| match entry {
                Entry::Directory(directory) => Some(*directory),
                Entry::File(_) => None,
            }));
        }
        self.directories.retain(|number, _| reachable.contains(number));
    }
}

fn put(names: &mut BTreeMap<OsString, Entry>, name: &OsStr, entry: Option<&Entry>) {
    match entry {
        Some(entry) => drop(names.insert(name.to_owned(), entry.clone())),
        None => drop(names.remove(name)),
    }
}
