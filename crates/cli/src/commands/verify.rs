//! `image verify`: every stored byte against its digest.

use silt::query::{self, Damage, DamagedFile, DamagedPart, FilePart};
use silt::{Failure, FailureKind, OpenMode};

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, exact_size, one_line};
use crate::places::{Places, one_engine};

/// So many damaged places of one layer are listed.
const SHOWN_RANGES: usize = 5;
/// So many files of one layer; JSON has more.
const SHOWN_FILES: usize = 20;

pub(crate) struct VerifyOptions {
    pub(crate) images: Vec<String>,
    pub(crate) is_json: bool,
}

/// Something that is stored is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{first}{}", and_more(*.more))]
pub(super) struct DamageFound {
    first: String,
    more: usize,
}

pub(super) fn run(context: &Context, options: &VerifyOptions) -> CommandResult {
    let found = match one_engine(context, &options.images)? {
        Some((kind, names)) => {
            let places = Places::for_reading(context)?;
            let engine = places.engine(kind)?;
            places.note_copies(&engine);
            engine.verify(&names, context.reporter().as_ref())?
        }
        None => {
            let store = context.open_store(OpenMode::ReadOnly)?;
            let images = query::resolve_all(&store, &options.images)?;
            query::verify(&store, &images, context.reporter().as_ref())?
        }
    };
    if options.is_json {
        output::print_json(&found)?;
    } else {
        let lines: String = found.damage.iter().map(listed).collect();
        let (images, layers) = (found.images, found.layers);
        let size = exact_size(found.read_bytes);
        output::print(&lines)?;
        context.note(&format!("Checked {images} images, {layers} layers, {size}"));
    }
    fail_if_damaged(&found.damage)
}

/// Damage is a result, and a failure too.
pub(super) fn fail_if_damaged(damage: &[Damage]) -> CommandResult {
    match damage {
        [] => Ok(()),
        [first, more @ ..] => Err(DamageFound { first: described(first), more: more.len() }.into()),
    }
}

/// What is damaged, and in the lines after it which files that is in.
fn listed(damage: &Damage) -> String {
    let mut text = problem(damage) + "\n";
    for file in damage.files.iter().take(SHOWN_FILES) {
        text += &format!("  in {}\n", place(file));
    }
    if damage.files.len() > SHOWN_FILES {
        text += &format!("  and {} more places\n", damage.files.len() - SHOWN_FILES);
    }
    text
}

/// What is damaged, where and how, in one line.
pub(super) fn described(damage: &Damage) -> String {
    match damage.files.as_slice() {
        [] => problem(damage),
        [only] => format!("{} in {}", problem(damage), place(only)),
        [first, more @ ..] => {
            let places = if more.len() == 1 { "place" } else { "places" };
            format!("{} in {} and {} more {places}", problem(damage), place(first), more.len())
        }
    }
}

fn problem(damage: &Damage) -> String {
    let part = match damage.part {
        DamagedPart::Layer => "layer",
        DamagedPart::Document => "document",
        DamagedPart::BlockDigests => "block digests of layer",
        DamagedPart::Image => "manifest",
        DamagedPart::Index => "index",
    };
    let digest = damage.digest.map(|digest| format!(" {digest}")).unwrap_or_default();
    let mut text = format!("{part}{digest}: {}", one_line(&damage.problem));
    let shown = damage.ranges.iter().take(SHOWN_RANGES);
    let places: Vec<String> = shown.map(|range| format!("{}-{}", range.start, range.end)).collect();
    if !places.is_empty() {
        text += &format!(" (bytes {}", places.join(", "));
        text += if damage.ranges.len() > SHOWN_RANGES { ", …)" } else { ")" };
    }
    text
}

fn place(file: &DamagedFile) -> String {
    let path = file.path.as_deref().map(one_line);
    match (path, file.part) {
        (Some(path), FilePart::Contents) => format!("{path}, bytes {}-{}", file.start, file.end),
        (Some(path), FilePart::Header) => format!("the header of {path}"),
        (None, _) => format!("a header that cannot be read, at {}", file.layer_offset),
    }
}

fn and_more(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(", and {more} more"),
    }
}

impl Failure for DamageFound {
    fn kind(&self) -> FailureKind {
        FailureKind::StoredDamaged
    }

    fn hint(&self) -> Option<String> {
        Some("remove what is damaged with `silt image rm`, and load it again".to_owned())
    }
}
