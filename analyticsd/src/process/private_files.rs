//! Files that hold what is nobody else's business, such as users' names: only the daemon's user may read them, whatever its umask.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Makes a folder, and those above it, unless it is there; one that is there stays as somebody made it.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Opens a file, and makes it first if it is not there. One that an earlier version or another program left behind for others to read is
/// closed to them, where the system lets it be.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        match file.set_permissions(Permissions::from_mode(0o600)) {
            // It is another user's, who decides, or on a disk without permissions.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            done => done?,
        }
    }
    Ok(file)
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
    fn what_is_there_is_closed_to_others_if_it_is_a_file_and_left_alone_if_it_is_a_folder() {
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
