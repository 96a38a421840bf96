//! Writes a run to the documentation: everything as JSON, a plot, and its tables between two markers of a page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{plot, report::Report};

const BEGIN: &str = "<!-- what follows is written by `make bench` -->";
const END: &str = "<!-- what precedes is written by `make bench` -->";

pub(crate) struct Store {
    page: PathBuf,
}

impl Store {
    /// Checks the markers of the page, so that a long run does not fail at its end.
    pub(crate) fn open(page: &Path) -> anyhow::Result<Self> {
        let store = Self { page: page.to_owned() };
        store.by_hand()?;
        Ok(store)
    }

    fn by_hand(&self) -> anyhow::Result<(String, String)> {
        let page = self.page.display();
        let text = fs::read_to_string(&self.page).with_context(|| format!("cannot read {page}"))?;
        let (before, after) = split(&text).with_context(|| format!("cannot keep a run in {page}"))?;
        Ok((before.to_owned(), after.to_owned()))
    }

    pub(crate) fn keep(&self, report: &Report) -> anyhow::Result<()> {
        // The page may have changed during the run.
        let (before, after) = self.by_hand()?;
        let plot = self.page.with_extension("svg");
        let shown = plot.file_name().unwrap_or_default().display();
        let page =
            format!("{before}{BEGIN}\n\n![Requests each second, and how they grow]({shown})\n\n{report}\n{END}{after}");
        write(&self.page, page.as_bytes())?;
        write(&plot, plot::svg(&report.measurements).as_bytes())?;
        let mut json = serde_json::to_vec_pretty(report)?;
        json.push(b'\n');
        write(&self.page.with_extension("json"), &json)
    }
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The text before the first marker and after the second.
fn split(page: &str) -> anyhow::Result<(&str, &str)> {
    let Some((before, rest)) = page.split_once(BEGIN) else {
        bail!("it has no line {BEGIN}");
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("it has no line {END} after {BEGIN}");
    };
    Ok((before, after))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, split};

    #[test]
    fn what_is_written_by_hand_stays() {
        let page = format!("# Title\n{BEGIN}\nold tables\n{END}\nThe end.\n");
        assert_eq!(split(&page).unwrap(), ("# Title\n", "\nThe end.\n"));
    }

    #[test]
    fn a_page_without_markers_is_not_written_to() {
        assert_eq!(split("# Title\n").unwrap_err().to_string(), format!("it has no line {BEGIN}"));
        let reversed = split(&format!("{END}\n{BEGIN}\n")).unwrap_err().to_string();
        assert_eq!(reversed, format!("it has no line {END} after {BEGIN}"));
    }
}
