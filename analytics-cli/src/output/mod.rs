//! Data goes to standard output, messages to standard error; and the formats and colours of both.

mod audit_report;
mod comparison;
mod json;
mod metric;
pub(crate) mod palette;
mod period_format;
mod plot;
mod report_format;
mod streams;
mod summary;
pub(crate) mod table;

pub(crate) use self::{
    audit_report::{AuditFormat, hour_of_site},
    comparison::comparison,
    json::pretty_json,
    metric::Metric,
    period_format::{PeriodFormat, label},
    plot::{bars, room_for_sparklines, sparklines},
    report_format::ReportFormat,
    streams::{Unwritten, error, message, palette, print, print_while_read, warn, width},
    summary::{counted, is_unfinished, lacks_users, summary, why_unknown},
};
