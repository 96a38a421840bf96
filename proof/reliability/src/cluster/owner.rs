use std::{
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;

/// The user that servers run as if this is root: PostgreSQL refuses to be root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    pub(super) fn if_root() -> anyhow::Result<Option<Self>> {
        if id(&["-u"]) != Some(0) {
            return Ok(None);
        }
        let of = |name| Some(Self { uid: id(&["-u", name])?, gid: id(&["-g", name])? });
        let owner = ["postgres", "nobody"].into_iter().find_map(of);
        Ok(Some(owner.context("there is neither a user postgres nor a user nobody")?))
    }

    pub(super) fn owns(self, path: &Path) -> anyhow::Result<()> {
        Ok(chown(path, Some(self.uid), Some(self.gid))?)
    }

    /// Of `setpriv`.
    pub(super) fn arguments(self) -> [String; 3] {
        [format!("--reuid={}", self.uid), format!("--regid={}", self.gid), "--clear-groups".to_owned()]
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
