//! Which requests are page views, and what each counts as.

use ipnet::IpNet;
use isbot::Bots;
use model::{
    EventKind,
    wire::{self, SentEvent, SentVisitor},
};
use regex::bytes::{Regex, RegexBuilder};

use super::{
    host::{Host, split_scheme},
    request::Request,
    visitor::visitor,
};
use crate::record::{LeftOut, Unreadable};

/// A path with one of these endings is a part of a page, or a file.
pub const ASSET_ENDINGS: [&str; 134] = [
    "3gp",
    "7z",
    "aac",
    "aif",
    "aiff",
    "apk",
    "apng",
    "avi",
    "avif",
    "bak",
    "bin",
    "bmp",
    "bz2",
    "cab",
    "cer",
    "cjs",
    "crt",
    "crx",
    "css",
    "csv",
    "cur",
    "deb",
    "dll",
    "dmg",
    "doc",
    "docm",
    "docx",
    "dotx",
    "eot",
    "eps",
    "epub",
    "exe",
    "flac",
    "flv",
    "geojson",
    "gif",
    "glb",
    "gltf",
    "gpx",
    "gz",
    "heic",
    "heif",
    "ico",
    "ics",
    "img",
    "ipa",
    "iso",
    "jar",
    "jfif",
    "jp2",
    "jpe",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jxl",
    "kml",
    "m3u8",
    "m4a",
    "m4s",
    "m4v",
    "map",
    "mid",
    "midi",
    "mjs",
    "mkv",
    "mobi",
    "mov",
    "mp3",
    "mp4",
    "mpd",
    "mpeg",
    "mpg",
    "msi",
    "mts",
    "odp",
    "ods",
    "odt",
    "oga",
    "ogg",
    "ogv",
    "opus",
    "otf",
    "p12",
    "pdf",
    "pem",
    "pkg",
    "png",
    "ppsx",
    "ppt",
    "pptx",
    "psd",
    "rar",
    "rpm",
    "rtf",
    "scss",
    "sig",
    "sql",
    "srt",
    "svg",
    "svgz",
    "swf",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "torrent",
    "ts",
    "tsv",
    "ttc",
    "ttf",
    "txt",
    "vcf",
    "vtt",
    "wasm",
    "wav",
    "weba",
    "webm",
    "webmanifest",
    "webp",
    "whl",
    "wma",
    "wmv",
    "woff",
    "woff2",
    "xls",
    "xlsb",
    "xlsm",
    "xlsx",
    "xml",
    "xpi",
    "xz",
    "zip",
    "zst",
];

/// Programs that the crate does not know: checks of health, scanners, libraries, and no agent at all.
const OTHER_BOTS: [&str; 12] = [
    "^-?$",
    "^kube-probe",
    "googlehc",
    "prometheus",
    "blackbox",
    "health.?check",
    "health probe",
    "datadog",
    "masscan|censys|l9explore",
    "chatgpt-user",
    "httpie|java-http-client|faraday|insomnia|playwright|cypress|hetrixtools|haproxy",
    "^(ruby|consul)",
];

/// Which requests count, and how.
#[derive(Debug, Clone)]
pub struct PageViewRules {
    /// A page view whose referer is on one of these is a click.
    pub own_hosts: Vec<Host>,
    /// Who names the client of a request behind them.
    pub trusted_proxies: Vec<IpNet>,
    /// In lower case, without the dot.
    pub asset_endings: Vec<String>,
    pub excluded: Vec<PathPattern>,
    pub exclude_bots: bool,
    pub visitor: VisitorOf,
}

/// What makes one visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VisitorOf {
    #[default]
    Address,
    /// All browsers of one kind behind an address, for a day.
    AddressAndAgent,
}

impl Default for PageViewRules {
    fn default() -> Self {
        Self {
            own_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            asset_endings: ASSET_ENDINGS.map(str::to_owned).to_vec(),
            excluded: Vec::new(),
            exclude_bots: false,
            visitor: VisitorOf::default(),
        }
    }
}

/// A path in which `*` stands for any text, and `?` for one character.
#[derive(Debug, Clone)]
pub struct PathPattern(Regex);

impl PathPattern {
    /// # Errors
    /// If no path can be like it, or it is too long.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with(['/', '*', '?']) {
            return Err(
                "no path is like this; accepted is a path that begins with / or *, as /health or */feed".to_owned()
            );
        }
        let escaped = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        // Paths need not be UTF-8.
        RegexBuilder::new(&format!("^(?s-u:{escaped})$")).build().map(Self).map_err(|error| error.to_string())
    }

    fn has(&self, path: &[u8]) -> bool {
        self.0.is_match(path)
    }
}

/// Makes events of requests.
pub(crate) struct PageViews {
    rules: PageViewRules,
    bots: Option<Bots>,
}

impl PageViews {
    pub(crate) fn new(rules: PageViewRules) -> Self {
        let bots = rules.exclude_bots.then(|| {
            let mut bots = Bots::default();
            bots.append(&OTHER_BOTS);
            bots
        });
        Self { rules, bots }
    }

    pub(super) fn event(&self, request: &Request<'_>) -> Result<Result<SentEvent, LeftOut>, Unreadable> {
        if let Some(reason) = self.left_out(request) {
            return Ok(Err(reason));
        }
        let visitor = visitor(request, &self.rules.trusted_proxies)?;
        let visitor = match self.rules.visitor {
            VisitorOf::Address => SentVisitor::Named(visitor.name()?),
            VisitorOf::AddressAndAgent => {
                let agent = String::from_utf8_lossy(request.agent.as_deref().unwrap_or_default());
                let end = agent.floor_char_boundary(SentVisitor::MAX_AGENT_BYTES);
                SentVisitor::Client { address: visitor.address()?, agent: agent[..end].to_owned() }
            }
        };
        let is_internal = Host::of_referer(&request.referer).is_some_and(|host| self.rules.own_hosts.contains(&host));
        let kind = if is_internal { EventKind::Click } else { EventKind::Impression };
        Ok(Ok(SentEvent { at: request.at, kind, visitor, key: None, site: None }))
    }

    fn left_out(&self, request: &Request<'_>) -> Option<LeftOut> {
        let path = path_of(&request.target);
        if *request.method != *b"GET" {
            Some(LeftOut::Method)
        } else if !matches!(request.status, 200..=299 | 304) {
            Some(LeftOut::Status)
        } else if self.is_asset(path) || is_of_this_counter(path) {
            Some(LeftOut::Asset)
        } else if self.rules.excluded.iter().any(|pattern| pattern.has(path)) {
            Some(LeftOut::Excluded)
        } else if self.is_bot(request) {
            Some(LeftOut::Bot)
        } else {
            None
        }
    }

    /// A log without agents tells nothing of that.
    fn is_bot(&self, request: &Request<'_>) -> bool {
        let Some((bots, agent)) = self.bots.as_ref().zip(request.agent.as_deref()) else { return false };
        bots.is_bot(&String::from_utf8_lossy(agent))
    }

    fn is_asset(&self, path: &[u8]) -> bool {
        let segment = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        // Behind a semicolon stand parameters, as `;jsessionid=1`.
        let segment = segment.split(|&b| b == b';').next().unwrap_or_default();
        segment.iter().rposition(|&b| b == b'.').is_some_and(|dot| {
            let ending = &segment[dot + 1..];
            self.rules.asset_endings.iter().any(|asset| ending.eq_ignore_ascii_case(asset.as_bytes()))
        })
    }
}

/// Whether a path is of the counter itself, on a site that passes it on to the daemon.
fn is_of_this_counter(path: &[u8]) -> bool {
    path.strip_prefix(wire::ANALYTICS_PATH.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || rest == b".gif")
}

/// A request's target is a path or, for a proxy, a whole URL.
fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|b| b"?#".contains(b)).unwrap_or(target.len());
    let target = &target[..end];
    match split_scheme(target) {
        Some((_scheme, rest)) => rest.iter().position(|&b| b == b'/').map_or(b"/", |slash| &rest[slash..]),
        None => target,
    }
}
