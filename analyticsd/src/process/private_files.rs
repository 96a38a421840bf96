//! Private files, which contain data such as users' names: only the daemon's user may read them, whatever its umask.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Creates a folder and its parents. An existing folder keeps its permissions.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Opens a file, and creates it if needed. If others can read an existing file, their permissions are removed, if the
/// system allows it.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        match file.set_permissions(Permissions::from_mode(0o600)) {
            // The file belongs to another user, or the disk has no permissions.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            done => done?,
        }
    }
    Ok(file)
}

/// Replaces a file atomically, also if the machine crashes. The new content is in a file beside it first, whose name ends in `.new`.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = open(File::options().truncate(true).write(true), Path::new(&name))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(name, path)?;
    // The folder must be synced for the new name.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    use super::{make_folder, open};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_existing_file_is_closed_to_others_and_an_existing_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "kept").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
        make_folder(folder.path()).unwrap();
        open(File::options().append(true), &file).unwrap();
        assert_eq!((mode(folder.path()), mode(&file)), (0o750, 0o600));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
}
