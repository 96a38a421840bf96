//! The files that the daemon serves unchanged. They are part of the program, so that one file is all there is to
//! install.

use super::routes::SCRIPT_PATH;

/// A file, and how browsers should treat it.
pub(crate) struct File {
    /// The path of its URL.
    pub(crate) path: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static [u8],
    /// Whether pages of other sites use it. Browsers may cache such a file for an hour.
    pub(crate) is_for_others: bool,
}

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
macro_rules! asset {
    ($name:literal, $media_type:expr) => {
        asset!($name, $media_type, concat!("/assets/", $name))
    };
    ($name:literal, $media_type:expr, $path:expr) => {
        File {
            path: $path,
            media_type: $media_type,
            content: include_bytes!(concat!("../../assets/page/", $name)),
            is_for_others: false,
        }
    };
}

/// Every file there is.
pub(crate) const FILES: &[File] = &[
    File {
        path: SCRIPT_PATH,
        media_type: SCRIPT,
        content: include_bytes!("../../assets/analytics.js"),
        is_for_others: true,
    },
    asset!("index.html", HTML, "/"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("page.css", CSS),
    asset!("uplot.css", CSS),
    asset!("page.js", SCRIPT),
    asset!("address.js", SCRIPT),
    asset!("chart.js", SCRIPT),
    asset!("compare.js", SCRIPT),
    asset!("connection.js", SCRIPT),
    asset!("copy.js", SCRIPT),
    asset!("daemon.js", SCRIPT),
    asset!("events.js", SCRIPT),
    asset!("export.js", SCRIPT),
    asset!("headlines.js", SCRIPT),
    asset!("live.js", SCRIPT),
    asset!("notice.js", SCRIPT),
    asset!("now.js", SCRIPT),
    asset!("numbers.js", SCRIPT),
    asset!("periods.js", SCRIPT),
    asset!("range.js", SCRIPT),
    asset!("sites.js", SCRIPT),
    asset!("table.js", SCRIPT),
    asset!("time.js", SCRIPT),
    asset!("token.js", SCRIPT),
    asset!("tooltip.js", SCRIPT),
    asset!("uplot.js", SCRIPT),
    asset!("LICENSE.uplot", "text/plain; charset=utf-8"),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::FILES;

    #[test]
    fn every_file_of_the_page_is_served_and_all_of_them_are_small() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/page");
        let there: BTreeSet<String> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let name = |path: &str| path.strip_prefix("/assets/").unwrap_or("index.html").to_owned();
        let page = || FILES.iter().filter(|file| !file.is_for_others);
        let served: BTreeSet<String> = page().map(|file| name(file.path)).collect();
        let not_served: Vec<_> = there.difference(&served).collect();
        assert_eq!(not_served, ["VENDORED.md"]);
        let loaded = page().filter(|file| !file.path.contains("LICENSE"));
        assert!(loaded.map(|file| file.content.len()).sum::<usize>() < 150_000);
    }
}
