//! `image layers`: the diffIDs that are here.

use silt::OpenMode;
use silt::query;

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, Table, short_id, short_size};
use crate::places::Places;

pub(crate) struct LayersOptions {
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &LayersOptions) -> CommandResult {
    let layers = match context.engine {
        Some(kind) => Places::for_reading(context)?.engine(kind)?.list_layers()?,
        None => query::layers(&context.open_store(OpenMode::ReadOnly)?)?,
    };
    if options.is_json {
        return output::print_json(&layers);
    }
    if context.is_quiet {
        let lines: String = layers.iter().map(|layer| format!("{}\n", layer.diff_id)).collect();
        return output::print(&lines);
    }
    let mut table = Table::new(&["DIFF ID", "SIZE", "IMAGES"]);
    for layer in &layers {
        let images: Vec<String> = layer.images.iter().map(|image| short_id(&image.0)).collect();
        table.row([layer.diff_id.to_string(), short_size(layer.size_bytes), images.join(" ")]);
    }
    output::print(&table.to_text())
}
