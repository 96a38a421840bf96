//! Writes what a pipeline reads, whatever the verdict is.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    Report, Unwritable, annotations::annotations, can_be_written, findings::Findings, junit::junit, summary::summary,
};
use crate::{logging, settings::Pipeline};

const JUNIT: &str = "--junit";
const SUMMARY: &str = "--summary";
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

impl Pipeline {
    /// Checks that the files can be written: otherwise a long run would fail at its end.
    pub(crate) fn prepare(&self) -> Result<(), Unwritable> {
        let Self { junit, summary, step_summary, .. } = self;
        if let (Some(junit), Some(summary)) = (junit, summary)
            && is_one(junit, summary)
        {
            return Err(Unwritable::file(SUMMARY, summary, io::Error::other("--junit names the same file")));
        }
        for (of, path) in [(JUNIT, junit), (SUMMARY, summary), (STEP_SUMMARY, step_summary)] {
            if let Some(path) = path {
                std::fs::create_dir_all(folder(path))
                    .and_then(|()| can_be_written(path))
                    .map_err(|cause| Unwritable::file(of, path, cause))?;
            }
        }
        Ok(())
    }

    /// Returns which files could not be written.
    pub(crate) fn write(&self, report: &Report) -> Vec<Unwritable> {
        self.write_findings(&report.findings())
    }

    /// There was no run, for this reason.
    pub(crate) fn write_no_run(&self, reason: &str) -> Vec<Unwritable> {
        self.write_findings(&Findings::no_run(reason.to_owned()))
    }

    fn write_findings(&self, findings: &Findings) -> Vec<Unwritable> {
        let Self { junit: xml, summary: markdown, step_summary, annotations: annotates } = self;
        if *annotates {
            // Standard output is the report's, and the runner reads both.
            for line in annotations(findings) {
                logging::message(&line);
            }
        }
        let write = |of, path: &Option<PathBuf>, write: &dyn Fn(&Path) -> io::Result<()>| {
            let path = path.as_ref()?;
            write(path).map_err(|cause| Unwritable::file(of, path, cause)).err()
        };
        [
            write(JUNIT, xml, &|path| std::fs::write(path, junit(findings)?)),
            write(SUMMARY, markdown, &|path| std::fs::write(path, summary(findings, Some(folder(path))))),
            write(STEP_SUMMARY, step_summary, &|path| {
                let mut file = File::options().append(true).create(true).open(path)?;
                file.write_all(summary(findings, None).as_bytes())
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A file need not be there yet.
fn is_one(path: &Path, other: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute(path) == absolute(other)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
