//! Data goes to standard output, messages to standard error; and the formats and colours of both.

mod audit_report;
mod comparison;
mod hour_format;
mod json;
mod metric;
pub(crate) mod palette;
mod plot;
mod report_format;
mod streams;
pub(crate) mod table;

pub(crate) use self::{
    audit_report::{AuditFormat, hour_of_site},
    comparison::comparison,
    hour_format::HourFormat,
    json::pretty_json,
    metric::Metric,
    plot::{bars, sparklines},
    report_format::ReportFormat,
    streams::{Unwritten, error, message, palette, print, print_while_read, warn},
};
