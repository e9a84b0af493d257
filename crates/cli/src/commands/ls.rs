//! `image ls`: the images, as Docker lists them.

use silt::OpenMode;
use silt::query::{self, ImageKind, ImageSummary, UnreadableImage};

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, Table, ago, joined, short_id, short_size};
use crate::places::Places;

pub(crate) struct LsOptions {
    pub(crate) name: Option<String>,
    pub(crate) is_untruncated: bool,
    pub(crate) is_json: bool,
}

pub(super) fn run(context: &Context, options: &LsOptions) -> CommandResult {
    let mut list = match context.engine {
        Some(kind) => Places::for_reading(context)?.engine(kind)?.list()?,
        None => query::list(&context.open_store(OpenMode::ReadOnly)?)?,
    };
    for image in &list.unreadable {
        warn(context, image);
    }
    if let Some(wanted) = &options.name {
        for image in &mut list.images {
            image.names.retain(|name| name.repository() == wanted || name.to_string() == *wanted);
        }
        list.images.retain(|image| !image.names.is_empty());
    }
    match (options.is_json, context.is_quiet) {
        (true, _) => output::print_json(&list.images),
        (false, true) => output::print(&ids(&list.images, options)),
        (false, false) => output::print(&table(&list.images, options)),
    }
}

/// A damaged image does not hide the others, and is not passed over in silence.
fn warn(context: &Context, image: &UnreadableImage) {
    let id = image.id.map_or("an image".to_owned(), |id| format!("image {id}"));
    let names = joined(&image.names);
    let gap = if names.is_empty() { "" } else { " " };
    context.note(&format!("warning: {id}{gap}{names} cannot be read: {}", image.why));
}

fn ids(images: &[ImageSummary], options: &LsOptions) -> String {
    images.iter().map(|image| shown_id(image, options) + "\n").collect()
}

fn table(images: &[ImageSummary], options: &LsOptions) -> String {
    let headings = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "KIND"];
    let mut table = Table::new(&headings);
    for image in images {
        let mut row = |repository: &str, tag: &str| {
            table.row([
                repository.to_owned(),
                tag.to_owned(),
                shown_id(image, options),
                ago(image.created.as_deref()),
                short_size(image.size_bytes),
                kind(image),
            ]);
        };
        for name in &image.names {
            row(name.repository(), name.tag());
        }
        if image.names.is_empty() {
            row("<none>", "<none>");
        }
    }
    table.to_text()
}

fn shown_id(image: &ImageSummary, options: &LsOptions) -> String {
    match options.is_untruncated {
        true => image.id.to_string(),
        false => short_id(&image.id.0),
    }
}

fn kind(image: &ImageSummary) -> String {
    match (image.kind, &image.delta) {
        (ImageKind::Image, _) => "image".to_owned(),
        (ImageKind::Delta, Some(delta)) => format!("{} delta", delta.format),
        (ImageKind::Delta, None) => "unknown delta".to_owned(),
    }
}
