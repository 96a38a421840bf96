//! Access logs: each line is a request, and a request may be a page view.
//!
//! `pattern`, `json` and `w3c` read a line as a `request`; `names`, `visitor`, `escapes` and `time` read its parts;
//! `pattern_syntax` and `directive` read a pattern. `page_view` makes an event of a request, or says why it is none.

mod directive;
mod escapes;
mod host;
mod json;
mod names;
mod page_view;
mod pattern;
mod pattern_syntax;
mod request;
#[cfg(test)]
mod tests;
mod time;
mod visitor;
mod w3c;

pub use self::{
    host::{Host, InvalidHost},
    page_view::{ASSET_ENDINGS, PageViewRules, PathPattern, VisitorOf},
    pattern::Pattern,
    pattern_syntax::InvalidPattern,
};
use self::{page_view::PageViews, request::Request, w3c::W3c};
use crate::{
    LogFormat,
    record::{Content, LeftOut, Unreadable},
};

/// Amazon's Application Load Balancers write the type of a request first.
const APPLICATION_LOAD_BALANCER: &str = "$type $time_iso8601 $balancer $remote_addr:$port $target $times_1 $times_2 $times_3 \
     $status $of_target $received $sent \"$request\" \"$http_user_agent\"";
/// The Classic Load Balancers before them.
const CLASSIC_LOAD_BALANCER: &str = "$time_iso8601 $balancer $remote_addr:$port $target $times_1 $times_2 $times_3 \
     $status $of_target $received $sent \"$request\" \"$http_user_agent\"";

pub(crate) struct AccessLog {
    syntax: Syntax,
    page_views: PageViews,
}

enum Syntax {
    /// A line is read by the first that it fits.
    Patterns(Vec<Pattern>),
    Json,
    W3c(W3c),
}

impl AccessLog {
    pub(crate) fn new(format: &LogFormat, rules: PageViewRules) -> Self {
        let syntax = match format {
            LogFormat::Common { has_host } => Syntax::Patterns(vec![Pattern::common(*has_host)]),
            LogFormat::Combined { has_host } => Syntax::Patterns(vec![Pattern::combined(*has_host)]),
            LogFormat::Pattern(pattern) => Syntax::Patterns(vec![pattern.clone()]),
            LogFormat::Elb => Syntax::Patterns([APPLICATION_LOAD_BALANCER, CLASSIC_LOAD_BALANCER].map(open).to_vec()),
            LogFormat::Json => Syntax::Json,
            LogFormat::W3c => Syntax::W3c(W3c::default()),
        };
        Self { syntax, page_views: PageViews::new(rules) }
    }

    pub(crate) fn read(&mut self, line: &[u8]) -> Content {
        let request = match self.request(line) {
            Ok(Some(request)) => request,
            Ok(None) => return Content::LeftOut(LeftOut::NotARequest),
            Err(unreadable) => return Content::Unreadable(unreadable),
        };
        match self.page_views.event(&request) {
            Ok(Ok(event)) => Content::Event(event),
            Ok(Err(reason)) => Content::LeftOut(reason),
            Err(unreadable) => Content::Unreadable(unreadable),
        }
    }

    fn request<'a>(&mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, Unreadable> {
        match &mut self.syntax {
            Syntax::Patterns(patterns) => {
                let (first, others) = patterns.split_first().expect("a log has a pattern");
                let read = others.iter().fold(first.read(line), |read, next| read.or_else(|_| next.read(line)));
                read.map(Some)
            }
            Syntax::Json => json::read(line),
            Syntax::W3c(log) => log.read(line),
        }
    }
}

fn open(pattern: &str) -> Pattern {
    let pattern: Pattern = pattern.parse().expect("the pattern has all fields");
    Pattern { is_open: true, ..pattern }
}
