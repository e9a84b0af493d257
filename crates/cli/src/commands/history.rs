//! `image history`: the steps of an image's making, the last one first.

use silt::query::{self, HistoryStep};

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, Table, ago, one_line, short_id, short_size, shortened};
use crate::places::{ImageReference, Places};

/// Docker's width for a command.
const COMMAND_CHARS: usize = 45;

pub(crate) struct HistoryOptions {
    pub(crate) image: String,
    pub(crate) is_untruncated: bool,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &HistoryOptions) -> CommandResult {
    let places = Places::for_reading(context)?;
    let steps = match ImageReference::parse(&options.image, context.engine) {
        ImageReference::Store(name) => query::history(&places.scratch, &name)?,
        _ => query::history_of(&places.source(&options.image, context.reporter().as_ref())?),
    };
    if options.is_json {
        return output::print_json(&steps);
    }
    let mut table = Table::new(&["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for step in &steps {
        table.row(row(step, options));
    }
    output::print(&table.to_text())
}

fn row(step: &HistoryStep, options: &HistoryOptions) -> [String; 5] {
    let image = match (step.image, options.is_untruncated) {
        (Some(image), true) => image.to_string(),
        (Some(image), false) => short_id(&image.0),
        (None, _) => "<missing>".to_owned(),
    };
    let text = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        if options.is_untruncated { one_line(text) } else { shortened(text, COMMAND_CHARS) }
    };
    let size = short_size(step.size_bytes);
    [image, ago(step.created.as_deref()), text(&step.created_by), size, text(&step.comment)]
}
