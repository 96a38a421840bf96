//! The documents can be read in a terminal, their links lead somewhere, and the pages to begin with stay short.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
};

/// Of every line, also of tables and code.
const WIDEST: usize = 120;
/// Of prose; only a link that cannot break may reach further.
const WIDEST_PROSE: usize = 100;
/// Pages to begin with, and how many words each may have.
const SHORT: [(&str, usize); 2] = [("README.md", 900), ("ARCHITECTURE.md", 2_000)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Every file below `dir`, but for what is built, installed or hidden.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || ["target", "node_modules"].contains(&name) {
            continue;
        }
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

struct Page {
    /// Relative to the root.
    path: PathBuf,
    text: String,
}

fn pages() -> Vec<Page> {
    let root = root();
    let mut found = Vec::new();
    files(&root, &mut found);
    found.retain(|path| path.extension() == Some(OsStr::new("md")));
    found.sort();
    let page = |path: PathBuf| Page {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(&root).unwrap().to_owned(),
    };
    found.into_iter().map(page).collect()
}

/// The lines with their numbers, and whether each is part of a block of code.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut in_code = false;
    text.lines().enumerate().map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (index + 1, line, in_code || is_fence)
    })
}

/// Whether the word that crosses the width of prose is a link.
fn breaks_at_no_link(line: &str) -> bool {
    let (mut end, mut is_link) = (0, false);
    for word in line.split(' ') {
        end += word.chars().count() + 1;
        if end > WIDEST_PROSE {
            is_link = word.contains("](") || word.contains("://");
            break;
        }
    }
    !is_link
}

/// What GitHub calls a heading in links.
fn anchor(heading: &str) -> String {
    let kept = |letter: char| letter.is_alphanumeric() || " -_".contains(letter);
    heading.trim().to_lowercase().chars().filter(|&letter| kept(letter)).collect::<String>().replace(' ', "-")
}

fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for (_, line, in_code) in lines(text) {
        let heading = line.trim_start_matches('#');
        if in_code || !line.starts_with('#') || !heading.starts_with(' ') {
            continue;
        }
        let name = anchor(heading);
        let again = (1..).map(|count| format!("{name}-{count}"));
        let free = std::iter::once(name.clone()).chain(again).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Where the links and pictures of a page lead, with the number of the line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line, in_code) in lines(text) {
        if in_code {
            continue;
        }
        let line = without_code(line);
        if let Some((_, target)) = line.split_once("]: ").filter(|_| line.starts_with('[')) {
            found.push((number, target.trim().to_owned()));
        }
        for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let targets = line.split(opening).skip(1).filter_map(|rest| rest.split(closing).next());
            found.extend(targets.map(|target| (number, target.split(' ').next().unwrap().to_owned())));
        }
    }
    found.retain(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"));
    found
}

/// `dir/../file` is `file`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// The file that a link of a page leads to, relative to the root, and the heading in it.
fn resolve(page: &Page, target: &str) -> (PathBuf, Option<String>) {
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let path = if file.is_empty() { page.path.clone() } else { normal(&page.path.with_file_name("").join(file)) };
    (path, heading.map(str::to_owned))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_line_is_too_wide_to_be_read() {
    let mut faults = Vec::new();
    for Page { path, text } in pages() {
        let mut is_made = false;
        for (number, line, in_code) in lines(&text) {
            is_made |= line.starts_with("<!-- what follows is written by");
            is_made &= !line.starts_with("<!-- what precedes is written by");
            let width = line.chars().count();
            let is_row = line.trim_start().starts_with('|');
            // The columns of a table that a program writes are as many as it measures.
            if is_made && is_row {
                continue;
            }
            let is_prose = !in_code && !is_row;
            if width > WIDEST || width > WIDEST_PROSE && is_prose && breaks_at_no_link(line) {
                faults.push(format!("{}:{number}: {width} columns", path.display()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_pages_to_begin_with_are_short() {
    let mut faults = Vec::new();
    for (name, most) in SHORT {
        let words = fs::read_to_string(root().join(name)).unwrap().split_whitespace().count();
        if words > most {
            faults.push(format!("{name} has {words} words, and may have {most}"));
        }
    }
    assert_none(&faults);
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let mut faults = Vec::new();
    for page in &pages {
        for (number, target) in links(&page.text) {
            let (path, heading) = resolve(page, &target);
            let heading_is_there = heading.is_none_or(|heading| {
                pages.iter().any(|other| other.path == path && anchors(&other.text).contains(&heading))
            });
            if !root().join(&path).exists() || !heading_is_there {
                faults.push(format!("{}:{number}: {target} leads nowhere", page.path.display()));
            }
        }
    }
    assert_none(&faults);
}

/// In sources, settings and messages, where a path is written from the root.
#[test]
fn every_page_that_is_named_anywhere_exists() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let mut faults = Vec::new();
    for path in all {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for rest in line.split("docs/").skip(1) {
                let is_of_a_path = |letter: char| letter.is_ascii_alphanumeric() || "/-_.".contains(letter);
                let name = rest.split(|letter| !is_of_a_path(letter)).next().unwrap();
                let Some(end) = name.find(".md") else { continue };
                let page = format!("docs/{}", &name[..end + 3]);
                if !root().join(&page).exists() {
                    let path = path.strip_prefix(root()).unwrap().display();
                    faults.push(format!("{path}:{}: there is no {page}", index + 1));
                }
            }
        }
    }
    assert_none(&faults);
}

/// Written from the root, or from the daemon's sources; of Rust's files without their ending.
#[test]
fn every_path_that_architecture_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut faults = Vec::new();
    for (number, line, in_code) in lines(&text) {
        let spans = line.split('`').skip(1).step_by(2);
        let is_path = |span: &&str| span.contains('/') && !span.contains(' ') && !span.starts_with('/');
        for path in spans.filter(is_path).filter(|_| !in_code) {
            let exists = ["", "analyticsd/src"].iter().any(|folder| {
                let path = root().join(folder).join(path);
                path.exists() || path.with_extension("rs").exists()
            });
            if !exists {
                faults.push(format!("ARCHITECTURE.md:{number}: there is no {path}"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_screenshot_is_shown_in_a_page() {
    let pages = pages();
    let shown: HashSet<PathBuf> = pages
        .iter()
        .flat_map(|page| links(&page.text).into_iter().map(|(_, target)| resolve(page, &target).0))
        .collect();
    let mut screenshots = Vec::new();
    files(&root().join("docs/screenshots"), &mut screenshots);
    let unseen = screenshots.iter().map(|path| path.strip_prefix(root()).unwrap());
    let unseen = unseen.filter(|path| !shown.contains(*path));
    assert_none(&unseen.map(|path| format!("{} is shown in no page", path.display())).collect::<Vec<_>>());
}

#[test]
fn headings_are_linked_to_as_on_github() {
    assert_eq!(anchor(" Who may `GET` /metrics, and who may not?"), "who-may-get-metrics-and-who-may-not");
    let text = "# Once\n```sh\n# a comment\n```\n## Twice\n## Twice\n";
    let expected = ["once", "twice", "twice-1"].map(str::to_owned);
    assert_eq!(anchors(text), HashSet::from(expected));
}

#[test]
fn links_are_found_outside_of_code_only() {
    let text =
        "See [a page](a.md#b) and `[no](link.md)`.\n```sh\n[no](link.md)\n```\n![x](p.png) <https://x.y>\n[1]: c.md";
    assert_eq!(links(text), [(1, "a.md#b".to_owned()), (5, "p.png".to_owned()), (6, "c.md".to_owned())]);
}
