//! `image verify`: every stored byte against its digest.

use silt::query::{self, Damage, DamagedPart};
use silt::{Failure, FailureKind, OpenMode};

use crate::context::Context;
use crate::error::CommandResult;
use crate::output::{self, exact_size, one_line};

/// So many damaged places of one layer are listed.
const SHOWN_RANGES: usize = 5;

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
    let store = context.open_store(OpenMode::ReadOnly)?;
    let images = query::resolve_all(&store, &options.images)?;
    let found = query::verify(&store, &images, context.reporter().as_ref())?;
    if options.is_json {
        output::print_json(&found)?;
    } else {
        let lines: String = found.damage.iter().map(|damage| described(damage) + "\n").collect();
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

/// What is damaged, where and how, in one line.
pub(super) fn described(damage: &Damage) -> String {
    let part = match damage.part {
        DamagedPart::Layer => "layer",
        DamagedPart::Document => "document",
        DamagedPart::BlockDigests => "block digests of layer",
        DamagedPart::Image => "manifest",
    };
    let digest = damage.digest.map_or("that is unknown".to_owned(), |digest| digest.to_string());
    let mut text = format!("{part} {digest}: {}", one_line(&damage.problem));
    let shown = damage.ranges.iter().take(SHOWN_RANGES);
    let places: Vec<String> = shown.map(|range| format!("{}-{}", range.start, range.end)).collect();
    if !places.is_empty() {
        text += &format!(" (bytes {}", places.join(", "));
        text += if damage.ranges.len() > SHOWN_RANGES { ", …)" } else { ")" };
    }
    text
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
