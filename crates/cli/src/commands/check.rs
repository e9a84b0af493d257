//! `system check`: whether the store is in order, as far as that is seen without reading layers.

use silt::OpenMode;
use silt::query;

use super::verify::fail_if_damaged;
use crate::context::Context;
use crate::error::CommandResult;
use crate::output;

pub(crate) struct CheckOptions {
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &CheckOptions) -> CommandResult {
    let store = context.open_store(OpenMode::ReadOnly)?;
    let report = query::check(&store)?;
    if options.is_json {
        output::print_json(&report)?;
    } else if report.damage.is_empty() {
        output::print(&format!("ok: {} images, {} layers\n", report.images, report.layers))?;
    }
    fail_if_damaged(&report.damage)
}
