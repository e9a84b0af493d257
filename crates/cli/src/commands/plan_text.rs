//! The plan of a load, for people.

use silt::load::{Action, How, ImagePlan, LayerPlan, LoadPlan, Repair, Room};
use silt::policy::Verdict;
use silt::trust::Signer;

use crate::output::{Table, exact_size, joined, one_line, short_id};

/// What will be done for each image and layer, and what it takes.
pub(super) fn plan_text(plan: &LoadPlan) -> String {
    let images: String = plan.images.iter().map(image_text).collect();
    let deletes: String =
        plan.deletes.iter().map(|base| format!("Then deletes the base {base}\n")).collect();
    let signer = plan.signer.as_ref().map(signer_text).unwrap_or_default();
    let rules: String = plan.policy.iter().map(verdict_text).collect();
    signer + &rules + &images + &room_text(&plan.room) + &deletes
}

/// Who signed it, in one line.
pub(super) fn signer_text(signer: &Signer) -> String {
    let comment = one_line(&signer.comment);
    let key = match (&signer.key_comment, signer.is_trusted) {
        (Some(key), true) => format!("trusted here: {}", one_line(key)),
        _ => "not trusted here".to_owned(),
    };
    format!("Signed with key {} ({key}), {comment:?}\n", signer.key_id)
}

/// What a rule says, in one line.
fn verdict_text(verdict: &Verdict) -> String {
    let result = match (verdict.is_kept, verdict.is_overridden) {
        (true, _) => "passed",
        (false, true) => "set aside",
        (false, false) => "FAILED",
    };
    format!("Policy: {} {result}: {}\n", verdict.rule.word(), one_line(&verdict.why))
}

/// Where an image comes from.
pub(super) fn how_text(how: How) -> String {
    match how {
        How::Present => "is here already".to_owned(),
        How::Full => "in full".to_owned(),
        How::Delta { format, base: Some(base) } => format!("by a {format} delta to {base}"),
        How::Delta { format, base: None } => format!("by a {format} delta"),
    }
}

fn image_text(image: &ImagePlan) -> String {
    let how = how_text(image.how);
    let how = match image.left_out {
        0 => how,
        1 => format!("{how} (1 other way is left out)"),
        n => format!("{how} ({n} other ways are left out)"),
    };
    let names = match image.names.as_slice() {
        [] => "no name".to_owned(),
        names => joined(names),
    };
    let mut table = Table::new(&["  LAYER", "SIZE", "ACTION"]);
    for layer in &image.layers {
        table.row(layer_row(layer));
    }
    let platform = one_line(&image.platform.to_string());
    format!("Image {} ({names}), {platform}, {how}\n{}", image.id, table.to_text())
}

fn layer_row(layer: &LayerPlan) -> [String; 3] {
    let action = match &layer.action {
        Action::Present => "none: it is here".to_owned(),
        Action::Copy { from } => format!("copy, from {}", one_line(&from.display().to_string())),
        Action::Repair(repair) => repair_text(repair),
        Action::Write { stored_bytes } => {
            format!("write, from {} of the input", exact_size(*stored_bytes))
        }
        Action::Rebuild { stored_bytes, origins, .. } => {
            let layers = if origins.len() == 1 { "layer" } else { "layers" };
            let stored = exact_size(*stored_bytes);
            format!("rebuild, from {stored} of the input and {} {layers}", origins.len())
        }
    };
    let id = format!("  {}", short_id(&layer.diff_id.0));
    [id, layer.size_bytes.map_or("?".to_owned(), exact_size), action]
}

fn repair_text(repair: &Repair) -> String {
    match repair {
        Repair::Blocks { ranges, .. } => {
            let bytes = ranges.iter().map(|range| range.end - range.start).sum();
            format!("repair {} in place", exact_size(bytes))
        }
        Repair::Whole { .. } => "repair: write it anew".to_owned(),
        Repair::Digests => "repair its block digests".to_owned(),
        Repair::Impossible { why } => format!("none: it is damaged, and {}", one_line(why)),
    }
}

fn room_text(room: &Room) -> String {
    let inodes = room.free_inodes.map(|inodes| format!(", {inodes} inodes")).unwrap_or_default();
    let mended = match room.mended_bytes {
        0 => String::new(),
        bytes => format!("Mends {} in place\n", exact_size(bytes)),
    };
    let staged = match room.staged_bytes {
        0 => String::new(),
        bytes => format!("Of this the engine stages {}, and frees it again\n", exact_size(bytes)),
    };
    let free = match room.free_bytes {
        u64::MAX => "an unknown amount".to_owned(),
        bytes => exact_size(bytes),
    };
    format!(
        "{mended}Writes {} in {} files on {}, where {free} are free{inodes}\n{staged}",
        exact_size(room.needed_bytes),
        room.needed_inodes,
        one_line(&room.mount_point.display().to_string()),
    )
}
